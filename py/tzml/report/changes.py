"""What is different from the last good run: commit, host, versions of components and packages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tzml.report.units import NONE
from tzml.results.run import Commit, Run


@dataclass(frozen=True)
class Changes:
    """What is different between two runs.

    Args:
        since: the earlier of them
        good: whether that was the last run without failures; otherwise there was none, and it is the last run
        commits: before and now, if they differ
        host: name, before and now of what differs in the host
        components: the same of the image's components
        packages: the same of its packages; None if one of the runs did not record them

    """

    since: Run
    good: bool
    commits: tuple[str, str] | None
    host: list[tuple[str, str, str]]
    components: list[tuple[str, str, str]]
    packages: list[tuple[str, str, str]] | None

    @property
    def nothing(self) -> bool:
        """Whether nothing of all this differs."""
        return not (self.commits or self.host or self.components or self.packages)


def changes_of(run: Run, earlier: Sequence[Run]) -> Changes | None:
    """What is different from the last good run of `earlier`, or else the last; None if there is none."""
    if not earlier:
        return None
    since = next((known for known in reversed(earlier) if known.good), None)
    before, now = (since or earlier[-1]).context, run.context
    commits = (_commit(before.commit), _commit(now.commit))
    recorded = before.image.packages and now.image.packages
    return Changes(
        since or earlier[-1],
        since is not None,
        commits if commits[0] != commits[1] else None,
        list(_different(_texts(before.host.model_dump()), _texts(now.host.model_dump()))),
        list(_different(before.image.components, now.image.components)),
        list(_different(before.image.packages, now.image.packages)) if recorded else None,
    )


def _commit(commit: Commit | None) -> str:
    """As in "0123456789 Why it was made, with changed files"."""
    if not commit:
        return "not recorded"
    return f"{commit.id[:10]} {commit.subject}{', with changed files' if commit.changed else ''}"


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}


def _different(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            yield name, before.get(name, NONE), now.get(name, NONE)
