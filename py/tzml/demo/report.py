"""The table at the end of `make demo`, from the results folder of a lab run."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from tzml.errors import TzmlError


@dataclass(frozen=True)
class Case:
    """One test of a JUnit file."""

    name: str
    outcome: str  # "passed", "failed" or "skipped"
    properties: dict[str, str]


@dataclass(frozen=True)
class Results:
    """What a run left: its timings (docs/lab.md) and its tests."""

    timings: dict[str, dict[str, Any]]
    cases: list[Case]

    @classmethod
    def read(cls, folder: Path) -> Results:
        """Read timings.json and junit.xml. Raises TzmlError."""
        try:
            timings = json.loads((folder / "timings.json").read_text())["timings"]
            # our own file, written a moment ago
            suites = ElementTree.parse(folder / "junit.xml")  # noqa: S314
        except (OSError, ValueError, KeyError, ElementTree.ParseError) as error:
            raise TzmlError(f"{folder} has no complete results: {error}", "run `make demo` again") from error
        return cls(timings, [_case(element) for element in suites.iter("testcase")])

    def models(self) -> list[str]:
        """The networks that were run."""
        return sorted({name.split("/")[0] for name in self.timings if name.endswith("/inference")})

    def property(self, model: str, world: str, name: str) -> str:
        """What a test of that model in that world recorded."""
        for case in self.cases:
            if name in case.properties and model in case.name and world in case.name:
                return case.properties[name]
        return "not measured"


def _case(element: ElementTree.Element) -> Case:
    kinds = {child.tag for child in element}
    outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
    properties = {p.get("name", ""): p.get("value", "") for p in element.iter("property")}
    return Case(element.get("name", ""), outcome, properties)


def load_report(folder: Path) -> Table:
    """The table of a run. Raises TzmlError when the run left no complete results."""
    results = Results.read(folder)
    table = Table(title="tzml on QEMU", title_justify="left", show_header=False)
    table.add_column("what", style="bold")
    table.add_column("result")
    for name, series in _boot_stages(results):
        table.add_row(f"boot: {name}", f"{series['median']:.1f} s after power-on")
    table.add_section()
    table.add_row("xtest cases passed", _xtest(results))
    for model in results.models():
        table.add_section()
        for what, value in _inference(results, model):
            table.add_row(f"{model}: {what}", value)
    return table


def _boot_stages(results: Results) -> list[tuple[str, dict[str, Any]]]:
    """Stages in the order in which they were reached."""
    found = [(n.removeprefix("boot/"), s) for n, s in results.timings.items() if n.startswith("boot/")]
    return sorted(found, key=lambda stage: float(stage[1]["median"]))


def _xtest(results: Results) -> str:
    cases = [case for case in results.cases if case.name.startswith("test_case[")]
    count = {o: sum(case.outcome == o for case in cases) for o in ("passed", "failed", "skipped")}
    return f"{count['passed']} of {len(cases)} ({count['failed']} failed, {count['skipped']} skipped)"


def _inference(results: Results, model: str) -> list[tuple[str, str]]:
    def milliseconds(world: str) -> str:
        series = results.timings[f"{model}/{world}/inference"]
        return f"{series['median'] * 1e3:.2f} ms (median of {series['n']}, MAD {series['mad'] * 1e3:.2f} ms)"

    ratio = results.timings[f"{model}/tee-to-ree"]["median"]
    peak = results.timings[f"{model}/secure-peak"]["median"]
    accuracy = float(results.property(model, "tee", "accuracy"))
    difference = float(results.property(model, "tee", "largest_difference"))
    return [
        ("accuracy on held-out samples, in the TEE", f"{accuracy:.1%}"),
        ("largest difference from ONNX Runtime", f"{difference:.1e}"),
        ("an inference in the normal world", milliseconds("ree")),
        ("an inference in the TEE", milliseconds("tee")),
        ("TEE / normal world", f"{ratio:.2f}"),
        ("peak secure memory", f"{peak / 1024:.0f} KiB"),
    ]
