"""No kernel trusts an index that it was given: what is read may be an attacker's."""

from __future__ import annotations

from typing import Any

import pytest
from tvm import relax

from tzml.compiler.errors import CompileError
from tzml.compiler.lower import Imported, lower

HOST = {"kind": "llvm"}


def gather(mode: str) -> Imported:
    """y = table[index], where table and index are inputs."""
    builder: Any = relax.BlockBuilder()
    table = relax.Var("table", relax.TensorType((16, 4), "float32"))
    index = relax.Var("index", relax.TensorType((2,), "int32"))
    with builder.function("main", [table, index]):
        with builder.dataflow():
            taken = builder.emit_output(relax.op.take(table, index, 0, mode=mode))
        builder.emit_func_output(taken)
    return Imported(builder.finalize(), ("table", "index"), ("y",))


def test_a_gather_that_trusts_its_indices_is_refused() -> None:
    with pytest.raises(CompileError, match="take indexes by its data"):
        lower(gather("fast"), HOST)


def test_a_gather_that_limits_them_itself_is_not() -> None:
    assert len(lower(gather("clip"), HOST).calls) == 1
