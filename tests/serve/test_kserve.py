"""KServe's own clients, unmodified, get right answers over REST, and over gRPC through the gateway."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from bundle_examples import ANSWER

from tzml.environments import ENVIRONMENTS
from tzml.fleet import Device
from tzml.fleet.grpc_gateway import Gateway, Listening, start

from .server import Server

pytestmark = pytest.mark.skipif(
    not ENVIRONMENTS["kserve"].is_made, reason="needs KServe: tzml environment kserve; make test-frontends"
)


@pytest.fixture(scope="module")
def answers(models: Path) -> dict[str, Any]:
    with Server(models / "plain.tzm") as server:
        gateway, port = start(Gateway(Device.parse(server.address), 10), Listening("127.0.0.1:0"))
        program = Path(__file__).with_name("kserve_client.py")
        done = subprocess.run(
            [ENVIRONMENTS["kserve"].interpreter(), program, f"http://{server.address}", f"127.0.0.1:{port}"],
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        gateway.stop(None).wait()
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_they_see_what_is_ready(answers: dict[str, Any], protocol: str) -> None:
    assert answers[protocol] == [True, True, True, False]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_they_get_the_models_answer(answers: dict[str, Any], protocol: str, binary: bool) -> None:
    assert answers[f"{protocol}, binary {binary}"] == ["7", "score", [ANSWER]]


def test_they_get_the_protocols_errors(answers: dict[str, Any]) -> None:
    code, said = answers["grpc, no such model"]
    assert code == "StatusCode.NOT_FOUND"
    assert "there is no model other here" in said
