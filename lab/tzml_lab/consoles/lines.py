"""A line of a console, with its time and the world that printed it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Speaker(enum.Enum):
    """The world whose console it is. The value is the letter in logs."""

    normal = "N"
    secure = "S"


@dataclass(frozen=True)
class Line:
    """One line of a console. `seconds` is when its first byte came, since power-on."""

    seconds: float
    speaker: Speaker
    text: str

    def __str__(self) -> str:
        return f"{self.seconds:10.3f} {self.speaker.value} {self.text}".rstrip()
