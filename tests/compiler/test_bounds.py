"""A kernel touches nothing but its arguments: their neighbours in memory are somebody else's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from guarded import exit_codes
from onnx import TensorProto, helper
from small_networks import build, network, weights
from tvm.script import tirx

from tzml.compiler import CompileOptions, compile_model
from tzml.compiler.codegen.refuse_indirect import check_indices
from tzml.compiler.ir.errors import CompileError
from tzml_zoo.digits import INT8_ONNX, ONNX


@pytest.mark.parametrize("function", ["Exp", "Tanh", "Erf", "Sigmoid", "Relu"])
def test_what_is_padded_is_not_read_where_it_is_not(tmp_path: Path, function: str) -> None:
    data = network(
        (1, 16, 8, 8),  # a page of float32
        helper.make_node(function, ["x"], ["a"]),
        helper.make_node("Pad", ["a", "p"], ["y"]),
        p=np.array([0, 0, 1, 4, 0, 0, 2, 4]),
    )
    assert exit_codes(build(tmp_path, data)) == {"before": 0, "behind": 0}


def test_convolutions_stay_inside_their_images(tmp_path: Path) -> None:
    data = network(
        (1, 16, 16, 16),
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "d"], ["b"], pads=[2, 2, 2, 2], group=16, strides=[2, 2]),
        helper.make_node("Conv", ["b", "v"], ["c"], pads=[1, 0, 0, 1]),
        helper.make_node("MaxPool", ["c"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        w=weights(16, 16, 3, 3), d=weights(16, 1, 5, 5), v=weights(17, 16, 2, 2),
    )  # fmt: skip
    assert exit_codes(build(tmp_path, data)) == {"before": 0, "behind": 0}


def embedding(columns: int) -> bytes:
    """Rows of a table, which the input numbers; those of a multiple of 16 numbers are copied in vectors."""
    return network(
        (1, 8),
        helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "i"], ["y"]),
        table=weights(50, columns),
    )


@pytest.mark.parametrize("columns", [1, 3, 64])
def test_any_index_stays_inside_what_it_is_of(tmp_path: Path, columns: int) -> None:
    assert exit_codes(build(tmp_path, embedding(columns))) == {"before": 0, "behind": 0}


@pytest.mark.parametrize("operator", ["GatherElements", "GatherND"])
def test_any_index_of_an_element_stays_inside_what_it_is_of(tmp_path: Path, operator: str) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT64)]
    if operator == "GatherElements":
        nodes.append(helper.make_node(operator, ["table", "i"], ["y"], axis=0))
    else:
        nodes.append(helper.make_node("Reshape", ["i", "pairs"], ["p"]))
        nodes.append(helper.make_node(operator, ["table", "p"], ["y"]))
    constants = {"pairs": np.array([4, 2])} if operator == "GatherND" else {}
    data = network((1, 8), *nodes, table=weights(50, 8), **constants)
    assert exit_codes(build(tmp_path, data)) == {"before": 0, "behind": 0}


@pytest.mark.parametrize("columns", [1, 3, 64])
def test_a_kernel_that_trusts_its_indices_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setattr("tzml.compiler.frontends.checks.limit_indices", lambda module: module)
    with pytest.raises(CompileError, match="indexes by its data"):
        build(tmp_path, embedding(columns))


@tirx.prim_func(private=True)  # type: ignore[untyped-decorator]
def loop_to_what_was_read(n: tirx.Buffer((1,), "int32"), x: tirx.Buffer((8,), "float32")):  # type: ignore
    for i in range(n[0]):
        x[i] = tirx.float32(0)


@tirx.prim_func(private=True)  # type: ignore[untyped-decorator]
def loop_to_what_was_limited(n: tirx.Buffer((1,), "int32"), x: tirx.Buffer((8,), "float32")):  # type: ignore
    for i in range(tirx.max(tirx.min(n[0], 8), 0)):
        x[i] = tirx.float32(0)


def test_a_loop_that_goes_as_far_as_its_data_says_is_refused() -> None:
    check_indices("limited", loop_to_what_was_limited)
    with pytest.raises(CompileError, match="indexes by its data"):
        check_indices("kernel", loop_to_what_was_read)


@pytest.mark.parametrize("path", [ONNX, INT8_ONNX], ids=["float32", "int8"])
def test_a_whole_network_stays_inside(path: Path) -> None:
    assert exit_codes(compile_model(path, CompileOptions("host"))) == {"before": 0, "behind": 0}
