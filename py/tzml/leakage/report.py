"""What attacks on partitions gave: the file that `tzml leakage` writes, the table and the picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from pydantic import BaseModel, ConfigDict, ValidationError

from tzml.errors import TzmlError
from tzml.files import write_file
from tzml.partitioning.plot import SCALES, save
from tzml.partitioning.profile import Unit
from tzml.report.plots import BLUE, FAILED, STYLE

NOTHING, ALL = "nothing", "all"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FooledRow(_Strict):
    """The share of samples that the victim mistakes after an attack on each of several copies."""

    fgsm: list[float]
    pgd: list[float]


class StolenRow(_Strict):
    """Accuracy and fidelity of the copies of several thieves with so many queries, one a seed."""

    queries: int
    accuracy: list[float]
    fidelity: list[float]
    fooled: FooledRow | None = None


class AdversarialRow(_Strict):
    """How adversarial examples were made: the largest change, as a share of the range of samples, and of how many.

    `noise` is the share that the victim mistakes after changes as large with random signs, one a seed.
    """

    epsilon: float
    samples: int
    noise: list[float]


class OracleRow(_Strict):
    """What asking the layers about activations gave (tzml.leakage.question)."""

    solved: bool
    queries: int
    fidelity: float


class LeakageRow(_Strict):
    """A partition: `layers` is what --tee takes, or "nothing" or "all" for the two baselines.

    `membership` is the area under the ROC curve for what leaves the TEE: scores, or labels where the output is
    inside and a grant may keep the scores. `latency` is the profile's prediction in its unit.
    """

    layers: str
    weights_inside: float
    gives_output: bool
    stolen: list[StolenRow]
    oracle: OracleRow | None = None
    membership: float | None = None
    latency: float | None = None

    @property
    def exposure(self) -> float:
        """The fidelity of the best copy, from whichever attack."""
        found = [float(np.mean(row.fidelity)) for row in self.stolen]
        return max([*found, self.oracle.fidelity] if self.oracle else found)


class LeakageReport(_Strict):
    """The attacks on a model, and on the data that they were made with: samples for queries, and for judging."""

    leakage: int = 1
    model: str
    sha256: str
    pool: int
    test: int
    unit: Unit | None = None
    adversarial: AdversarialRow | None = None
    rows: list[LeakageRow]

    def write(self, path: Path) -> None:
        """Write the file. Raises TzmlError."""
        write_file(path, json.dumps(self.model_dump(), indent=1) + "\n")


def read_leakage(path: Path) -> LeakageReport:
    """Raises TzmlError for a file that is no report."""
    try:
        return LeakageReport.model_validate_json(path.read_bytes())
    except OSError as error:
        raise TzmlError(f"cannot read {path}: {error.strerror}", "check the path") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise TzmlError(
            f"{path} is not a report on leakage: {where + ': ' if where else ''}{first['msg']}",
            "make it with tzml leakage",
        ) from error


def draw_leakage(path: Path, report: LeakageReport) -> None:
    """Draw exposure over latency, between the two baselines. Raises TzmlError if there are no latencies."""
    rows = [row for row in report.rows if row.latency is not None]
    if report.unit is None or not rows:
        raise TzmlError("without a profile there is no latency to draw", "give --profile")
    scale, unit_name = SCALES[report.unit]
    baselines = {row.layers: row for row in report.rows if row.layers in (NOTHING, ALL)}
    with rc_context(STYLE):
        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.subplots()
        for clear, colour, label in ((False, BLUE, "output inside"), (True, FAILED, "result in the clear")):
            found = [row for row in rows if row.gives_output != clear]
            x = [(row.latency or 0) / scale for row in found]
            axes.plot(x, [row.exposure for row in found], "o", color=colour, label=label)
        for name, label in ((NOTHING, "everything exposed"), (ALL, "everything inside")):
            if name in baselines:
                axes.axhline(
                    baselines[name].exposure, color="black", linestyle=":" if name == ALL else "--", label=label
                )
        _annotate(axes, rows, scale)
        axes.set_xlabel(f"latency, {unit_name}")
        axes.set_ylabel("fidelity of the best copy")
        axes.set_title(f"{report.model}: what a thief's copy agrees with, by layers in the TEE")
        axes.margins(x=0.1, y=0.1)
        axes.legend(loc="best", fontsize=8)
    save(figure, path)


def _annotate(axes: object, rows: Sequence[LeakageRow], scale: float) -> None:
    """Name the points; where several are at one place, one text names them."""
    texts: dict[tuple[float, float], list[str]] = {}
    for row in rows:
        texts.setdefault((round((row.latency or 0) / scale, 3), round(row.exposure, 3)), []).append(row.layers)
    for place, names in texts.items():
        axes.annotate(", ".join(names), place, xytext=(5, 4), textcoords="offset points", fontsize=8)  # type: ignore[attr-defined]
