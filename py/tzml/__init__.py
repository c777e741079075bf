"""Machine-learning inference inside Arm TrustZone."""
