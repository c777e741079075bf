"""The folder of a run, with JUnit XML, measurements, console logs and image.json, and the history beside it."""

from __future__ import annotations

import os
import platform
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tzml.errors import TzmlError
from tzml.results.history import History
from tzml.results.run import read_run


@dataclass(frozen=True)
class RunFolder:
    """The folder for a run's results, and for files that it needs only while it lasts.

    Args:
        path: `<results>/<timestamp>-<environment>`
        started: when the run began (UTC, ISO 8601)
        first: whether `<results>` was made for it

    """

    path: Path
    started: str
    first: bool = False

    @classmethod
    def make(cls, results: Path, environment: str) -> RunFolder:
        """Make a folder that no other run has, even one that starts at the same time. Raises TzmlError."""
        now = datetime.now(UTC)
        path = results.resolve() / f"{now:%Y%m%d-%H%M%S}-{environment}"
        number, first = 1, not results.exists()
        while True:
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                number += 1
                path = path.with_name(f"{now:%Y%m%d-%H%M%S}-{number}-{environment}")
            except OSError as error:
                raise _unwritable(path, error) from error
            else:
                return cls(path, now.isoformat(timespec="seconds"), first)

    def begin(self) -> None:
        """Tests will run: make room for their disks, and let `<results>/latest` lead here. Raises TzmlError."""
        try:
            self.scratch.mkdir()
            link = self.path.with_name(f"latest.{os.getpid()}")
            link.symlink_to(self.path.name)
            link.replace(self.path.with_name("latest"))
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def remove_if_empty(self) -> None:
        """Remove the folder of a run that never began."""
        with suppress(OSError):
            self.path.rmdir()
            if self.first:
                self.path.parent.rmdir()

    @property
    def junit(self) -> Path:
        return self.path / "junit.xml"

    @property
    def measurements(self) -> Path:
        return self.path / "results.json"

    @property
    def scratch(self) -> Path:
        """The folder for disks that a run writes to. It is removed afterwards."""
        return self.path / "scratch"

    def record(self, junit: Path) -> None:
        """Add the run to `<results>/history.jsonl`, and copy JUnit XML from elsewhere. Raises TzmlError."""
        if junit.resolve() != self.junit:
            shutil.copy(junit, self.junit)
        History(self.path.with_name("history.jsonl")).add(read_run(self.path).run)

    def finish(self) -> None:
        """Remove the files that only the run needed."""
        shutil.rmtree(self.scratch, ignore_errors=True)


def _unwritable(path: Path, error: OSError) -> TzmlError:
    return TzmlError(f"cannot write results to {path}: {error.strerror}", "give another folder with --results")


def host() -> dict[str, str | int]:
    """The properties of this machine that times depend on."""
    return {
        "machine": platform.machine(),
        "cpu": _cpu(),
        "cpus": os.cpu_count() or 1,
        "system": platform.platform(),
    }


def _cpu() -> str:
    """The model of the processor, if the kernel tells it."""
    try:
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return ""
    return found[1].strip() if found else ""
