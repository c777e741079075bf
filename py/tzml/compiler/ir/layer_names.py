"""Which operator of the source each variable of a Relax function comes from: the variable's name says it.

Names are the one thing of a binding that TVM's own passes keep. A source's name may have any characters, which a
variable's may not: the variable has the number of a row in a list, as in "layer12_". TVM adds digits to keep apart
several variables with one name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_HINT = re.compile(r"layer(\d+)_\d*")


@dataclass(frozen=True)
class Source:
    """An operator of the model file: its name there, and what kind of operator it is in the file's own terms."""

    name: str
    operator: str


class SourceNames:
    """The operators of a model file, in the order in which a frontend converts them."""

    def __init__(self) -> None:
        self._found: list[Source] = []

    def add(self, name: str, operator: str) -> str:
        """The name for the variables that an operator becomes; one without a name is called by its number."""
        self._found.append(Source(name or f"{operator}_{len(self._found)}", operator))
        return hint_of(len(self._found) - 1)

    @property
    def sources(self) -> tuple[Source, ...]:
        """All of them so far."""
        return tuple(self._found)


def hint_of(number: int) -> str:
    """The name for variables of the operator with that number."""
    return f"layer{number}_"


def number_of(variable: Any) -> int | None:
    """The number of the operator that a variable comes from; None where its name does not say it."""
    match = _HINT.fullmatch(str(variable.name))
    return int(match[1]) if match else None


def numbers_of(variables: Sequence[Any]) -> list[int]:
    """The same for all variables of a function, in their order.

    One that does not say it is a step on the way to the next that does, or comes after all that do.
    """
    known = list(map(number_of, variables))
    behind = next((number for number in reversed(known) if number is not None), 0)
    found = []
    for number in reversed(known):
        behind = behind if number is None else number
        found.append(behind)
    return found[::-1]
