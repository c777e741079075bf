"""Several samples that are run at once have the bits that each has alone, and load weights once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bundle_examples import stateful, three_programs
from serve.server import for_host

from tzml.client import Model, RunError, World, open_model
from tzml.compiler import CompileOptions, compile_model
from tzml_zoo.digits import ONNX

EXAMPLES = {"state": stateful, "three-programs": three_programs}

pytestmark = pytest.mark.usefixtures("libtzml")


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits network in so little memory that each run loads weights."""
    path = tmp_path_factory.mktemp("samples") / "digits.tzm"
    compile_model(ONNX, CompileOptions("host", secure_memory=100 << 10)).write(path)
    return path


@pytest.fixture(params=["resident", "streamed"])
def model(request: pytest.FixtureRequest, streamed: Path, digits_for_host: Path) -> Iterator[Model]:
    with open_model(streamed if request.param == "streamed" else digits_for_host, World.ree) as opened:
        yield opened


def images(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(count).standard_normal((count, 1, 1, 28, 28), np.float32))


def loaded(model: Model) -> int:
    return sum(chunk.loads * chunk.size for chunk in model.chunks())


@pytest.mark.parametrize("count", [1, 2, 8, 64, 65, 150])
def test_samples_have_the_bits_that_each_has_alone(model: Model, count: int) -> None:
    samples = images(count)
    alone = [model.run(sample).outputs["probabilities"].tobytes() for sample in samples]
    together = [answer.outputs["probabilities"].tobytes() for answer in model.run_samples(samples)]
    assert len(set(alone)) == count
    assert together == alone


def test_weights_that_every_run_loads_are_loaded_once_for_all_samples(streamed: Path) -> None:
    with open_model(streamed, World.ree) as model:
        model.run(images(1)[0])
        before = loaded(model)
        model.run(images(1)[0])
        one = loaded(model) - before
        before = loaded(model)
        model.run_samples(images(8))
        assert loaded(model) - before == one > 100_000


def test_what_samples_keep_in_between_is_given_back_and_less_than_an_arena_each(streamed: Path) -> None:
    with open_model(streamed, World.ree) as model:
        before = model.memory()
        model.run_samples(images(8))
        after = model.memory()
        assert after.mapped == before.mapped
        assert 0 < after.mapped_peak - before.mapped_peak < 8 * after.arena


def test_runs_are_counted_one_by_one(model: Model) -> None:
    model.run_samples(images(8))
    assert model.program_use()[0].runs == 8
    assert model.usage().user_seconds >= 0


def test_no_samples_take_nothing(model: Model) -> None:
    assert model.run_samples([]) == []


def test_a_sample_of_another_shape_is_refused_before_any_is_run(model: Model) -> None:
    with pytest.raises(RunError, match="not shape"):
        model.run_samples([*images(2), np.zeros((1, 28, 28), np.float32)])
    assert model.program_use()[0].runs == 0


@pytest.mark.parametrize(("name", "same"), [("state", False), ("three-programs", True)])
def test_a_model_with_state_or_of_several_programs_runs_them_one_by_one(
    name: str, same: bool, c_tests: Path, tmp_path: Path
) -> None:
    """Those of a model with state see what the one before left."""
    bundle = tmp_path / "model.tzm"
    bundle.write_bytes(for_host(EXAMPLES[name](), c_tests / "example_kernels.so"))
    sample = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    with open_model(bundle, World.ree) as model:
        model.reset()
        alone = [model.run(sample).outputs["score"].item() for _ in range(3)]
        model.reset()
        together = [answer.outputs["score"].item() for answer in model.run_samples([sample] * 3)]
    assert together == alone
    assert (len(set(alone)) == 1) == same
