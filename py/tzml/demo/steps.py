"""Run a long command with a progress bar and write all its output to a log file."""

from __future__ import annotations

import collections
import os
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tzml.errors import TzmlError

# Seconds between progress lines where there is no terminal to show a bar.
QUIET_SECONDS = 20


@dataclass(frozen=True)
class Step:
    """A command that runs in the project's root.

    `progress` is a pattern for the command's output with the groups `done`, `total` (100 if there is no such group)
    and `what`. Lines that match `failure` are shown if the command fails, and lines that match `notice` at once.
    The group of `result` is what the step comes to.
    """

    title: str
    command: Sequence[str | Path]
    log: str
    progress: str
    failure: str
    notice: str = r"(?!)"  # none
    result: str = r"(?!)()"


def run_step(step: Step, root: Path, console: Console) -> str:
    """Run the step; returns its result, or "" if it has none.

    Raises TzmlError, with the last lines of its output and the log's path, if it fails.
    """
    log = root / "build" / "logs" / step.log
    log.parent.mkdir(parents=True, exist_ok=True)
    shown = log.relative_to(root)
    console.print(f"[bold]{step.title}[/bold] (log: {shown})")
    started = time.monotonic()
    code = _run(step, root, log, console)
    if code:
        raise TzmlError(
            f"{step.title} failed with exit code {code}:\n{_tail(log, step.failure)}", f"the full log is {shown}"
        )
    console.print(f"  done in {time.monotonic() - started:.0f} s")
    results = re.findall(step.result, log.read_text(errors="replace"), re.MULTILINE)
    return results[-1] if results else ""


def _run(step: Step, root: Path, log: Path, console: Console) -> int:
    columns = (SpinnerColumn(), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    pattern = re.compile(step.progress)
    reported = time.monotonic()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with (
        log.open("w") as file,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
        subprocess.Popen(
            step.command, cwd=root, env=environment, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as process,
    ):  # fmt: skip
        bar = progress.add_task("starting", total=None)
        assert process.stdout
        for line in process.stdout:
            file.write(line)
            file.flush()
            if re.match(step.notice, line):
                console.print(f"  {line.strip()}", soft_wrap=True)
            found = pattern.search(line)
            if not found:
                continue
            groups = found.groupdict()
            done, total = int(groups["done"]), int(groups.get("total") or 100)
            progress.update(bar, completed=done, total=total, description=groups["what"])
            if not console.is_terminal and time.monotonic() - reported > QUIET_SECONDS:
                reported = time.monotonic()
                console.print(f"  {done} of {total}: {groups['what']}", soft_wrap=True)
    return process.returncode


def _tail(log: Path, failure: str, count: int = 12) -> str:
    """The lines that say what failed, or else the last lines."""
    lines = log.read_text(errors="replace").splitlines()
    found = [line for line in lines if re.match(failure, line)]
    return "\n".join(collections.deque(found or lines, maxlen=count))
