"""A fleet for load: one machine boots, its copies answer within seconds, each for as much CPU as the first one."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from labgrid import Target

from tzml_lab.emulation.copies import MachineCopy, copy, cpu_seconds, freeze
from tzml_lab.environment import image_of
from tzml_lab.faults import RecordProperty
from tzml_lab.inference.known_models import KNOWN, TARGET_FOLDER
from tzml_lab.target import Commands
from tzml_lab.time_limits import scaled

pytestmark = [pytest.mark.full, pytest.mark.lg_feature(["emulator", "network", "python", "systemd"])]

COPIES, REQUESTS, PORT = 3, 400, 8003


@pytest.fixture
def served(command: Commands, target: Target) -> Iterator[None]:
    """tzml-serve on the machine, with the digits network open in the TEE."""
    if image_of(target.env.config).description.machine != "qemu":
        pytest.skip("QEMU cannot freeze this machine")
    serve = f"systemd-run --unit tzml-copies tzml-serve --port {PORT} digits={TARGET_FOLDER}/digits.tzm"
    command.run_check(f"systemctl reset-failed tzml-copies 2>/dev/null; {serve}", timeout=scaled(60))
    ready = f"import urllib.request as u; u.urlopen('http://127.0.0.1:{PORT}/v2/health/ready')"
    assert command.poll_until_success(f'python3 -c "{ready}"', timeout=scaled(60))
    yield
    command.run("systemctl stop tzml-copies", timeout=scaled(60))


def answers(port: int) -> list[bytes]:
    """What the server at that port says of the known digits, one request each."""
    samples = KNOWN["digits"].samples[0][:20]
    found, connection = [], http.client.HTTPConnection("127.0.0.1", port, timeout=scaled(60))
    for number in range(REQUESTS):
        sample: np.ndarray = samples[number % len(samples)]
        image = {"name": "image", "shape": [1, *sample.shape], "datatype": "FP32", "data": sample.ravel().tolist()}
        connection.request("POST", "/v2/models/digits/infer", json.dumps({"inputs": [image]}))
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        found.append(json.dumps(json.loads(body)["outputs"]).encode())
    connection.close()
    return found


def test_copies_answer_within_seconds_with_the_same_bits_for_the_same_cpu(
    served: None, target: Target, tmp_path: Path, record_property: RecordProperty
) -> None:
    machine, ssh = target.get_driver("TrustZoneQEMUDriver"), target.get_driver("SSHDriver")
    with ssh.forward_local_port(PORT) as port:
        answers(port)  # QEMU has translated what it needs
        before = cpu_seconds(machine.pid)
        expected = answers(port)
        one = cpu_seconds(machine.pid) - before
    began = time.monotonic()
    frozen = freeze(machine, tmp_path / "frozen")
    record_property("seconds to freeze", round(time.monotonic() - began, 1))
    costs = []
    with contextlib.ExitStack() as stack:
        began = time.monotonic()
        copies: list[MachineCopy] = [
            stack.enter_context(copy(frozen, tmp_path / f"copy{number}")) for number in range(COPIES)
        ]
        ports = [stack.enter_context(made.forward(PORT, ssh.keyfile)) for made in copies]
        record_property(f"seconds until {COPIES} copies can be reached", round(time.monotonic() - began, 1))
        started = [made.cpu_seconds for made in copies]
        for made, port in zip(copies, ports, strict=True):
            answers(port)
            before = made.cpu_seconds
            assert answers(port) == expected
            costs.append(made.cpu_seconds - before)
    record_property("CPU seconds until a copy can be reached", started)
    record_property(f"CPU seconds of {REQUESTS} requests", [one, *costs])
    print(f"{REQUESTS} requests: {one:.2f} CPU s, copies {costs}; until they can be reached {started}")
    assert max(costs) <= 1.5 * one
