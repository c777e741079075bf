"""Progress of a long command: a bar on a terminal, nothing in a log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tzml.compiler.ir import progress as compiler


@contextmanager
def progress_bar(name: str) -> Iterator[compiler.Progress]:
    """Show the compiler's progress on stderr while the context is open, if stderr is a terminal."""
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)

        def tell(step: str, done: int = 0, total: int = 0) -> None:
            bar.update(task, description=f"{name}: {step}", completed=done, total=total or None)

        yield tell
