"""Layers with large weights are split along their outputs; the parts share kernels and need no copy."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import helper
from small_networks import build, difference, network, notes, weights

DENSE = network(
    (1, 200),
    helper.make_node("Gemm", ["x", "w", "b"], ["h"], transB=1),
    helper.make_node("Relu", ["h"], ["r"]),
    helper.make_node("MatMul", ["r", "v"], ["y"]),
    w=weights(512, 200), b=weights(512), v=weights(512, 10) / 100,
)  # fmt: skip


def test_a_dense_layer_runs_in_less_memory_than_its_weights_take(tmp_path: Path, libtzml: Path) -> None:
    resident, bundle = build(tmp_path, DENSE), build(tmp_path, DENSE, 200_000)
    *parts, last = bundle.program.calls
    assert bundle.memory.weights_size < resident.memory.weights_size / 2
    assert len(resident.program.calls) == 2  # bias and activation are part of the call, and of each part
    assert len(parts) > 2
    assert len({call.kernel for call in parts[:-1]}) == 1
    assert last.arguments[0].size == 512 * 4
    assert difference(tmp_path, DENSE, bundle, (1, 200)) < 1e-4


def test_a_convolutions_parts_write_into_one_buffer(tmp_path: Path, libtzml: Path) -> None:
    data = network(
        (1, 16, 6, 6),
        helper.make_node("Conv", ["x", "w", "b"], ["h"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Add", ["r", "c"], ["s"]),
        helper.make_node("MaxPool", ["s"], ["y"], kernel_shape=[2, 2]),
        w=weights(96, 16, 3, 3) / 12, b=weights(96), c=weights(96, 1, 1),
    )  # fmt: skip
    bundle = build(tmp_path, data, 70_000)
    convolutions = [note for note in notes(bundle) if note.startswith("conv")]
    assert len(convolutions) > 1
    assert not [note for note in notes(bundle) if note.startswith("concat")]
    assert difference(tmp_path, data, bundle, (1, 16, 6, 6)) < 1e-4


@pytest.mark.parametrize("limit", [110_000, 60_000], ids=["some groups a part", "parts of a group"])
def test_a_convolution_is_split_along_its_groups(tmp_path: Path, libtzml: Path, limit: int) -> None:
    data = network(
        (1, 32, 6, 6),
        helper.make_node("Conv", ["x", "w", "b"], ["h"], group=4, strides=[2, 2]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["y"], kernel_shape=[2, 2]),
        w=weights(512, 8, 3, 3) / 8, b=weights(512),
    )  # fmt: skip
    bundle = build(tmp_path, data, limit)
    assert len([note for note in notes(bundle) if note.startswith("conv")]) > 1
    assert not [note for note in notes(bundle) if note.startswith("concat")]
    assert difference(tmp_path, data, bundle, (1, 32, 6, 6)) < 1e-4


@pytest.mark.parametrize("axis", [1, 3], ids=["back to back", "interleaved"])
def test_a_concatenation_along_the_leading_axis_is_no_call(tmp_path: Path, libtzml: Path, axis: int) -> None:
    data = network(
        (1, 16, 4, 4),
        helper.make_node("MaxPool", ["x"], ["a"], kernel_shape=[1, 1]),
        helper.make_node("AveragePool", ["x"], ["b"], kernel_shape=[1, 1]),
        helper.make_node("Concat", ["a", "b"], ["c"], axis=axis),
        helper.make_node("MaxPool", ["c"], ["y"], kernel_shape=[2, 2]),
    )
    bundle = build(tmp_path, data)
    assert any("concat" in note for note in notes(bundle)) == (axis != 1)
    assert difference(tmp_path, data, bundle, (1, 16, 4, 4)) < 1e-6


@pytest.mark.parametrize("parts", [["a", "a"], ["x", "a"], ["a", "k"]], ids=["twice", "input", "constant"])
def test_what_cannot_be_a_part_is_copied(tmp_path: Path, libtzml: Path, parts: list[str]) -> None:
    data = network(
        (1, 4, 4, 4),
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Concat", parts, ["c"], axis=1),
        helper.make_node("Concat", ["a", "c"], ["d"], axis=1),
        helper.make_node("MaxPool", ["d"], ["y"], kernel_shape=[2, 2]),
        k=weights(1, 4, 4, 4),
    )
    assert difference(tmp_path, data, build(tmp_path, data), (1, 4, 4, 4)) == 0
