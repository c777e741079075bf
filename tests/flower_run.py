"""Rounds over Flower on loopback, for tests: devices that take part, and a server that counts on all of them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tzml_lab.processes import free_port

ROUNDS = 2
_FEDERATE = [sys.executable, "-m", "tzml", "federate"]


@contextlib.contextmanager
def client(address: str, device: Path, command: Sequence[str | Path]) -> Iterator[None]:
    """A device takes part as long as the context lasts.

    Args:
        address: of the server
        device: its record, beside which a .log says what happens
        command: what does its part of a round

    """
    with device.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(
            [*_FEDERATE, "client", "--server", address, "--listen", f"127.0.0.1:{free_port()}", "--device", device,
             "--", *command],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            yield
        finally:
            process.terminate()
            process.wait(120)


def serve(address: str, folder: Path, devices: Sequence[Path], timeout: float | None = None) -> str:
    """Make ROUNDS rounds with all devices, whose records these are; what the server says.

    The folder has model.tzm, its content key model.tzk, and server.pem. It gets rounds.tzf and trained.tzm.
    """
    records = [part for device in devices for part in ("--device", device)]
    done = subprocess.run(
        [*_FEDERATE, "server", folder / "model.tzm", "--content-key", folder / "model.tzk", "--key",
         folder / "server.pem", *records, "--state", folder / "rounds.tzf", "--rounds", str(ROUNDS),
         "--least", str(len(devices)), "--listen", address, "--output", folder / "trained.tzm"],
        capture_output=True, text=True, check=False, timeout=timeout,
    )  # fmt: skip
    logs = "".join(device.with_suffix(".log").read_text(errors="replace") for device in devices)
    assert done.returncode == 0, done.stdout + done.stderr + logs
    for number in range(1, ROUNDS + 1):
        assert f"round {number}, the mean of {len(devices)} devices" in done.stdout
    assert (folder / "trained.tzm").exists()
    return done.stdout
