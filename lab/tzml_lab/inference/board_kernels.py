"""Time kernels on a board, for `tzml tune --lg-env`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labgrid import Target

from tzml.bench.candidates import PROGRAM, Run
from tzml.bench.programs import ProgramError
from tzml_lab.booted import booted, explained
from tzml_lab.target import commands_of, files_of
from tzml_lab.time_limits import scaled

_REPEAT = 10
_LIMIT = 600.0  # seconds for the kernels of one measurement


@contextmanager
def on_board(name: str) -> Iterator[Run]:
    """Boot the board of an environment. At the end it is switched off and given back. Raises TzmlError."""
    with booted(name, "shell") as target:
        yield run_on(target)


def run_on(target: Target) -> Run:
    """A function that runs the measuring program on a booted target."""
    command, transfer = commands_of(target), files_of(target)

    def run(folder: Path) -> str:
        with explained():
            transfer.put(str(folder / PROGRAM), f"/tmp/{PROGRAM}")
            said, errors, status = command.run(f"/tmp/{PROGRAM} {_REPEAT}", timeout=scaled(_LIMIT))
        if status:
            raise ProgramError(f"{PROGRAM} ended with {status} on the board: {' '.join(errors)}")
        return "\n".join(said)

    return run
