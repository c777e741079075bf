"""libFuzzer finds nothing in the reader of requests: `make test-full` runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import BUILD, make

RUNS = int(os.environ.get("TZML_FUZZ_RUNS", "200000"))


def seed(model: int, request: dict[str, Any], binary: bytes = b"") -> bytes:
    """An input of tests/fuzz/fuzz_request.cpp."""
    body = json.dumps(request).encode()
    return bytes([model]) + (len(body) if binary else 0).to_bytes(2, "little") + body + binary


def tensor(name: str, datatype: str, shape: list[int], **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, **more}


def binary(size: int) -> dict[str, Any]:
    return {"parameters": {"binary_data_size": size}}


SEEDS = {
    "samples": seed(
        0,
        {
            "id": "x",
            "inputs": [tensor("image", "FP32", [2, 2, 2], data=[1, 2.5, 3, 4, 5, 6, 7, -8e3])],
            "outputs": [{"name": "score", "parameters": {"binary_data": True}}],
        },
    ),
    "binary": seed(
        0,
        {"inputs": [tensor("image", "FP32", [1, 2, 2], **binary(16))], "parameters": {"binary_data_output": True}},
        bytes(16),
    ),
    "nested": seed(
        1,
        {"inputs": [{"data": [[1, 2, 3]], **tensor("a", "INT8", [1, 3])},
                    tensor("b", "BOOL", [1, 2], data=[True, 0])],
         "outputs": [{"name": "c"}]},
    ),
    "two": seed(
        1,
        {"inputs": [tensor("a", "INT8", [1, 3], **binary(3)), tensor("b", "BOOL", [1, 2], **binary(2))]},
        bytes(5),
    ),
    "wide": seed(
        3,
        {"inputs": [tensor("a", "UINT16", [2], data=[1, 65535]), tensor("b", "UINT32", [2], data=[0, 4294967295]),
                    tensor("c", "UINT64", [2], data=[18446744073709551615, 9007199254740993])],
         "outputs": [{"name": "d"}, {"name": "e"}]},
    ),
    "sequence": seed(
        2,
        {"inputs": [tensor("a", "UINT8", [2], data=[1, 255]), tensor("b", "INT16", [], data=[-5])],
         "parameters": {"sequence_id": "abc", "sequence_start": True, "sequence_end": False}},
    ),
}  # fmt: skip


@pytest.mark.full
def test_no_request_breaks_its_reader(tmp_path: Path) -> None:
    fuzzer = BUILD / "c" / "fuzz_request"
    make("tests/c", f"O={BUILD / 'c'}", str(fuzzer))
    seeds = tmp_path / "seeds"
    seeds.mkdir()
    (tmp_path / "found").mkdir()
    for name, data in SEEDS.items():
        (seeds / name).write_bytes(data)
    done = subprocess.run(
        [fuzzer, f"-runs={RUNS}", "-max_len=2048", "-seed=1", "-print_final_stats=1", f"-artifact_prefix={BUILD}/",
         tmp_path / "found", seeds],
        env={**os.environ, "LLVM_PROFILE_FILE": str(tmp_path / "fuzz.profraw")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-5000:]
    runs = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    assert runs
    assert int(runs[1]) >= RUNS
