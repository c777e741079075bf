"""A lab run: results.json and junit.xml in its folder (docs/lab.md)."""

from __future__ import annotations

import collections
import hashlib
import shlex
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, Field, FiniteFloat, ValidationError

from tzml.errors import TzmlError

FORMAT = 2
Outcome = Literal["passed", "failed", "skipped"]


class Series(BaseModel):
    """Samples of one quantity and their statistics. Smaller is better for every quantity."""

    unit: Literal["s", "bytes", "ratio"]
    n: int = Field(ge=1)
    median: FiniteFloat
    mad: FiniteFloat = Field(ge=0)
    p95: FiniteFloat
    min: FiniteFloat
    max: FiniteFloat
    samples: list[FiniteFloat] = []  # empty in the history


class Host(BaseModel):
    """The machine that ran the lab, and the emulator if there was one."""

    machine: str
    cpus: int
    cpu: str = ""
    system: str = ""


class ImageContext(BaseModel):
    """The image that was tested."""

    machine: str
    feed: str
    image: str
    sha256: str
    memory_protected: bool | None = None  # by hardware, from the normal world; None: older runs did not record it
    huk: str | None = None  # what OP-TEE's hardware unique key is; None: older runs did not record it
    components: dict[str, str] = {}
    packages: dict[str, str] = {}  # installed ones; older runs did not record them


class Commit(BaseModel):
    """The commit that the lab ran from."""

    id: str
    subject: str = ""
    changed: bool = False  # files that git knows differ from it


class Selection(BaseModel):
    """Which tests pytest was told to run. Runs of different selections measure different things."""

    paths: list[str] = []  # files, folders and tests, relative to the lab; none: all of the lab
    keyword: str = ""  # -k
    markers: str = ""  # -m, unless it is the project's own
    options: dict[str, str] = {}  # others that change what is run, such as "xtest": "full"

    def __str__(self) -> str:
        parts = [*self.paths]
        parts += [f"-k {shlex.quote(self.keyword)}"] if self.keyword else []
        parts += [f"-m {shlex.quote(self.markers)}"] if self.markers else []
        parts += [f"--{name} {shlex.quote(value)}" for name, value in sorted(self.options.items())]
        return " ".join(parts) or "everything"


class Context(BaseModel):
    """Everything that the figures of a run depend on."""

    environment: str
    started: AwareDatetime
    host: Host
    image: ImageContext
    qemu: str | None = None  # version, if the target is emulated
    place: str | None = None  # labgrid's, if the target is behind a coordinator
    selection: Selection | None = None  # None: older runs did not record it
    commit: Commit | None = None  # None if the lab does not run from a clone, or the run is older

    @property
    def board(self) -> str:
        """The environment, and the place if there is one: a place is one of several boards."""
        return f"{self.environment} ({self.place})" if self.place else self.environment

    @property
    def comparable(self) -> tuple[str, ...]:
        """Equal for runs that may be compared: same board, kind of image, selection of tests, emulator and host."""
        image = self.image
        selection = self.selection.model_dump_json() if self.selection else ""
        kind = (self.board, f"{image.feed} {image.image} for {image.machine}", selection)
        if not self.qemu:
            return kind
        return (*kind, f"QEMU {self.qemu}", f"{self.host.machine} {self.host.cpu}, {self.host.cpus} CPUs")


class Course(BaseModel):
    """How a run went: tests that were selected and tests that ended, seconds, and the host's load averages."""

    selected: int = Field(ge=0)
    ended: int = Field(ge=0)
    seconds: FiniteFloat = Field(ge=0)
    load_before: FiniteFloat  # of one minute
    load_after: FiniteFloat

    @property
    def complete(self) -> bool:
        """Whether every selected test ran to its end, whatever its outcome."""
        return self.ended == self.selected


class Case(BaseModel):
    """One test of a run."""

    name: str  # as in "lab.test_xtest::test_case[regression_1001]"
    outcome: Outcome
    seconds: float = 0
    failure_class: str = ""  # docs/lab.md; "" for an ordinary failed assertion
    message: str = ""  # first line; for a skipped test, the reason
    rerun: Outcome | Literal[""] = ""  # how it ended when it was run again, because it had failed
    log: str = ""  # of a failure: file in the run's folder, with the last lines of the consoles
    properties: dict[str, str] = {}

    @property
    def is_xtest(self) -> bool:
        """Whether this is a case of OP-TEE's test suite."""
        return "::test_case[" in self.name

    @property
    def parameters(self) -> set[str]:
        """The test's parameters, which its name has in brackets."""
        return set(self.name.partition("[")[2].removesuffix("]").split("-"))


class Tally(BaseModel):
    """Numbers of tests by outcome."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    @classmethod
    def of(cls, cases: list[Case]) -> Tally:
        """Count the outcomes of these cases."""
        count = collections.Counter(case.outcome for case in cases)
        return cls(passed=count["passed"], failed=count["failed"], skipped=count["skipped"])

    @property
    def total(self) -> int:
        return self.passed + self.failed + self.skipped


class Run(BaseModel):
    """The part of a run that the history keeps.

    `digest` is the SHA-256 of results.json. It distinguishes runs that have the same name on two machines.
    """

    name: str
    digest: str
    context: Context
    series: dict[str, Series]
    tests: Tally
    xtest: Tally
    failures: list[Case]
    skipped: list[str] = []  # names
    course: Course | None = None  # None: older runs, which were kept only if they ended

    @property
    def complete(self) -> bool:
        """Whether every selected test ran to its end. A run that was interrupted is compared with nothing."""
        return self.course.complete if self.course else True

    @property
    def good(self) -> bool:
        """Whether the run is complete, and no test failed."""
        return self.complete and self.tests.passed > 0 and not self.tests.failed

    @property
    def started(self) -> datetime:
        return self.context.started

    def models(self) -> list[str]:
        """The networks that were measured."""
        return sorted({name.split("/")[0] for name in self.series if name.endswith("/inference")})

    def boot_stages(self) -> list[tuple[str, Series]]:
        """The stages in the order in which they were reached, with seconds since power-on."""
        found = [(name.removeprefix("boot/"), s) for name, s in self.series.items() if name.startswith("boot/")]
        return sorted(found, key=lambda stage: stage[1].median)


@dataclass(frozen=True)
class RunResults:
    """Everything that a run left behind: what the history keeps, every sample and every test."""

    folder: Path
    run: Run
    cases: list[Case]

    def property(self, model: str, world: str, name: str) -> str:
        """The property that a test of that model in that world recorded, or "" if none did."""
        for case in self.cases:
            if name in case.properties and {model, world} <= case.parameters:
                return case.properties[name]
        return ""

    def recorded(self, name: str) -> str:
        """The property that a test recorded, or "" if none did."""
        return next((case.properties[name] for case in self.cases if name in case.properties), "")


class _ResultsFile(BaseModel):
    format: int
    context: Context
    series: dict[str, Series]
    course: Course | None = None


def read_run(folder: Path) -> RunResults:
    """Read the folder of a run. Raises TzmlError."""
    path = folder / "results.json"
    text = _read(path)
    try:
        found = _ResultsFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise TzmlError(f"{path}: {place or 'file'}: {first['msg']}", "see docs/lab.md for its format") from error
    if found.format != FORMAT:
        raise TzmlError(f"{path} has format {found.format}; this tzml knows format {FORMAT}", "run the lab again")
    cases = _cases(folder / "junit.xml")
    run = Run(
        name=folder.resolve().name,
        digest=hashlib.sha256(text).hexdigest(),
        context=found.context,
        series=found.series,
        tests=Tally.of(cases),
        xtest=Tally.of([case for case in cases if case.is_xtest]),
        failures=[case for case in cases if case.outcome == "failed"],
        skipped=[case.name for case in cases if case.outcome == "skipped"],
        course=found.course,
    )
    return RunResults(folder, run, cases)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        what = f"{path.parent} has no {path.name}" if path.parent.is_dir() else f"there is no folder {path.parent}"
        raise TzmlError(what, "give the folder of a run that finished, such as results/latest") from error
    except OSError as error:
        raise TzmlError(f"{path} cannot be read: {error.strerror}") from error


def _cases(path: Path) -> list[Case]:
    text = _read(path)
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 (expat has no external entities, and limits expansion)
    except ElementTree.ParseError as error:
        raise TzmlError(f"{path} is not JUnit XML: {error}", "run the lab again") from error
    found: dict[str, Case] = {}
    for case in map(_case, root.iter("testcase")):
        if "rerun" in case.properties and case.name in found:
            found[case.name] = found[case.name].model_copy(update={"rerun": case.outcome})
        else:
            # pytest has a second element for a test that passed and whose fixtures failed afterwards
            known = found.get(case.name)
            found[case.name] = known if known and known.outcome == "failed" else case
    return list(found.values())


def _case(element: ElementTree.Element) -> Case:
    outcome: Outcome = "passed"
    message = ""
    for child in element:
        if child.tag in ("failure", "error"):
            outcome = "failed"
        elif child.tag == "skipped" and outcome != "failed":
            outcome = "skipped"
        else:
            continue
        message = message or (child.get("message") or child.text or "").strip().split("\n")[0]
    properties = {p.get("name", ""): p.get("value", "") for p in element.iter("property")}
    return Case(
        name=f"{element.get('classname', '')}::{element.get('name', '')}",
        outcome=outcome,
        seconds=float(element.get("time", 0)),
        failure_class=properties.pop("failure_class", ""),
        log=properties.pop("log", ""),
        message=message,
        properties=properties,
    )
