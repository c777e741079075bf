"""`tzml fleet publish` and `pull`: a device installs what its owner signed, and nothing that somebody else shows.

The repository lies on an HTTP server, which is honest or not; tzml-serve is the host's.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest
from bundle_examples import BUNDLE, OWNER
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import ec
from tuf.api.metadata import Metadata, MetaFile, Root, Targets

import tzml.fleet.pull as pulling
from tzml.cli import tzml
from tzml.errors import TzmlError
from tzml.fleet import Device
from tzml.fleet.publish import Repository, Validity, _signer, make_keys
from tzml.fleet.pull import Destination, pull
from tzml.owner.grant import Terms, make_grant
from tzml.owner.keys import coordinates
from tzml.owner.seal import seal
from tzml_lab.processes import free_port

from .server import Server, image

PUBLIC = coordinates(ec.derive_private_key(21, ec.SECP256R1()).public_key())


class Shown(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, each changed by what stands under its path's end; with ranges, which Python's lacks."""

    protocol_version = "HTTP/1.1"
    folder: ClassVar[Path]
    instead: ClassVar[dict[str, Callable[[http.server.BaseHTTPRequestHandler], None]]]
    asked: ClassVar[list[str]]

    def do_GET(self) -> None:
        begin = int((self.headers["Range"] or "bytes=0-")[6:-1])
        self.asked.append(f"{self.path.rpartition('/')[2]} {begin}")
        for end, answer in self.instead.items():
            if self.path.endswith(end):
                answer(self)
                return
        path = self.folder / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        send(self, path.read_bytes()[begin:], 206 if begin else 200)

    def log_message(self, *_: object) -> None:
        pass


def send(
    handler: http.server.BaseHTTPRequestHandler, data: bytes, status: int = 200, size: int | None = None
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(data) if size is None else size))
    handler.end_headers()
    handler.wfile.write(data)
    if size is not None:
        handler.close_connection = True


class Owner:
    """A repository with its keys and its server, and a device with a server of its own."""

    def __init__(self, folder: Path, models: Path, stack: ExitStack) -> None:
        self.folder, self.keys = folder / "repository", folder / "keys"
        self.bundles = [models / "plain.tzm", models / "changed.tzm"]
        Shown.folder, Shown.instead, Shown.asked = self.folder, {}, []
        server = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shown))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever).start()
        stack.callback(server.shutdown)
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        self.device = folder / "device"
        self.port = free_port()
        restart = f"{sys.executable} -c 0"
        self.place = Destination(
            "plain", "kitchen", self.device, Device("kitchen", "127.0.0.1", self.port), restart, 2
        )
        self.repository = Repository(self.folder, self.keys)
        self.repository.begin()
        self.root = (self.folder / "metadata" / "1.root.json").read_bytes()

    def publish(self, number: int = 0) -> None:
        self.repository.publish("plain", self.bundles[number], {})

    def pull(self) -> str:
        return pull(self.url, self.root, self.place)

    def refused(self) -> str:
        """What the device says; it has what it had before."""
        before = self.installed
        with pytest.raises(TzmlError) as caught:
            self.pull()
        assert self.installed == before
        return str(caught.value)

    @property
    def installed(self) -> bytes | None:
        path = self.device / "plain" / "current" / "model.tzm"
        return path.read_bytes() if path.exists() else None

    def metadata(self, role: str) -> Path:
        found = self.folder.glob(f"metadata/*{role}.json")
        return max(found, key=lambda path: int(re.sub(r"\D", "", path.name) or 0))


@pytest.fixture(scope="module")
def serving(models: Path) -> Path:
    """Two bundles of one model."""
    if not (models / "changed.tzm").exists():
        data = bytearray((models / "plain.tzm").read_bytes())
        (models / "changed.tzm").write_bytes(data + bytes(64))
    return models


@pytest.fixture
def owner(serving: Path, tmp_path: Path) -> Iterator[Owner]:
    """Served by a server that does not look at what is installed: nothing here is about that."""
    with ExitStack() as stack:
        made = Owner(tmp_path, serving, stack)
        stack.enter_context(Running(made.port, serving / "plain.tzm"))
        yield made


class Running(Server):
    def __init__(self, port: int, bundle: Path) -> None:
        super().__init__("--port", str(port), f"plain={bundle}")


def test_a_device_gets_what_is_published_and_a_later_one_and_only_once(owner: Owner) -> None:
    owner.publish()
    assert owner.pull().endswith(" is served")
    assert owner.installed == owner.bundles[0].read_bytes()
    assert owner.pull().endswith(" is here")
    owner.publish(1)
    owner.pull()
    assert owner.installed == owner.bundles[1].read_bytes()
    assert len(list(owner.device.glob("plain/[!.]*"))) == 3  # both, and the link
    owner.publish(0)
    assert owner.pull().endswith(" is served")  # the owner goes back, with newer metadata


def test_a_download_that_broke_goes_on_where_it_was(owner: Owner) -> None:
    owner.publish()
    whole = owner.bundles[0].read_bytes()
    Shown.instead["model.tzm"] = lambda handler: send(handler, whole[:1000], size=len(whole))
    assert "goes on there" in owner.refused()
    Shown.instead.clear()
    owner.pull()
    assert owner.installed == whole
    assert Shown.asked[-1].endswith("model.tzm 1000")


def test_a_server_without_ranges_is_as_good(owner: Owner) -> None:
    owner.publish()
    whole = owner.bundles[0].read_bytes()
    Shown.instead["model.tzm"] = lambda handler: send(handler, whole[:1000], size=len(whole))
    owner.refused()
    Shown.instead["model.tzm"] = lambda handler: send(handler, whole)
    owner.pull()
    assert owner.installed == whole


def test_a_wrong_beginning_is_thrown_away(owner: Owner) -> None:
    owner.publish()
    whole = owner.bundles[0].read_bytes()
    Shown.instead["model.tzm"] = lambda handler: send(handler, bytes(1000), size=len(whole))
    owner.refused()
    Shown.instead.clear()
    assert "is not the file that the owner published" in owner.refused()
    owner.pull()
    assert owner.installed == whole


def test_another_file_and_endless_ones_are_refused(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    owner.publish()
    whole = owner.bundles[0].read_bytes()
    sent = []

    def endless(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.close_connection = True
        with contextlib.suppress(OSError):  # the device hangs up
            while True:
                handler.wfile.write(bytes(65536))
                sent.append(65536)

    Shown.instead["model.tzm"] = lambda handler: send(handler, whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "is not the file that the owner published" in owner.refused()
    for end in ("model.tzm", "timestamp.json", "1.snapshot.json", "1.targets.json", "2.root.json"):
        Shown.instead.clear()
        Shown.instead[end] = endless
        shutil.rmtree(owner.device)
        owner.refused()
    assert sum(sent) < 5 * (8 << 20)  # what sockets have under way is among it
    used = sum(path.stat().st_size for path in owner.device.rglob("*") if path.is_file())
    assert used < 2 * len(whole)


def test_a_server_that_is_slow_or_silent_is_left(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    owner.publish()
    over = threading.Event()

    def slow(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "10000")
        handler.end_headers()
        handler.close_connection = True
        while not over.wait(0.1):
            try:
                handler.wfile.write(b"x")
            except OSError:
                return

    def silent(handler: http.server.BaseHTTPRequestHandler) -> None:
        over.wait(20)
        handler.close_connection = True

    monkeypatch.setattr(pulling, "METADATA_SECONDS", 0.5)
    monkeypatch.setattr(pulling, "SILENCE", 0.5)
    for answer in (slow, silent):
        Shown.instead = {"timestamp.json": answer}
        assert "does not answer as one" in owner.refused()
        Shown.instead = {"model.tzm": answer}
        assert "ended early" in owner.refused()
    over.set()


def test_what_the_owner_did_not_sign_is_refused(owner: Owner, tmp_path: Path) -> None:
    owner.publish()
    make_keys(tmp_path / "others")
    for role, key in (("timestamp", "online"), ("snapshot", "online"), ("targets", "targets")):
        kept = owner.metadata(role).read_bytes()
        foreign = Metadata.from_bytes(kept)
        foreign.sign(_signer(tmp_path / "others", key))  # instead of the owner's signature
        owner.metadata(role).write_bytes(foreign.to_bytes())
        assert "metadata is refused" in owner.refused()
        changed = json.loads(kept)
        changed["signed"]["expires"] = "2099-01-01T00:00:00Z"
        owner.metadata(role).write_text(json.dumps(changed))
        assert "metadata is refused" in owner.refused()
        owner.metadata(role).write_bytes(b"{}")
        assert "metadata is refused" in owner.refused()
        owner.metadata(role).write_bytes(kept)
    owner.pull()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[" * 10_000,
        b'{"a":' * 2000 + b"1" + b"}" * 2000,
        b'{"signatures":[],"signed":{}}',
        b'{"signatures":[],"signed":{"_type":"%s","version":1e999}}',
        b'{"signatures":[],"signed":{"_type":"timestamp","version":' + b"9" * 10_000 + b"}}",
        b'{"signatures":{"a":1},"signed":[]}',
    ],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_no_metadata_is_refused(owner: Owner, data: bytes) -> None:
    owner.publish()
    for role in ("timestamp", "snapshot", "targets"):
        kept = owner.metadata(role).read_bytes()
        owner.metadata(role).write_bytes(data)
        assert "metadata is refused" in owner.refused()
        owner.metadata(role).write_bytes(kept)
    (owner.folder / "metadata" / "2.root.json").write_bytes(data)
    assert "metadata is refused" in owner.refused()


def test_the_online_key_alone_installs_nothing(owner: Owner) -> None:
    owner.publish()
    targets = owner.metadata("targets")
    signed = Metadata.from_bytes(targets.read_bytes())
    signed.sign(_signer(owner.keys, "online"))
    targets.write_bytes(signed.to_bytes())
    assert "metadata is refused" in owner.refused()


def test_a_root_of_other_keys_is_refused_and_one_of_the_owner_taken(owner: Owner, tmp_path: Path) -> None:
    owner.publish()
    make_keys(tmp_path / "others")
    root: Metadata[Root] = Metadata.from_bytes(owner.root)
    root.signed.version = 2
    root.signed.add_key(_signer(tmp_path / "others", "targets").public_key, Targets.type)
    root.sign(_signer(tmp_path / "others", "root"))
    (owner.folder / "metadata" / "2.root.json").write_bytes(root.to_bytes())
    assert "metadata is refused" in owner.refused()
    root.sign(_signer(owner.keys, "root"))
    (owner.folder / "metadata" / "2.root.json").write_bytes(root.to_bytes())
    owner.pull()
    owner.repository.renew_root()
    owner.pull()


def test_older_metadata_is_refused(owner: Owner, tmp_path: Path) -> None:
    owner.publish()
    shutil.copytree(owner.folder, tmp_path / "old")
    owner.publish(1)
    owner.pull()
    Shown.folder = tmp_path / "old"
    assert "metadata is refused" in owner.refused()
    # the old targets under the newer timestamp: a mixture
    shutil.copytree(owner.folder, tmp_path / "mixed")
    Shown.folder = tmp_path / "mixed"
    owner.publish(0)
    for name in ("timestamp.json", "3.snapshot.json"):
        shutil.copy(owner.folder / "metadata" / name, tmp_path / "mixed" / "metadata" / name)
    shutil.copy(
        tmp_path / "mixed" / "metadata" / "1.targets.json", tmp_path / "mixed" / "metadata" / "3.targets.json"
    )
    assert "metadata is refused" in owner.refused()
    Shown.folder = owner.folder
    owner.pull()


def test_the_bundle_of_one_release_is_not_mixed_with_the_grant_of_another(owner: Owner) -> None:
    first, second = owner.bundles
    owner.repository.publish("plain", first, {"kitchen": first})
    owner.pull()
    owner.repository.publish("plain", second, {"kitchen": second})
    Shown.instead["kitchen.tzg"] = lambda handler: send(handler, first.read_bytes())
    assert "is not the file that the owner published" in owner.refused()
    assert (owner.device / "plain" / "current" / "model.tzg").read_bytes() == first.read_bytes()
    owner.repository.publish("plain", second, {"garden": second})
    Shown.instead.clear()
    owner.pull()  # what was for the kitchen is gone
    assert not (owner.device / "plain" / "current" / "model.tzg").exists()


def test_a_repository_that_stands_still_is_noticed(owner: Owner) -> None:
    frozen = Repository(owner.folder, owner.keys, Validity(online=-1))
    frozen.publish("plain", owner.bundles[0], {})
    assert "has expired" in owner.refused()
    owner.repository.renew()
    owner.pull()


def test_a_role_that_is_left_out_is_refused(owner: Owner) -> None:
    owner.publish()
    for role in ("timestamp", "snapshot", "targets"):
        path = owner.metadata(role)
        path.rename(path.with_suffix(".gone"))
        owner.refused()
        path.with_suffix(".gone").rename(path)
    snapshot = owner.metadata("snapshot")
    without = Metadata.from_bytes(snapshot.read_bytes())
    without.signed.meta = {"other.json": MetaFile(1)}
    without.sign(_signer(owner.keys, "online"))
    snapshot.write_bytes(without.to_bytes())
    shutil.rmtree(owner.device)  # which has seen the right one
    owner.refused()


def test_what_does_not_get_ready_goes_back_and_is_not_tried_again(serving: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        owner = Owner(tmp_path, serving, stack)
        asked = tmp_path / "asked"
        # `systemctl restart` of a host without systemd: the process ends, and the same one begins anew
        starter = tmp_path / "restart.py"
        starter.write_text(
            "import pathlib, sys, time\nasked = pathlib.Path(sys.argv[1])\nasked.write_text('')\n"
            "while asked.exists():\n    time.sleep(0.02)\n"
        )
        owner.place = Destination(
            "plain", "kitchen", owner.device, owner.place.server, f"{sys.executable} {starter} {asked}", 5
        )
        over = threading.Event()

        def supervise() -> None:
            server: Running | None = None
            while not over.wait(0.05):
                if asked.exists():
                    if server:
                        server.process.send_signal(signal.SIGTERM)
                        server.process.wait()
                    try:
                        server = Running(owner.port, owner.device / "plain" / "current" / "model.tzm")
                    except AssertionError:  # it ended at once: the bundle is refused
                        server = None
                    asked.unlink()
            if server:
                server.process.kill()
                server.process.wait()

        thread = threading.Thread(target=supervise)
        thread.start()
        stack.callback(thread.join)
        stack.callback(over.set)
        owner.publish()
        owner.pull()
        broken = tmp_path / "broken.tzm"
        broken.write_bytes(owner.bundles[0].read_bytes()[:-64])
        owner.repository.publish("plain", broken, {})
        assert "went back to" in owner.refused()
        assert "did not get ready" in owner.refused()
        status, answer = Server.infer(_Address(owner.port), "plain", [image(1.0)])
        assert (status, answer["outputs"][0]["data"]) == (200, [60.0])
        owner.publish(0)
        assert owner.pull().endswith(" is here")


class _Address(Server):
    def __init__(self, port: int) -> None:
        self.port = port


def test_one_pulls_at_a_time_and_no_room_is_said(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    owner.publish()
    with pulling._alone(owner.device / "plain"):
        assert "another `tzml fleet pull` works" in owner.refused()
    usage = shutil.disk_usage(owner.device)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100))
    assert "and 100 are free" in owner.refused()


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(tzml, ["fleet", *map(str, arguments)])


def test_the_commands(owner: Owner, tmp_path: Path) -> None:
    sealed = tmp_path / "sealed.tzm"
    key = seal(BUNDLE, OWNER, sealed)
    grant = tmp_path / "kitchen.tzg"
    grant.write_bytes(make_grant(key, OWNER, [PUBLIC], Terms(serial=1)))
    options = ("--repository", tmp_path / "r", "--keys", tmp_path / "k")
    done = command("publish", sealed, "--model", "plain", "--grant", f"kitchen={grant}", *options)
    assert done.exit_code == 0, done.output
    assert "1.root.json: give it to each device" in done.output
    assert {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "k").iterdir()} == {
        "root.pem": 0o600, "targets.pem": 0o600, "online.pem": 0o600,
    }  # fmt: skip
    (tmp_path / "k" / "root.pem").unlink()  # not needed any more
    (tmp_path / "k" / "targets.pem").unlink()
    assert command("publish", "--renew", *options).exit_code == 0
    timestamp = Metadata.from_bytes((tmp_path / "r" / "metadata" / "timestamp.json").read_bytes())
    assert 6 < (timestamp.signed.expires - datetime.now(UTC)).days + 1 <= 7
    for wrong in (("publish", *options), ("publish", sealed, *options), ("publish", "--renew-root", *options)):
        assert command(*wrong).exit_code != 0
    Shown.folder = tmp_path / "r"
    place = ("--root", tmp_path / "r" / "metadata" / "1.root.json", "--models", owner.device)
    serve = ("--server", f"127.0.0.1:{owner.port}", "--restart", f"{sys.executable} -c 0")
    done = command("pull", owner.url, "--model", "plain", "--device", "kitchen", *place, *serve)
    assert (done.exit_code, done.output[-10:]) == (0, "is served\n")
    assert (owner.device / "plain" / "current" / "model.tzg").read_bytes() == grant.read_bytes()


def test_a_device_needs_no_cryptography(owner: Owner, tmp_path: Path) -> None:
    """What OpenSSL would do, securesystemslib does in Python."""
    owner.publish()
    (tmp_path / "root.json").write_bytes(owner.root)
    program = "import sys; sys.modules['cryptography'] = None; from tzml.cli import main; main()"
    where = ("--root", tmp_path / "root.json", "--models", owner.device, "--server", f"127.0.0.1:{owner.port}")
    what = ("--model", "plain", "--device", "kitchen", "--restart", "true")
    command = [sys.executable, "-c", program, "fleet", "pull", owner.url, *map(str, where), *what]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(" is served\n")


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", "a b", "ä"])
def test_names_are_parts_of_paths(owner: Owner, name: str) -> None:
    with pytest.raises(TzmlError, match="is not the name of a model"):
        owner.repository.publish(name, owner.bundles[0], {})


@pytest.mark.parametrize("url", ["file:///etc", "ftp://x/y", "http:///x", "x"])
def test_only_http_is_fetched(owner: Owner, url: str) -> None:
    with pytest.raises(TzmlError, match="is no address of a repository"):
        pull(url, owner.root, owner.place)
