"""Attacks on a network with some layers in the TEE learn more, the more is outside; reports say it.

They need the Adversarial Robustness Toolbox: tools/test-leakage runs them in an environment that has it.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from conftest import tzml
from numpy.typing import NDArray

from tzml.cli.leakage import command as leakage
from tzml.errors import TzmlError
from tzml.leakage.adversarial import Adversary
from tzml.leakage.question import question
from tzml.leakage.report import LeakageReport, draw_leakage, read_leakage
from tzml.leakage.victim import Samples, Victim
from tzml_zoo.digits import ONNX, held_out_digits, training_digits

pytestmark = pytest.mark.usefixtures("libtzml")


@pytest.fixture(scope="module")
def victim(libtzml: Path) -> Victim:
    return Victim(ONNX, {})


@pytest.fixture(scope="module")
def digits() -> Samples:
    return Samples(*held_out_digits())


def test_a_copy_begins_with_the_layers_outside_and_knows_nothing_of_those_inside(
    victim: Victim, digits: Samples
) -> None:
    few = digits.part(slice(0, 100))
    with victim.open(victim.trainable.bundle) as original:
        expected = original.scores(few.inputs)
    found = {}
    for inside in ((), (6,), range(8)):
        with victim.thief(inside, seed=1) as copy:
            found[len(tuple(inside))] = copy.scores(few.inputs)
    assert np.array_equal(found[0], expected)
    assert not np.array_equal(found[1], expected)
    right = {count: np.mean(scores.argmax(1) == few.labels) for count, scores in found.items()}
    assert right[0] > 0.95
    assert right[8] < 0.4


def test_a_layer_whose_result_crosses_is_solved_and_the_copy_is_the_network(
    victim: Victim, digits: Samples
) -> None:
    test, pool = digits.part(slice(0, 60)), digits.part(slice(500, 1000))
    solved = question(victim, range(4, 5), pool, test, queries=40)
    assert solved is not None
    assert solved.solved
    assert solved.queries <= 4 * 400 + 1
    assert solved.fidelity == 1
    learned = question(victim, range(2, 5), pool, test, queries=40)
    assert learned is not None
    assert (learned.solved, learned.queries) == (False, 40)
    assert learned.fidelity > 0.2
    assert question(victim, range(4, 8), pool, test, queries=40) is None


def rows(tmp_path: Path, *more: str, queries: str) -> LeakageReport:
    """What `tzml leakage` writes about the digits network."""
    images, labels = held_out_digits()
    np.savez(tmp_path / "data.npz", image=images, labels=labels)
    output = tmp_path / "digits.leakage.json"
    arguments = ["--data", str(tmp_path / "data.npz"), "--queries", queries, "--seeds", "1", "-o", str(output)]
    leakage.main([str(ONNX), *arguments, *more], standalone_mode=False)
    return read_leakage(output)


def test_more_outside_means_a_better_copy(tmp_path: Path) -> None:
    pytest.importorskip("art")
    report = rows(tmp_path, "--tee", "8", "--tee", "5:8", queries="50,300")
    assert [row.layers for row in report.rows] == ["nothing", "8:8", "5:8", "all"]
    best = {row.layers: [float(np.mean(s.fidelity)) for s in row.stolen] for row in report.rows}
    assert best["nothing"] == [1, 1]
    assert best["8:8"][0] > best["5:8"][0] > best["all"][0]
    assert all(many > few for few, many in (best["5:8"], best["all"]))
    assert all(len(s.fidelity) == 1 for row in report.rows for s in row.stolen)
    few, again = (rows(tmp_path, "--tee", "8", queries="20") for _ in range(2))
    assert few.rows == again.rows


def test_examples_made_on_a_better_copy_fool_the_victim_more_often(tmp_path: Path) -> None:
    pytest.importorskip("art")
    report = rows(tmp_path, "--tee", "8", "--epsilon", "0.15", queries="50")
    assert report.adversarial is not None
    assert report.adversarial.samples > 180
    fooled = {row.layers: row.stolen[0].fooled for row in report.rows}
    pgd = {name: found.pgd[0] for name, found in fooled.items() if found}
    assert list(pgd) == ["nothing", "8:8", "all"]
    assert pgd["nothing"] > 0.5
    assert pgd["nothing"] > pgd["all"] > report.adversarial.noise[0]


def test_samples_that_no_adversarial_example_can_be_made_of_are_refused(victim: Victim, digits: Samples) -> None:
    few = digits.part(slice(0, 20))
    right, nothing = victim_answers(victim, few), np.zeros_like(few.inputs)
    for samples, message in (
        (Samples(few.inputs.astype(np.uint8), few.labels), "has samples of uint8"),
        (Samples(few.inputs, (right + 1) % 10), "answers none of the first 20 samples for judging rightly"),
        (Samples(nothing, victim_answers(victim, Samples(nothing, right))), "from 0 to 0"),
        (Samples(np.where(few.inputs > 0.9, np.nan, few.inputs).astype(np.float32), right), "says nothing"),
    ):
        with pytest.raises(TzmlError, match=message):
            Adversary(victim, samples, 0.1, "data.npz")


def victim_answers(victim: Victim, samples: Samples) -> NDArray[np.int64]:
    """The classes that it gives samples."""
    with victim.open(victim.trainable.bundle) as original:
        found: NDArray[np.int64] = original.scores(samples.inputs).argmax(1)
    return found


def test_members_are_told_from_others_only_where_the_network_remembers_them(tmp_path: Path) -> None:
    """Canaries: three in ten of its examples had wrong labels, and it learned these as well."""
    pytest.importorskip("art")
    from tzml.leakage.membership import infer_membership

    images, labels = training_digits()
    random = np.random.default_rng(0)
    wrong = random.random(600) < 0.3
    labels = labels[:600].copy()
    labels[wrong] = (labels[wrong] + random.integers(1, 10, wrong.sum())) % 10
    members, others = Samples(images[:300], labels[:300]), Samples(images[300:600], labels[300:600])
    victim = Victim(ONNX, {})
    clean = infer_membership(victim, members, others)
    with victim.open(victim.trainable.bundle) as copy:
        copy.train(members, 50, 60, seed=0)
        scores = copy.scores(members.inputs)
        assert np.mean(scores.argmax(1) == members.labels) > 0.9

        with patch.object(victim, "open", lambda _: nullcontext(copy)):
            told = infer_membership(victim, members, others)
    assert clean.scores < 0.6
    assert clean.labels < 0.6
    assert told.labels > 0.6
    assert told.scores > 0.6


def report_of_two() -> dict[str, object]:
    stolen = [{"queries": 50, "accuracy": [0.5], "fidelity": [0.6]}]
    row = {"layers": "nothing", "weights_inside": 0, "gives_output": False, "stolen": stolen, "latency": 1e6}
    inside = {**row, "layers": "all", "weights_inside": 1, "gives_output": True, "latency": 2e6}
    return {"model": "m.onnx", "sha256": "0", "pool": 60, "test": 40, "unit": "instructions", "rows": [row, inside]}


def test_a_report_is_read_drawn_and_refused_with_the_field(tmp_path: Path) -> None:
    from tzml.errors import TzmlError

    path = tmp_path / "r.json"
    path.write_text(json.dumps(report_of_two()))
    draw_leakage(tmp_path / "r.svg", read_leakage(path))
    assert "everything exposed" in (tmp_path / "r.svg").read_text()
    path.write_text(json.dumps({**report_of_two(), "pool": "many"}))
    with pytest.raises(TzmlError, match=r"r\.json is not a report on leakage: pool: .*; make it with tzml leakage"):
        read_leakage(path)
    with pytest.raises(TzmlError, match="give --profile"):
        draw_leakage(tmp_path / "r.svg", LeakageReport.model_validate({**report_of_two(), "unit": None}))


def test_without_the_toolbox_the_command_says_how_to_get_it(tmp_path: Path) -> None:
    from importlib.util import find_spec

    np.savez(tmp_path / "d.npz", image=np.zeros((4, 1, 28, 28), np.float32), labels=np.zeros(4, np.int64))
    done = tzml("leakage", ONNX, "--data", tmp_path / "d.npz")
    assert done.returncode == 2
    expected = "fewer than 500" if find_spec("art") else "pip install 'tzml[leakage]'"
    assert expected in done.stderr
