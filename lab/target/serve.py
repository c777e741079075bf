"""Runs on the target: asks tzml-serve, which runs as tzml-serve.service, and prints a JSON object.

usage: serve.py FOLDER

FOLDER has digits.npy, and crash.tzm is served beside digits.tzm. Printed are `digits`, the server's answer; `run`,
that of `tzml-run`; `steps`, statuses before, while and after a TA dies; `lost`, the server's count of sessions that
ended; `cpu`, milliseconds of CPU of an inference with `tzml-run`, and of a request to the server with binary and
with JSON tensors, without the client's; of `parts`, the header is sent before the binary body, as by http.client;
`ran`, milliseconds that the inferences of those requests took, as the server counts them.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

DIGITS = "/usr/share/tzml/models/digits.tzm"
COUNT = 200


def ask(
    connection: http.client.HTTPConnection, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, bytes]:
    """Status and body."""
    connection.request("GET" if body is None else "POST", path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def cpu(process: int) -> float:
    """Milliseconds of CPU that all threads of a process have had."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{process}/task").glob("*/schedstat")) / 1e6


def ask_at_once(
    connection: http.client.HTTPConnection, path: str, body: bytes, **headers: str
) -> tuple[int, bytes]:
    """The same, with header and body in one call."""
    fields = {"Host": "127.0.0.1", "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    assert connection.sock
    connection.sock.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
    answer = http.client.HTTPResponse(connection.sock, method="POST")
    answer.begin()
    return answer.status, answer.read()


def ran(connection: http.client.HTTPConnection) -> float:
    """Milliseconds that the inferences of digits took so far."""
    text = ask(connection, "/metrics")[1].decode()
    [seconds] = re.findall(r'^tzml_serve_inference_seconds_sum\{model="digits",\} (\S+)$', text, re.MULTILINE)
    return float(seconds) * 1e3


def command_cpu(folder: Path, count: int) -> float:
    """Milliseconds of CPU of a whole command with so many inferences."""
    command: list[str | Path] = ["tzml-run", "-n", str(count), DIGITS, folder / "input.bin", folder / "output.bin"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return (usage.ru_utime + usage.ru_stime) * 1e3


def main() -> None:
    """See above."""
    folder = Path(sys.argv[1])
    sample = np.load(folder / "digits.npy")
    (folder / "input.bin").write_bytes(sample.tobytes())
    server = http.client.HTTPConnection("127.0.0.1", 8000, timeout=120)
    described = {"name": "image", "shape": list(sample.shape), "datatype": "FP32"}
    json_body = json.dumps(
        {"inputs": [described | {"data": [round(float(x), 6) for x in sample.ravel()]}]}
    ).encode()
    header = json.dumps(
        {
            "inputs": [described | {"parameters": {"binary_data_size": sample.nbytes}}],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    binary = {"Inference-Header-Content-Length": str(len(header))}
    body = header + sample.tobytes()

    status, answer = ask(server, "/v2/models/digits/infer", body, **binary)
    assert status == 200, answer
    found: dict[str, object] = {"digits": np.frombuffer(answer[-40:], np.float32).tolist()}

    once = command_cpu(folder, 1)
    inference = (command_cpu(folder, COUNT + 1) - once) / COUNT
    found["run"] = np.fromfile(folder / "output.bin", np.float32).tolist()
    process = int(subprocess.check_output(["systemctl", "show", "--value", "-p", "MainPID", "tzml-serve"]))
    used, took = {"inference": inference}, {}
    for name, how, sent, headers in (
        ("binary", ask_at_once, body, binary), ("parts", ask, body, binary), ("json", ask_at_once, json_body, {}),
    ):  # fmt: skip
        for _ in range(5):
            how(server, "/v2/models/digits/infer", sent, **headers)
        before, ran_before = cpu(process), ran(server)
        for _ in range(COUNT):
            assert how(server, "/v2/models/digits/infer", sent, **headers)[0] == 200
        used[name] = (cpu(process) - before) / COUNT
        took[name] = (ran(server) - ran_before) / COUNT
    found["cpu"], found["ran"] = used, took

    def crash(value: float) -> int:
        data = [value] + [1.0] * 15
        given = {"name": "image", "shape": [1, 4, 4], "datatype": "FP32", "data": data}
        return ask(server, "/v2/models/crash/infer", json.dumps({"inputs": [given]}).encode())[0]

    def ready() -> int:
        return ask(server, "/v2/models/crash/ready")[0]

    steps = [ready(), crash(1), crash(-1), ready(), ask(server, "/v2/models/digits/ready")[0]]
    deadline = time.monotonic() + 120
    while ready() != 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    found["steps"] = [*steps, ready(), crash(1), ask(server, "/v2/health/ready")[0]]
    metrics = ask(server, "/metrics")[1].decode()
    found["lost"] = re.findall(r'^tzml_serve_sessions_lost_total{model="crash"} (\d+)', metrics, re.MULTILINE)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
