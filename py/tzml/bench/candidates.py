"""Measurement of candidates: kernels that compute the same, from which `tzml tune` chooses."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tzml.bench.programs import CROSS_LIBC, ProgramError, compile_c, emulated, require_compiler, source, start
from tzml.compiler.codegen.link import SUPPORT, support_object
from tzml.compiler.tuning.search import Candidate, Measure
from tzml.errors import TzmlError

PROGRAM = "run_candidates"

Run = Callable[[Path], str]
"""Runs the program in a folder and returns its output. Raises ProgramError if the program fails, and TzmlError if
it cannot be started."""


def measure_with(run: Run, cc: str) -> Measure:
    """A function that measures with a program compiled by `cc` and started by `run`.

    Raises TzmlError if `cc` is not installed.
    """
    require_compiler(cc)

    def measure(candidates: Sequence[Candidate]) -> list[float]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            try:
                _compile(candidates, cc, folder)
                found = re.findall(r"^(?:instructions|seconds) ([\d.e-]+)$", run(folder), re.MULTILINE)
            except ProgramError:
                if len(candidates) == 1:
                    return [math.inf]
                return [cost for candidate in candidates for cost in measure([candidate])]
        if len(found) != len(candidates):
            raise TzmlError(f"{PROGRAM} measured {len(found)} of {len(candidates)} kernels")
        return [float(number) for number in found]

    return measure


def count_instructions(folder: Path) -> str:
    """Run an AArch64 program once under QEMU. Its seconds are removed, because they are the emulator's."""
    output = start(emulated([f"./{PROGRAM}", "1"], CROSS_LIBC), folder)
    return "\n".join(line for line in output.splitlines() if not line.startswith("seconds"))


def time_here(folder: Path) -> str:
    """Run a program on this machine. It prints CPU time, the minimum of several calls."""
    return start([f"./{PROGRAM}", "20"], folder)


def _compile(candidates: Sequence[Candidate], cc: str, folder: Path) -> None:
    (folder / "table.c").write_text(_table(candidates))
    objects = {f"{candidate.symbol}.o": candidate.object_file for candidate in candidates}
    objects |= {f"{name}.o": support_object(cc, name) for name in SUPPORT}
    for name, data in objects.items():
        (folder / name).write_bytes(data)
    arguments: list[str | Path] = [source("run_candidates.c"), "table.c", *objects]
    arguments += [f"-I{source('.')}", "-o", PROGRAM]
    compile_c(cc, arguments, folder)


def _table(candidates: Sequence[Candidate]) -> str:
    """The C source of the table that candidates.h declares."""
    lines = ['#include "candidates.h"']
    rows = []
    for candidate in candidates:
        count, symbol = len(candidate.sizes), candidate.symbol
        pointers = ", ".join(f"a[{i}]" for i in range(count))
        lines += [
            f"int32_t {symbol}({', '.join(['void *'] * count)});",
            f"static int32_t call_{symbol}(void *const *a) {{ return {symbol}({pointers}); }}",
        ]
        rows.append(f"	{{ call_{symbol}, {count}, {{ {', '.join(map(str, candidate.sizes))} }} }},")
    return "\n".join(
        [
            *lines,
            "const struct candidate candidates[] = {",
            *rows,
            "};",
            f"const size_t candidate_count = {len(candidates)};",
            "",
        ]
    )
