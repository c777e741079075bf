"""What opening a bundle costs for each byte, in instructions: clear, by SHA-256; sealed, by AES-256-GCM.

On QEMU's virt machine, OP-TEE uses the processor's instructions for both. A Raspberry Pi 3 has neither.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import numpy as np
import onnx
import pytest
from labgrid import Target

from tzml.bundle import Bundle
from tzml.compiler import compile_model
from tzml.owner.grant import Terms, make_grant
from tzml.owner.seal import seal
from tzml_lab.environment import ROOT
from tzml_lab.faults import RecordProperty
from tzml_lab.inference.compiling import options_for
from tzml_lab.inference.granted import FOLDER, OWNER, enroll
from tzml_lab.target import Commands, files_of
from tzml_lab.time_limits import scaled

pytestmark = pytest.mark.lg_feature(["counted", "python"])

WIDTH = 64
ROWS = {"small": 64, "large": 1024}  # both fit into secure memory
OPENINGS = 3


def dense(rows: int) -> onnx.ModelProto:
    """A layer of rows x WIDTH weights, float32."""
    helper = onnx.helper
    weights = np.random.default_rng(1).standard_normal((rows, WIDTH), dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "dense",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, rows])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, WIDTH])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def compile_dense(target: Target, folder: Path, name: str) -> Bundle:
    (folder / f"{name}.onnx").write_bytes(dense(ROWS[name]).SerializeToString())
    return compile_model(folder / f"{name}.onnx", options_for(target, owner=OWNER.public))


@pytest.fixture(scope="module")
def costs(
    command: Commands, target: Target, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], float]:
    """Instructions of opening: by size, and clear or sealed."""
    here = tmp_path_factory.mktemp("costs")
    folder = here / Path(FOLDER).name
    folder.mkdir()
    (folder / "sealed_costs.py").write_bytes((ROOT / "lab" / "target" / "sealed_costs.py").read_bytes())
    bundles = {name: compile_dense(target, here, name) for name in ROWS}
    keys = {name: seal(bundle, OWNER, folder / f"{name}-sealed.tzm") for name, bundle in bundles.items()}
    for name, bundle in bundles.items():
        bundle.write(folder / f"{name}-clear.tzm")
    command.run_check(f"rm -rf {FOLDER}")
    files_of(target).put(str(folder), FOLDER)
    device = enroll(command, target, folder, FOLDER, (OWNER,))
    for name, key in keys.items():
        (folder / f"{name}.tzg").write_bytes(make_grant(key, OWNER, [device.public_key], Terms(serial=10)))
        files_of(target).put(str(folder / f"{name}.tzg"), f"{FOLDER}/{name}.tzg")
    per_second = 1e9 / target.env.config.data["options"]["instruction_nanoseconds"]
    found: dict[tuple[str, str], float] = {}
    for kind in ("clear", "sealed"):  # a device that has seen a model sealed refuses it clear
        for name in ROWS:
            grant = f"{name}.tzg" if kind == "sealed" else '""'
            (line,) = command.run_check(
                f"cd {FOLDER} && python3 sealed_costs.py {name}-{kind}.tzm {grant} {OPENINGS} 1",
                timeout=scaled(1200),
            )
            found[name, kind] = statistics.median(json.loads(line)["open"]) * per_second
    return found


def test_opening_a_sealed_model_costs_for_each_byte_what_its_cipher_does(
    costs: dict[tuple[str, str], float], record_property: RecordProperty
) -> None:
    more = (ROWS["large"] - ROWS["small"]) * WIDTH * 4
    a_byte = {kind: (costs["large", kind] - costs["small", kind]) / more for kind in ("clear", "sealed")}
    for kind, instructions in a_byte.items():
        record_property(f"instructions for a byte, {kind}", round(instructions, 2))
        record_property(f"instructions to open, {kind}", round(costs["small", kind]))
    assert 0 < a_byte["clear"] < a_byte["sealed"]
