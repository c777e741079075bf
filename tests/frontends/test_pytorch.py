"""PyTorch's .pt2 files answer as PyTorch does; what has no kernel is named with its layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import DATA, Array, CompileAndRun, floats

from tzml.compiler.frontends import import_file
from tzml.compiler.ir.errors import CompileError

torch = pytest.importorskip("torch", reason="needs PyTorch: make test-frontends")


def export(network: Any, folder: Path, *shape: int) -> Path:
    path = folder / "model.pt2"
    with torch.no_grad():
        torch.export.save(torch.export.export(network, (torch.zeros(shape),)), path)
    return path


def test_an_exported_program_answers_as_pytorch(answers: dict[str, Array], compile_and_run: CompileAndRun) -> None:
    ours = compile_and_run(DATA / "fixed.pt2", answers["pt2_x"])
    np.testing.assert_allclose(ours, answers["pt2_y"], atol=1e-6)


def test_an_open_batch_is_fixed_by_the_user(answers: dict[str, Array], compile_and_run: CompileAndRun) -> None:
    with pytest.raises(CompileError, match=r"input image has open dimensions: .*; give --input image=1x3x12x12"):
        import_file(DATA / "open.pt2", {}, lambda _: None)
    x = answers["pt2_x"]
    ours = compile_and_run(DATA / "open.pt2", x[None, :, 0], image=(len(x), *x.shape[2:]))
    np.testing.assert_allclose(ours[0], answers["pt2_y"][:, 0], atol=1e-6)


class Recurrent(torch.nn.Module):  # type: ignore[misc,name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(5, 6, batch_first=True, bidirectional=True)
        self.gru = torch.nn.GRU(12, 4, batch_first=True)

    def forward(self, x: Any) -> Any:
        return self.gru(self.lstm(x)[0])[0][:, -1]


class Attention(torch.nn.Module):  # type: ignore[misc,name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(8)
        self.qkv = torch.nn.Linear(8, 24)

    def forward(self, x: Any) -> Any:
        q, k, v = self.qkv(self.norm(x)).reshape(1, 5, 3, 2, 4).permute(2, 0, 3, 1, 4)
        return torch.nn.functional.gelu(torch.nn.functional.scaled_dot_product_attention(q, k, v))


class Pools(torch.nn.Module):  # type: ignore[misc,name-defined]
    def forward(self, x: Any) -> Any:
        f = torch.nn.functional
        x = torch.cat([f.max_pool2d(x, 3, 2, 1, ceil_mode=True), f.avg_pool2d(x, 3, 2, 1, ceil_mode=True)], 1)
        return f.hardswish(f.adaptive_avg_pool2d(x, 1)).flatten(1)


@pytest.mark.parametrize(
    ("network", "shape"),
    [(Recurrent, (1, 4, 5)), (Attention, (1, 5, 8)), (Pools, (1, 3, 8, 8))],
    ids=["recurrent", "attention", "pools"],
)
def test_layers_answer_as_pytorchs(
    network: Callable[[], Any], shape: tuple[int, ...], tmp_path: Path, compile_and_run: CompileAndRun
) -> None:
    torch.manual_seed(0)
    made = network().eval()
    x = floats(1, *shape)
    with torch.no_grad():
        theirs = made(torch.from_numpy(x[0])).numpy()
    np.testing.assert_allclose(compile_and_run(export(made, tmp_path, *shape), x)[0], theirs, atol=1e-5)


class Unsupported(torch.nn.Module):  # type: ignore[misc,name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Module()
        self.head.forward = lambda x: torch.linalg.det(x)

    def forward(self, x: Any) -> Any:
        return self.head.forward(x) + 1


def test_an_unsupported_operator_is_named(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"no support for the operators? .*det.*\(layer .*\)"):
        import_file(export(Unsupported(), tmp_path, 1, 3, 3), {}, lambda _: None)


def test_a_network_in_training_mode_is_refused(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)).train()
    message = r"changes its own .*num_batches_tracked.* when it runs; export it for inference"
    with pytest.raises(CompileError, match=message):
        import_file(export(network, tmp_path, 2, 3, 4, 4), {}, lambda _: None)


def test_nan_weights_are_warned_of(tmp_path: Path) -> None:
    network = torch.nn.Linear(4, 4).eval()
    with torch.no_grad():
        network.weight[0, 0] = float("nan")
    warnings: list[str] = []
    import_file(export(network, tmp_path, 1, 4), {}, warnings.append)
    assert warnings == ["there are NaN or infinite values in the weights weight"]
