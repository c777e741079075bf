"""Who steals private slices behind a public backbone gets no more than from a black box, and they cost little.

The long tests are for tools/test-leakage, as those of test_leakage.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tzml.cli.leakage import command as leakage
from tzml.cli.slices import command as slices
from tzml.leakage.report import read_leakage
from tzml.partitioning.slices import PRIVATE
from tzml_zoo.digits import ONNX, held_out_digits

from .sliced import TASKS, findings

pytestmark = pytest.mark.usefixtures("libtzml")

SHARE = 0.15
"""Of what the whole model would cost in the TEE: the most that the slices may."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Two networks of the same backbone, and samples."""
    folder = tmp_path_factory.mktemp("slices")
    for name, more in (("victim", ("--width", "8", "--side", "5")), ("thief", ("--after", "3"))):
        done = [str(ONNX), "--classes", "10", "--seed", "1", *more, "-o", str(folder / f"{name}.onnx")]
        slices.main(done, standalone_mode=False)
    images, labels = held_out_digits()
    np.savez(folder / "data.npz", image=images[:300], labels=labels[:300])
    return folder / "victim.onnx", folder / "thief.onnx", folder / "data.npz"


def test_everybody_has_public_layers_and_only_the_others_are_stolen(made: tuple[Path, Path, Path]) -> None:
    pytest.importorskip("art")
    victim, thief, data = made
    output = victim.with_suffix(".json")
    arguments = [str(victim), "--data", str(data), "--queries", "40", "--seeds", "2", "--public", "--tee", PRIVATE]
    rows = {}
    for more in ([], ["--thief", str(thief)]):
        leakage.main([*arguments, *more, "-o", str(output)], standalone_mode=False)
        rows[len(more)] = {row.layers: row.stolen[0].fidelity for row in read_leakage(output).rows}
    assert list(rows[0]) == ["nothing", "7:14", "all"]
    assert rows[0]["nothing"] == [1, 1]
    assert rows[0]["all"] == rows[0]["7:14"]  # who knows the structure needs nothing of the parts outside
    assert rows[2]["7:14"] == rows[0]["7:14"]
    assert rows[2]["all"] != rows[0]["all"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--public"], "--public needs one --tee"),
        (["--public", "--tee", "3:5"], "3:5 are not the last of them behind others that could be public"),
        (["--public", "--tee", "all"], "all are not the last of them behind others"),
        (["--tee", "8", "--thief", str(ONNX)], "--thief needs --public"),
    ],
)
def test_what_could_not_be_public_is_refused(
    made: tuple[Path, Path, Path], more: list[str], message: str, tmp_path: Path
) -> None:
    pytest.importorskip("art")
    output = ["--queries", "40", "-o", str(tmp_path / "out.json")]
    done = CliRunner().invoke(leakage, [str(made[0]), "--data", str(made[2]), *output, *more])
    assert done.exit_code != 0
    assert message in f"{done.output} {done.exception}"


@pytest.mark.full
@pytest.mark.parametrize("name", TASKS)
def test_a_thief_of_slices_is_no_better_than_one_of_a_black_box(name: str, tmp_path: Path) -> None:
    """With 500 queries, and five seeds: the means differ by at most two standard deviations of the difference."""
    pytest.importorskip("art")
    found = findings(name, tmp_path)
    assert found.share <= SHARE
    assert found.accuracy > 0.8
    assert found.stolen["exposed"][500]["fidelity"] == [1]
    for what in ("fidelity", "accuracy"):
        gain, deviations = found.gain(500, what)
        assert gain <= deviations
