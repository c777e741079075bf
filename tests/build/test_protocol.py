"""The engine's worker speaks BitBake 2.19's protocol, whatever pieces the pipe delivers it in."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from tzmlworker import protocol

from .conftest import ENGINE

REQUESTS = [("ping", b""), ("runtask", bytes(range(256)) * 5), ("workerdata", b"</workerdata>"), ("quit", b"x")]


def request(name: str, payload: bytes) -> bytes:
    return f"<{name}>".encode() + len(payload).to_bytes(4, "big") + payload + f"</{name}>".encode()


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 64, 10_000])
def test_requests_are_whole_however_the_pipe_cuts_them(piece: int) -> None:
    data = b"".join(request(*each) for each in REQUESTS)
    stream = protocol.RequestStream()
    found = [r for at in range(0, len(data), piece) for r in stream.feed(data[at : at + piece])]
    assert found == REQUESTS


@pytest.mark.parametrize("piece", [1, 5, 10_000])
def test_replies_are_whole_however_the_pipe_cuts_them(piece: int) -> None:
    replies = [protocol.event({"n": 1}), protocol.exit_code("recipe.bb:do_compile", 3), b""]
    data = b"".join(map(protocol.frame, replies))
    stream = protocol.ReplyStream()
    assert [r for at in range(0, len(data), piece) for r in stream.feed(data[at : at + piece])] == replies


def test_a_status_is_what_runqueue_unpickles() -> None:
    data = protocol.exit_code("recipe.bb:do_compile", 3)
    assert pickle.loads(data.removeprefix(b"<exitcode>").removesuffix(b"</exitcode>")) == (
        "recipe.bb:do_compile",
        3,
    )


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"<pong>\0\0\0\0</pong>", id="unknown name"),
        pytest.param(b"runtask>\0\0\0\0</runtask>", id="no opening bracket"),
        pytest.param(b"nothing like a request", id="no tag at all"),
        pytest.param(b"<ping>\0\0\0\1</ping>", id="wrong length"),
        pytest.param(b"<ping>\0\0\0\0</pong>", id="wrong end"),
    ],
)
def test_another_protocol_is_refused(data: bytes) -> None:
    with pytest.raises(protocol.ProtocolError) as error:
        list(protocol.RequestStream().feed(data + b"\0" * 20))
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build = tmp_path_factory.mktemp("build")
    subprocess.run([sys.executable, ENGINE / "assemble", build], check=True)
    return build / "engine"


def talk(engine: Path, data: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [engine / "bin/bitbake-worker", "decafbad"], input=data, capture_output=True, timeout=60, check=False
    )


def test_the_worker_answers_and_leaves_when_told(engine: Path) -> None:
    done = talk(engine, request("ping", pickle.dumps(None)) + request("quit", pickle.dumps(None)))
    assert done.returncode == 0, done.stderr
    (event,) = done.stdout.removeprefix(b"<event>").split(b"</event>")[:-1]
    assert b"Pong from bitbake-worker!" in event


def test_the_worker_leaves_when_its_server_is_gone(engine: Path) -> None:
    assert talk(engine, b"").returncode == 1


def test_the_worker_names_what_it_does_not_understand(engine: Path) -> None:
    done = talk(engine, request("pong", b""))
    assert done.returncode == 1
    assert b"is not a request of BitBake 2.19" in done.stderr


@pytest.mark.parametrize("command", ["bitbake-server", "bitbake-worker"])
def test_what_bitbake_starts_says_so_to_a_person(engine: Path, command: str) -> None:
    done = subprocess.run([engine / "bin" / command], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr == f"{command} is started by bitbake; it is of no use by itself\n"


def test_the_engine_is_assembled_once(engine: Path) -> None:
    before = engine.stat().st_ino
    subprocess.run([sys.executable, ENGINE / "assemble", engine.parent], check=True)
    assert engine.stat().st_ino == before


def test_the_lock_file_has_the_bitbake_the_engine_is_for() -> None:
    written_for = re.search(r'^BITBAKE = "(.*)"', (ENGINE / "assemble").read_text(), re.MULTILINE)
    assert written_for
    assert f"bitbake-setup=={written_for[1]} " in (ROOT / "requirements.lock").read_text()
