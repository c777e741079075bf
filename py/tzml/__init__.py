"""Machine-learning inference inside Arm TrustZone."""

__version__ = "0.1.0"
