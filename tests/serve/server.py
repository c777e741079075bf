"""A tzml-serve of this host, in the normal world, and raw requests to it."""

from __future__ import annotations

import http.client
import json
import os
import platform
import re
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from conftest import BUILD, make
from numpy.typing import NDArray

from tzml.bundle import Bundle, Library, Target

HOST = Target.aarch64 if platform.machine() == "aarch64" else Target.x86_64
Array = NDArray[Any]


class Server:
    """The program, from its start to its end."""

    def __init__(self, *arguments: str | Path, sanitizer: str = "", **variables: str) -> None:
        command: list[str | Path] = [program(sanitizer), "--world", "ree", "--port", "0", *map(str, arguments)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **variables})
        self.said: list[str] = []
        assert self.process.stderr
        for line in self.process.stderr:
            self.said.append(line)
            if found := re.search(r"listening on (https?)://\S+:(\d+)$", line):
                self.secure, self.port = found[1] == "https", int(found[2])
                return
        raise AssertionError(f"it ended with {self.process.wait()}: {self.said}")

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(20)
        finally:
            self.process.kill()
            assert self.process.stderr
            self.said += self.process.stderr.readlines()
            self.process.stderr.close()
        assert kind or code == 0, f"it ended with {code}: {self.said}"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 20)

    def ask(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, method: str = ""
    ) -> tuple[int, Any]:
        """Status and answer, which is JSON."""
        status, _, answer = self.ask_raw(path, body, headers, method)
        return status, json.loads(answer)

    def ask_raw(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, method: str = ""
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method or ("GET" if body is None else "POST"), path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def infer(self, name: str, inputs: Sequence[Mapping[str, Any]], **fields: Any) -> tuple[int, Any]:
        return self.ask(f"/v2/models/{name}/infer", json.dumps({"inputs": inputs, **fields}).encode())

    def switches(self, thread: str) -> int:
        """How often a thread of that name has gone to sleep."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        [task] = [path for path in tasks if (path / "comm").read_text().strip() == thread]
        [count] = re.findall(r"^voluntary_ctxt_switches:\s+(\d+)$", (task / "status").read_text(), re.MULTILINE)
        return int(count)

    def metric(self, line: str) -> float:
        """The value behind a name with its labels."""
        _, _, text = self.ask_raw("/metrics")
        [value] = re.findall(rf"^{re.escape(line)} (\S+)$", text.decode(), re.MULTILINE)
        return float(value)


def program(sanitizer: str = "") -> Path:
    """tzml-serve, compiled once, with a sanitizer if one is named. It finds its libtzml."""
    folder = BUILD / f"serve{sanitizer and '-' + sanitizer}"
    flags = f"-O1 -g{sanitizer and ' -fsanitize=' + sanitizer}"
    make("host", f"O={BUILD / 'host'}", "TEE=n")
    make("host/serve", f"O={folder}", f"LIBTZML={BUILD / 'host'}", f"CXXFLAGS={flags}", f"CFLAGS={flags}")
    return folder / "tzml-serve"


def image(value: float = 1.0, *, samples: int = 1) -> dict[str, Any]:
    """The input of the specification's examples."""
    data = np.full(16 * samples, value).tolist()
    return {"name": "image", "datatype": "FP32", "shape": [samples, 4, 4], "data": data}


def for_host(bundle: Bundle, kernels: Path) -> bytes:
    """An example with kernels that this host runs."""
    library = Library(b"not signed", kernels.read_bytes())
    return replace(bundle, target=HOST, libraries=(library,) * len(bundle.libraries)).encode()
