"""The history: the measurements of every run, one JSON line for each, append-only.

It is not a database. A year of nightly runs is a few megabytes and takes a moment to read. Any tool can read the
lines, `cat` joins those of several machines, and CI can store them as a file. A run that is killed while it writes
damages its own line, not the file.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from pydantic import BaseModel, ValidationError

from tzml.errors import TzmlError
from tzml.results.run import Run

FORMAT = 1


class _Line(BaseModel):
    format: int = FORMAT
    run: Run


class History:
    """The runs in a history file. A file that does not exist yet has no runs.

    Args:
        path: the JSON Lines file

    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged: list[int] = []  # numbers of lines that could not be read

    def runs(self) -> list[Run]:
        """All runs, oldest first, each of them once. Raises TzmlError if the file exists but cannot be read."""
        try:
            text = self.path.read_text(errors="replace")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise TzmlError(f"{self.path} cannot be read: {error.strerror}") from error
        found: dict[str, Run] = {}
        self.damaged = []
        for number, line in enumerate(text.split("\n"), 1):
            if not line:
                continue
            try:
                entry = _Line.model_validate_json(line)
            except ValidationError:
                self.damaged.append(number)
                continue
            if entry.format != FORMAT:
                raise TzmlError(
                    f"{self.path}:{number} has format {entry.format}; this tzml knows format {FORMAT}",
                    "use a newer tzml, or another --history",
                )
            found.setdefault(entry.run.digest, entry.run)
        return sorted(found.values(), key=lambda run: run.started)

    def add(self, run: Run) -> bool:
        """Append a run unless the file already contains it, and return whether it was added. Raises TzmlError."""
        exclude = {"run": {"series": {"__all__": {"samples"}}}}
        line = _Line(run=run).model_dump_json(exclude=exclude, exclude_defaults=False)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # two runs may end at the same time
                if any(known.digest == run.digest for known in self.runs()):
                    return False
                if not _ends_with_newline(self.path):  # someone was killed here
                    line = f"\n{line}"
                file.write(f"{line}\n".encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise TzmlError(f"{self.path} cannot be written: {error.strerror}", "give another --history") from error
        return True


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return True
        file.seek(size - 1)
        return file.read() == b"\n"
