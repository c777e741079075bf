"""What each byte of a streamed model costs, in instructions: clear, by SHA-256; sealed, by AES-256-GCM.

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

ROWS, WIDTH = 2048, 64
SECURE_MEMORY = 600 << 10  # half of the weights fit, so that each run loads all of them
RUNS = 5


def dense() -> onnx.ModelProto:
    """A layer of ROWS x WIDTH weights, float32."""
    helper = onnx.helper
    weights = np.random.default_rng(1).standard_normal((ROWS, WIDTH), dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "dense",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, ROWS])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, WIDTH])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.fixture(scope="module")
def run_costs(command: Commands, target: Target, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Instructions of a run for each byte that it loads: clear, and sealed."""
    here = tmp_path_factory.mktemp("costs")
    folder = here / Path(FOLDER).name
    folder.mkdir()
    (folder / "sealed_costs.py").write_bytes((ROOT / "lab" / "target" / "sealed_costs.py").read_bytes())
    (here / "dense.onnx").write_bytes(dense().SerializeToString())
    bundle = compile_model(
        here / "dense.onnx", options_for(target, owner=OWNER.public, secure_memory=SECURE_MEMORY)
    )
    bundle.write(folder / "clear.tzm")
    key = seal(bundle, OWNER, folder / "sealed.tzm")
    command.run_check(f"rm -rf {FOLDER}")
    files_of(target).put(str(folder), FOLDER)
    device = enroll(command, target, folder, FOLDER, (OWNER,))
    (folder / "grant.tzg").write_bytes(make_grant(key, OWNER, [device.public_key], Terms(serial=10)))
    files_of(target).put(str(folder / "grant.tzg"), f"{FOLDER}/grant.tzg")
    per_second = 1e9 / target.env.config.data["options"]["instruction_nanoseconds"]
    found: dict[str, float] = {}
    for kind, grant in (("clear", '""'), ("sealed", "grant.tzg")):  # seen sealed, it is refused clear
        (line,) = command.run_check(
            f"cd {FOLDER} && python3 sealed_costs.py {kind}.tzm {grant} 1 {RUNS} 1", timeout=scaled(1200)
        )
        measured = json.loads(line)
        assert measured["loaded"] == pytest.approx(ROWS * WIDTH * 4, rel=0.6)
        found[kind] = statistics.median(measured["run"][1:]) * per_second / (ROWS * WIDTH * 4)
    return found


def test_a_sealed_byte_costs_what_its_cipher_does(
    run_costs: dict[str, float], record_property: RecordProperty
) -> None:
    for kind, instructions in run_costs.items():
        record_property(f"instructions for a byte, {kind}", round(instructions, 2))
    assert 0 < run_costs["clear"] < run_costs["sealed"]
