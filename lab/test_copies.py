"""A fleet for load: one machine boots, its copies answer within seconds, each for as much CPU as the first one.

Behind HAProxy they answer 10,000 requests while they are killed, frozen and begun anew.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from labgrid import Target

from tzml.fleet import Balancer, Device, configuration
from tzml.fleet.haproxy import program as haproxy
from tzml_lab.emulation.copies import FrozenMachine, MachineCopy, copy, cpu_seconds, freeze
from tzml_lab.environment import image_of
from tzml_lab.faults import RecordProperty
from tzml_lab.inference.known_models import KNOWN, TARGET_FOLDER
from tzml_lab.processes import WITH_PARENT, free_port
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


def bodies() -> list[bytes]:
    """A request for each of some known digits."""
    found = []
    for sample in KNOWN["digits"].samples[0][:20]:
        digit: np.ndarray = sample
        image = {"name": "image", "shape": [1, *digit.shape], "datatype": "FP32", "data": digit.ravel().tolist()}
        found.append(json.dumps({"inputs": [image]}).encode())
    return found


def answers(port: int, count: int = REQUESTS) -> list[bytes]:
    """What the server at that port says of the known digits, one request each."""
    found, connection = [], http.client.HTTPConnection("127.0.0.1", port, timeout=scaled(60))
    requests = bodies()
    for number in range(count):
        connection.request("POST", "/v2/models/digits/infer", requests[number % len(requests)])
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


class Fleet:
    """Copies behind HAProxy, each at a port that it keeps when another copy takes its place."""

    def __init__(self, frozen: FrozenMachine, key: str, folder: Path, timeout: float) -> None:
        self.frozen, self.key, self.folder = frozen, key, folder
        self.ports = [free_port() for _ in range(COPIES)]
        self.port = free_port()
        self.made = 0
        self.copies: dict[int, tuple[MachineCopy, contextlib.ExitStack]] = {}
        devices = [Device(f"copy{number}", "127.0.0.1", port) for number, port in enumerate(self.ports)]
        self.config = folder / "haproxy.cfg"
        self.config.write_text(configuration(devices, Balancer(f"127.0.0.1:{self.port}", timeout)))

    def start(self, number: int) -> None:
        stack = contextlib.ExitStack()
        self.made += 1
        made = stack.enter_context(copy(self.frozen, self.folder / f"fleet{self.made}"))
        stack.enter_context(made.forward(PORT, self.key, self.ports[number]))
        self.copies[number] = made, stack

    def stop(self, number: int) -> None:
        self.copies.pop(number)[1].close()

    def stop_all(self) -> None:
        for number in list(self.copies):
            self.stop(number)

    def ask(self, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=scaled(120))
        try:
            connection.request("POST", "/v2/models/digits/infer", body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError as error:
            return 0, str(error).encode()
        finally:
            connection.close()


def test_of_10000_requests_none_is_lost_while_machines_are_killed_and_frozen(
    served: None, target: Target, tmp_path: Path, record_property: RecordProperty
) -> None:
    machine, ssh = target.get_driver("TrustZoneQEMUDriver"), target.get_driver("SSHDriver")
    requests, timeout, most = bodies(), scaled(10), 10_000
    with ssh.forward_local_port(PORT) as port:
        expected = answers(port, len(requests))
    frozen = freeze(machine, tmp_path / "frozen")
    fleet = Fleet(frozen, ssh.keyfile, tmp_path, timeout)
    over, told, seconds = threading.Event(), Counter[str](), list[float]()

    def client(number: int) -> None:
        turn = random.Random(number)
        while not over.is_set():
            which = turn.randrange(len(requests))
            begun = time.monotonic()
            status, body = fleet.ask(requests[which])
            seconds.append(time.monotonic() - begun)
            right = status == 200 and json.dumps(json.loads(body)["outputs"]).encode() == expected[which]
            told["right" if right else f"{status} {body[:200]!r}"] += 1
            if len(seconds) >= most:
                over.set()

    chance, faults = random.Random(15), Counter[str]()
    with contextlib.ExitStack() as stack:
        stack.callback(fleet.stop_all)
        for number in range(COPIES):
            fleet.start(number)
        balancer = subprocess.Popen(
            [*WITH_PARENT, str(haproxy()), "-db", "-f", fleet.config], stderr=subprocess.DEVNULL
        )
        stack.callback(balancer.wait)
        stack.callback(balancer.kill)
        deadline = time.monotonic() + scaled(60)
        while fleet.ask(requests[0])[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        clients = [threading.Thread(target=client, args=(number,)) for number in range(COPIES)]
        for thread in clients:
            thread.start()
        while not over.wait(chance.uniform(3, 8)):
            victim, fault = chance.randrange(COPIES), ("killed", "frozen")[faults.total() % 2]
            faults[fault] += 1
            if fault == "killed":
                fleet.stop(victim)
                fleet.start(victim)
                continue
            process = fleet.copies[victim][0].process
            process.send_signal(signal.SIGSTOP)
            over.wait(chance.uniform(0.2, 1.5) * timeout)
            process.send_signal(signal.SIGCONT)
        for thread in clients:
            thread.join(scaled(120))
    record_property("answers", dict(told))
    record_property("slowest", round(max(seconds), 2))
    record_property("faults", dict(faults))
    print(f"{dict(told)}, the slowest after {max(seconds):.2f} s of {timeout} s; {dict(faults)}")
    assert set(told) == {"right"}
    assert min(faults.values()) >= 3
    assert max(seconds) <= 2 * timeout
