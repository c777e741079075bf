"""Whether machine code tells of the numbers it computes with, by how long it takes and which addresses it uses."""

from tzml.constant_time.library import CodeReport, SecretUse, check_library

__all__ = ["CodeReport", "SecretUse", "check_library"]
