"""Read the output of OP-TEE's test program, xtest, line by line."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field

_NAME = r"[a-z0-9]+_\d{4}(?:_\w+)?"  # regression_1001, regression_4007_dh
_CASE = re.compile(rf"^\* ({_NAME})(?: (.*))?$")
_SUBCASE = re.compile(rf"^o ({_NAME}\.\S+)")
_SUBCASE_END = re.compile(rf"^  ({_NAME}\.\S+) (OK|FAILED)\b")
_CASE_END = re.compile(rf"^  ({_NAME}) (OK|FAILED)\b")
_TOTAL = re.compile(r"^(\d+) (subtest|test case)s? of which (\d+) failed$")
_SKIP = re.compile(r"\bskip", re.IGNORECASE)
# On a UART that both worlds share, lines of OP-TEE and of the kernel appear in between.
_NOISE = re.compile(r"^(?:\[ *\d+\.\d+\] |[DIEF]/(?:T[CA]|LD):)")


class XtestOutcome(enum.Enum):
    """How a case ended, or `unfinished`."""

    ok = "OK"
    failed = "FAILED"
    skipped = "skipped"
    unfinished = "unfinished"


@dataclass
class XtestCase:
    """One case: how long it took, how each of its subcases ended, and everything it printed."""

    name: str
    title: str
    outcome: XtestOutcome = XtestOutcome.unfinished
    seconds: float = 0.0
    subcases: dict[str, XtestOutcome] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    @property
    def skip_reason(self) -> str:
        """The line in which the case says that it skips something, if there is one."""
        return next((line.strip() for line in self.lines if _SKIP.search(line)), "")


@dataclass(frozen=True)
class XtestTotal:
    """A line of xtest's summary."""

    count: int
    failed: int


class XtestParser:
    """Cases and totals of a run of xtest, as far as it has come."""

    def __init__(self) -> None:
        self.cases: dict[str, XtestCase] = {}
        self.totals: dict[str, XtestTotal] = {}
        self.current: XtestCase | None = None
        self._subcase = ""
        self._start = 0.0

    def feed(self, line: str, now: float) -> None:
        """Read a line, without its end, that came at `now` (seconds on any monotonic clock)."""
        if _NOISE.match(line):
            return
        if match := _CASE.match(line):
            self._begin(match[1], match[2] or "", now)
        elif match := _TOTAL.match(line):
            self.totals[match[2]] = XtestTotal(int(match[1]), int(match[3]))
        elif self.current:
            self._inside(self.current, line, now)

    def _begin(self, name: str, title: str, now: float) -> None:
        self.current = self.cases[name] = XtestCase(name, title)
        self._start, self._subcase = now, ""

    def _inside(self, case: XtestCase, line: str, now: float) -> None:
        case.seconds = now - self._start
        if (match := _CASE_END.match(line)) and match[1] == case.name:
            case.outcome = _case_outcome(case, XtestOutcome(match[2]))
            self.current = None
            return
        case.lines.append(line)
        if match := _SUBCASE.match(line):
            self._subcase = match[1]
            case.subcases[match[1]] = XtestOutcome.unfinished
        elif match := _SUBCASE_END.match(line):
            _end_subcase(case, match[1], XtestOutcome(match[2]))
            self._subcase = ""
        elif self._subcase and _SKIP.search(line):
            case.subcases[self._subcase] = XtestOutcome.skipped


def _end_subcase(case: XtestCase, name: str, said: XtestOutcome) -> None:
    skipped = case.subcases.get(name) is XtestOutcome.skipped and said is XtestOutcome.ok
    case.subcases[name] = XtestOutcome.skipped if skipped else said


def _case_outcome(case: XtestCase, said: XtestOutcome) -> XtestOutcome:
    """A case that only said that it skips has tested nothing, so it was skipped, although xtest calls it OK."""
    tested = any(outcome is XtestOutcome.ok for outcome in case.subcases.values())
    return XtestOutcome.skipped if said is XtestOutcome.ok and case.skip_reason and not tested else said
