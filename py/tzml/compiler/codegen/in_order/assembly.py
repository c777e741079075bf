"""LLVM's assembly: its functions, without what is written for debuggers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tzml.cortex_a53.instruction import Instruction, parse

_DROPPED = (".loc", ".file", ".cfi_")
_POSITION = re.compile(r"\.L(tmp|cfi|func_begin)\d+:$")
"""Labels that only sections for debuggers refer to."""
_SECTION = re.compile(r"\.(section|text|data|bss)\b")
_LABEL = re.compile(r"([.\w$]+):$")


@dataclass(frozen=True)
class AssemblyLine:
    """A line of assembly: the name of a label, an instruction, or neither."""

    text: str
    label: str | None = None
    instruction: Instruction | None = None


def read_lines(assembly: str) -> list[AssemblyLine]:
    """All lines but those for debuggers."""
    lines: list[AssemblyLine] = []
    is_kept = True
    for text in assembly.splitlines():
        stripped = text.split("//")[0].strip()
        if _SECTION.match(stripped):
            is_kept = ".debug_" not in stripped
        if not is_kept or not stripped or stripped.startswith(_DROPPED) or _POSITION.match(stripped):
            continue
        label = _LABEL.match(stripped)
        if label:
            lines.append(AssemblyLine(text, label=label[1]))
        elif stripped.startswith("."):
            lines.append(AssemblyLine(text))
        else:
            lines.append(AssemblyLine(text, instruction=parse(stripped)))
    return lines


def function_of(lines: list[AssemblyLine], symbol: str) -> range:
    """Where the instructions of a function are. Raises ValueError if it is not there."""
    begin = next((i for i, line in enumerate(lines) if line.label == symbol), None)
    if begin is None:
        raise ValueError(f"{symbol} is not in the assembly")
    size = re.compile(rf"\s*\.size\s+{re.escape(symbol)},")
    end = next(i for i in range(begin, len(lines)) if size.match(lines[i].text))
    return range(begin + 1, end)
