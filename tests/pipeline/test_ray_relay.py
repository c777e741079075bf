"""A relay over Ray: an actor carries the records of each device, and is started again where it dies."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from bundle_examples import ANSWER, OWNER

from tzml.environments import ENVIRONMENTS
from tzml.pipeline.client import Client
from tzml.pipeline.description import Invitation
from tzml.pipeline.server import ask

from .test_attested_pipeline import IMAGE_INPUT
from .test_commands import Desk, DeviceServer, desk, devices

__all__ = ["desk", "devices"]  # fixtures

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(
        not ENVIRONMENTS["ray"].is_made, reason="needs Ray: tzml environment ray; make test-frontends"
    ),
]


@pytest.fixture
def address(desk: Desk, devices: list[DeviceServer]) -> Iterator[str]:
    """A relay's, between two devices that were let in."""
    urls = [f"{number}={server.url}" for number, server in enumerate(devices)]
    assert desk.admit(*urls).exit_code == 0
    command = [sys.executable, "-m", "tzml", "pipeline", "relay", "p.tzp", *urls, "--engine", "ray",
               "--listen", "127.0.0.1:0", "--timeout", "60"]  # fmt: skip
    log = desk.folder / "relay.log"
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=desk.folder)
    try:
        assert process.stdout
        line = process.stdout.readline()
        found = re.fullmatch(r"listening on (\S+)\n", line)
        assert found, line + log.read_text()
        yield found[1]
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(120)
    assert code == 0, log.read_text()


def actors() -> list[int]:
    """The processes of Ray's actors on this host that are this test's."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::Carrier"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_answers_come_through_actors_also_after_one_died(desk: Desk, address: str) -> None:
    client = Client(Invitation.read(desk.folder / "p.tzi", OWNER.public))
    before = set(actors())
    assert len(before) == 2

    def answer() -> object:
        record, pending = client.seal(IMAGE_INPUT)
        return client.open(pending, ask(address, client.invitation.pipeline, record, 120))["score"].item()

    assert answer() == ANSWER
    lock, found = threading.Lock(), []

    def asks() -> None:
        for _ in range(10):
            with lock:
                record, pending = client.seal(IMAGE_INPUT)
            given = ask(address, client.invitation.pipeline, record, 120)
            with lock:
                found.append(client.open(pending, given)["score"].item())

    threads = [threading.Thread(target=asks) for _ in range(4)]
    for thread in threads:
        thread.start()
    os.kill(min(before), signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert found == [ANSWER] * 40
    assert len(set(actors()) - before) == 1
