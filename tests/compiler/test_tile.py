"""Layers whose values are too large are computed strip by strip, with the same answer."""

from __future__ import annotations

from pathlib import Path

import pytest
import tvm_ffi
from onnx import helper
from small_networks import build, difference, network, notes, weights

from tzml.compiler import CompileOptions
from tzml.compiler.compile import prepared_model
from tzml.compiler.ir.progress import no_progress
from tzml.compiler.passes.tile_rows import tile_layers, widest_layer

SHAPE = (1, 3, 60, 32)


def chain(stride: int = 1, dilation: int = 1, pool: str = "MaxPool", pads: tuple[int, int] = (1, 1)) -> bytes:
    """Two convolutions whose results are much larger than what goes in and what comes out."""
    above, below = pads
    return network(
        SHAPE,
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[above, 1, below, 1]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Conv", ["d", "v"], ["e"], pads=[above, 1, below, 1], strides=[stride] * 2,
                         dilations=[dilation] * 2),
        helper.make_node("Sigmoid", ["e"], ["f"]),
        helper.make_node(pool, ["f"], ["g"], kernel_shape=[3, 3], strides=[4, 4], pads=[1, 0, 1, 0]),
        helper.make_node("Conv", ["g", "u"], ["y"]),
        w=weights(32, 3, 3, 3), b=weights(32), v=weights(32, 32, 3, 3) / 17, u=weights(16, 32, 1, 1) / 6,
    )  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [{"stride": 2}, {"dilation": 2, "pads": (0, 2)}, {"pool": "AveragePool"}],
    ids=["stride", "dilation and uneven padding", "average"],
)
def test_a_chain_runs_in_less_memory_than_its_values_take(
    tmp_path: Path, libtzml: Path, options: dict[str, int]
) -> None:
    data = chain(**options)  # type: ignore[arg-type]
    whole, tiled = build(tmp_path, data), build(tmp_path, data, 240_000)
    assert whole.memory.arena_size > 300_000
    assert tiled.memory.arena_size < 200_000
    assert difference(tmp_path, data, tiled, SHAPE) < 1e-4


def test_strips_share_kernels(tmp_path: Path) -> None:
    tiled = build(tmp_path, chain(), 240_000)
    convolutions = [
        call.kernel for call, note in zip(tiled.program.calls, notes(tiled), strict=True) if note.startswith("conv")
    ]
    # the first and the last strip have other padding than those between them
    assert len(set(convolutions)) < len(convolutions)


def test_what_no_layer_is_wider_than_tiles_nothing(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(chain())
    imported, _ = prepared_model(tmp_path / "model.onnx", CompileOptions("host"), no_progress, lambda _: None)
    # the rewriting alone renames nothing, but drops what nobody reads
    before = tile_layers(imported.module, 1 << 40)
    widest = widest_layer(before)
    assert widest == 2 * 4 * 32 * 60 * 32  # what the second convolution reads and writes, float32
    assert tvm_ffi.structural_equal(tile_layers(before, widest), before)
    assert not tvm_ffi.structural_equal(tile_layers(before, widest - 1), before)


def test_no_strip_is_all_padding(tmp_path: Path, libtzml: Path) -> None:
    data = network(
        (1, 16, 12, 16),
        helper.make_node("MaxPool", ["x"], ["c"], kernel_shape=[1, 1]),
        helper.make_node("Conv", ["c", "w"], ["d"], pads=[4, 0, 2, 0], kernel_shape=[1, 1]),
        helper.make_node("MaxPool", ["d"], ["y"], kernel_shape=[4, 1], strides=[4, 1]),
        w=weights(256, 16, 1, 1),
    )
    tiled = build(tmp_path, data, 370_000)
    assert difference(tmp_path, data, tiled, (1, 16, 12, 16)) < 1e-5
