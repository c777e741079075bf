"""Progress of a long command: a bar on a terminal, nothing in a log."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tzml.cli.child import Tell
from tzml.compiler.ir import progress as compiler

_log = logging.getLogger(__name__)


@contextmanager
def progress_bar(name: str) -> Iterator[compiler.Progress]:
    """Show the compiler's progress on stderr while the context is open, if stderr is a terminal."""
    console = Console(stderr=True)
    quiet = not console.is_terminal or _log.isEnabledFor(logging.INFO)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=quiet,
    ) as bar:
        task = bar.add_task(name, total=None)

        last, begin = "", time.monotonic()

        def tell(step: str, done: int = 0, total: int = 0) -> None:
            nonlocal last
            if step != last:
                last = step
                _log.info("%s: %s, after %.1f s", name, step, time.monotonic() - begin)
            bar.update(task, description=f"{name}: {step}", completed=done, total=total or None)

        yield tell


def told(tell: Tell, show: compiler.Progress = compiler.no_progress) -> compiler.Progress:
    """What shows a step, and tells it to the parent process."""

    def progress(step: str, done: int = 0, total: int = 0) -> None:
        tell(f"{step} ({done} of {total} done)" if total else step)
        show(step, done, total)

    return progress
