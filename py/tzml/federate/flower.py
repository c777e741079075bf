"""Flower's processes: they run in the environment `flower`, and carry what `tzml federate` makes and takes."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from tzml.environments import ENVIRONMENTS
from tzml.errors import TzmlError

_READY = 120
"""Seconds until Flower's server must answer."""


def serve(job: Mapping[str, Any], address: str, tls: Sequence[Path], say: Callable[[str], None]) -> int:
    """Run a job's rounds on a server at HOST:PORT, and say its lines as they come; the exit code of the rounds.

    `job` is what flower_app/tzml_federated/server.py reads, but for its folder. `tls` are the CA's certificate, the
    server's, and its key; without them, only this machine can be served. Raises TzmlError.
    """
    host, port = _checked(address, secured=bool(tls))
    with _ended_by_signals(), tempfile.TemporaryDirectory(prefix="tzml-federate-") as name:
        folder = Path(name)
        shutil.copytree(str(resources.files("tzml.federate") / "flower_app"), folder / "app")
        (folder / "job.json").write_text(json.dumps({**job, "folder": name}))
        security = f'root-certificates = "{tls[0].resolve()}"' if tls else "insecure = true"
        (folder / "config.toml").write_text(
            f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "{address}"\n{security}\n'
        )
        options: list[str | Path] = ["--insecure"]
        if tls:
            options = ["--ssl-ca-certfile", tls[0], "--ssl-certfile", tls[1], "--ssl-keyfile", tls[2]]
        command = [_program("flower-superlink"), *options, "--host", host, "--port", port]
        with _running(command, folder, folder / "superlink.log") as link:
            _wait(link, folder / "superlink.log")
            say(f"waiting for devices at {address}")
            config = f'job="{folder / "job.json"}"'
            run: list[str | Path] = [
                _program("flwr"),
                "run",
                folder / "app",
                "here",
                "--stream",
                "--run-config",
                config,
            ]
            return _streamed(run, folder, say)


def take_part(
    job: Mapping[str, Any], address: str, own: str, certificate: Path | None, say: Callable[[str], None]
) -> int:
    """Be a device of the server at HOST:PORT until that is stopped; the exit code of Flower's node.

    `job` is what flower_app/tzml_federated/client.py reads. `own` is the address that Flower takes for itself here,
    and `certificate` that of the server's CA. Raises TzmlError.
    """
    _checked(address, secured=certificate is not None)
    host, port = _checked(own, secured=False)
    with _ended_by_signals(), tempfile.TemporaryDirectory(prefix="tzml-federate-") as name:
        folder = Path(name)
        (folder / "job.json").write_text(json.dumps(dict(job)))
        security: list[str | Path] = ["--root-certificates", certificate] if certificate else ["--insecure"]
        command = [
            _program("flower-supernode"), *security, "--superlink", address, "--host", host, "--port", port,
            "--node-config", f'job="{folder / "job.json"}"',
        ]  # fmt: skip
        return _streamed(command, folder, say)


def _program(name: str) -> Path:
    return ENVIRONMENTS["flower"].interpreter().with_name(name)


def _checked(address: str, *, secured: bool) -> tuple[str, str]:
    """Host and port. Raises TzmlError for what is neither on this machine nor secured."""
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdecimal()):
        raise TzmlError(f"{address!r} is not HOST:PORT", "give an address as in 127.0.0.1:9093")
    local = host == "localhost"
    with contextlib.suppress(ValueError):
        local = local or ipaddress.ip_address(host).is_loopback
    if not local and not secured:
        raise TzmlError(
            f"{address} is not on this machine, and whoever is on the way could send devices what they run",
            "give certificates (--tls)",
        )
    return host, port


def _environment(folder: Path) -> dict[str, str]:
    binaries = str(ENVIRONMENTS["flower"].interpreter().parent)
    return os.environ | {
        "FLWR_HOME": str(folder),
        "FLWR_TELEMETRY_ENABLED": "0",
        "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}",
    }


@contextlib.contextmanager
def _running(command: Sequence[str | Path], folder: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with those that it starts, which end with it."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=_environment(folder), stdin=subprocess.DEVNULL, stdout=file,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        _end(process)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """What a service manager sends to end this process ends those that it started, too."""

    def leave(number: int, _: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(process: subprocess.Popen[Any]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
            return


def _wait(process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _READY
    while "Uvicorn running" not in (said := log.read_text(errors="replace")):
        if process.poll() is not None or time.monotonic() > end:
            lines = said.strip().splitlines() or ["nothing"]
            raise TzmlError(f"Flower's server did not start and said: {lines[-1].strip()[:300]}")
        time.sleep(0.2)


def _streamed(command: Sequence[str | Path], folder: Path, say: Callable[[str], None]) -> int:
    """Run a command to its end, and say its lines."""
    process = subprocess.Popen(
        command, cwd=folder, env=_environment(folder), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
    )  # fmt: skip
    assert process.stdout
    try:
        for line in process.stdout:
            say(line.rstrip("\n"))
        return process.wait()
    finally:
        _end(process)


def tzml_command() -> list[str]:
    """What starts this tzml."""
    return [sys.executable, "-m", "tzml"]
