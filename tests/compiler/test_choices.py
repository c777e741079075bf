"""A choice between two numbers is no branch, and loads nothing from where there is no buffer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from guarded import exit_codes
from onnx import TensorProto, helper
from small_networks import build, network
from tvm.script import tirx

from tzml.compiler import CompileOptions, compile_model
from tzml.compiler.codegen.load_both import load_both
from tzml.compiler.ir.tvm_internals import nodes_of
from tzml.constant_time import check_library

node = helper.make_node


@pytest.mark.parametrize("count", [1, 3, 64])
def test_code_chooses_without_a_branch(count: int, tmp_path: Path) -> None:
    """Numbers that are none and others, chosen from a tensor, from a constant and from a choice."""
    data = network(
        (1, count),
        node("IsInf", ["x"], ["none"]),
        node("Where", ["none", "zero", "x"], ["finite"]),
        node("Greater", ["finite", "zero"], ["above"]),
        node("Where", ["above", "x", "other"], ["chosen"]),
        node("Cast", ["chosen"], ["whole"], to=TensorProto.INT64),
        node("Gather", ["table", "whole"], ["y"]),
        zero=np.zeros(1, np.float32),
        other=np.arange(count, dtype=np.float32),
        table=np.arange(10, dtype=np.float32),
    )
    (tmp_path / "model.onnx").write_bytes(data)
    bundle = compile_model(tmp_path / "model.onnx", CompileOptions("qemu"))
    assert check_library(bundle.libraries[0].ree).branches == ()
    assert exit_codes(build(tmp_path, data)) == {"before": 0, "behind": 0}


def test_what_is_loaded_before_a_choice_is_in_its_buffer() -> None:
    @tirx.prim_func(private=True)  # type: ignore[untyped-decorator]
    def inside(a: tirx.Buffer((8,), "float32"), b: tirx.Buffer((8,), "float32")):  # type: ignore
        for i in range(8):
            b[i] = tirx.Select(a[i] > tirx.float32(0), a[7 - i], tirx.float32(0))

    @tirx.prim_func(private=True)  # type: ignore[untyped-decorator]
    def outside(a: tirx.Buffer((8,), "float32"), b: tirx.Buffer((8,), "float32")):  # type: ignore
        for i in range(8):
            b[i] = tirx.Select(i < 7, a[i + 1], tirx.float32(0))

    def kinds(function: object) -> set[str]:
        return {type(node).__name__ for node in nodes_of(load_both(function).body)}

    assert "Select" in kinds(inside)
    assert "Select" not in kinds(outside)
