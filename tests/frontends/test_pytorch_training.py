"""Steps of training from PyTorch's state are PyTorch's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from training_state import Trained, with_a_program_that_reads_the_state

from tzml.client import World, open_model
from tzml.compiler import CompileOptions, compile_model
from tzml.compiler.passes.training import TrainOptions

torch = pytest.importorskip("torch", reason="needs PyTorch: make test-frontends")
nn = torch.nn

MICRO_BATCH, BATCH, DECAY = 10, 25, 5e-5


def lenet() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def turned(weights: NDArray[Any]) -> NDArray[Any]:
    """As the other side has them: dense weights are turned."""
    return weights.T if weights.ndim == 2 else weights


OPTIMIZERS = {
    "sgd": (TrainOptions("sgd", "cross-entropy", MICRO_BATCH, 0.9, DECAY), 0.05, 1e-6),
    "adam": (TrainOptions("adam", "cross-entropy", MICRO_BATCH, decay=DECAY), 0.001, 1e-4),
}
"""Options, rate, and how far weights may be off, by the largest of a layer.

Adam's first steps have the size of the rate, however small a gradient is: where that is next to nothing, it is
rounding that decides, in PyTorch as here. All but one weight in a thousand are within 1e-6.
"""


@pytest.mark.usefixtures("libtzml")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_step_from_pytorchs_state_is_pytorchs(name: str, tmp_path: Path) -> None:
    """Loss within 1e-6, weights as above; then the network goes on with ours."""
    options, rate, tolerance = OPTIMIZERS[name]
    network = lenet()
    with torch.no_grad():
        torch.export.save(torch.export.export(network, (torch.zeros(1, 1, 28, 28),)), tmp_path / "lenet.pt2")
    bundle = compile_model(tmp_path / "lenet.pt2", CompileOptions("host", train=options))
    parameters = list(network.parameters())
    shapes = [turned(p.detach().numpy()).shape for p in parameters]
    sizes = [p.numel() for p in parameters]
    with_a_program_that_reads_the_state(bundle, 2 * sizes).write(tmp_path / "lenet.tzm")
    optimizer: Any = {
        "sgd": lambda: torch.optim.SGD(parameters, rate, momentum=0.9, weight_decay=DECAY),
        "adam": lambda: torch.optim.Adam(parameters, rate, weight_decay=DECAY),
    }[name]()
    rng = np.random.default_rng(0)
    with open_model(tmp_path / "lenet.tzm", World.ree) as model:
        ours = Trained(model, shapes, MICRO_BATCH)
        for _ in range(5):
            x = rng.random((BATCH, 1, 28, 28), np.float32)
            labels = rng.integers(0, 10, BATCH).astype(np.int32)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(torch.from_numpy(x)), torch.from_numpy(labels).long())
            loss.backward()
            optimizer.step()
            assert ours.accumulate(x, labels)[0] / BATCH == pytest.approx(loss.item(), rel=1e-6)
            ours.update(rate, BATCH)
            for parameter, found in zip(parameters, ours.state()[0], strict=True):
                theirs = turned(parameter.detach().numpy())
                off = np.abs(found - theirs) / np.abs(theirs).max()
                assert off.max() < tolerance
                assert np.quantile(off, 0.999) < 1e-6
                with torch.no_grad():
                    parameter.copy_(torch.from_numpy(turned(found.astype(np.float32)).copy()))
