"""A line of a console: of which world, and when."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Speaker(enum.Enum):
    """Whose console it is; the value is the letter in logs."""

    normal = "N"
    secure = "S"


@dataclass(frozen=True)
class Line:
    """One line of a console; `seconds` since power-on, when its first byte came."""

    seconds: float
    speaker: Speaker
    text: str

    def __str__(self) -> str:
        return f"{self.seconds:10.3f} {self.speaker.value} {self.text}".rstrip()
