"""The server's side: sends each device its global model, and gives what comes back to `tzml federate end`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from flwr.app import ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.serverapp import Grid, ServerApp

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """All rounds of a job."""
    job = json.loads(Path(str(context.run_config["job"])).read_text())
    folder = Path(job["folder"])
    nodes = _find(grid, job["devices"], job["wait"])
    for _ in range(job["rounds"]):
        files = [folder / f"global{i}.tzs" for i in range(len(job["devices"]))]
        _run([*job["begin"], *(a for file in files for a in ("--output", str(file)))])
        messages = [
            Message(
                RecordDict({"tzml": ConfigRecord({"global": files[i].read_bytes()})}), dst_node_id=node,
                message_type=MessageType.TRAIN,
            )
            for i, node in nodes.items()
        ]  # fmt: skip
        updates = []
        for number, reply in enumerate(grid.send_and_receive(messages, timeout=job["timeout"])):
            if reply.has_error():
                print(f"a device failed: {reply.error.reason}", file=sys.stderr, flush=True)
                continue
            record = reply.content["tzml"]
            if "error" in record:
                print(f"a device failed: {record['error']}", file=sys.stderr, flush=True)
                continue
            path = folder / f"update{number}.tzs"
            path.write_bytes(bytes(record["update"]))
            updates.append(path)
        if len(updates) < job["least"]:
            raise SystemExit(f"{len(updates)} devices gave an update, and a round takes {job['least']}")
        print(_run([*job["end"], *(a for path in updates for a in ("--update", str(path)))]), end="", flush=True)


def _find(grid: Grid, devices: list[str], wait: float) -> dict[int, int]:
    """The node of each device, by the device's number. Waits until all are there, or so many seconds."""
    found: dict[int, int] = {}
    end = time.monotonic() + wait
    while len(found) < len(devices) and time.monotonic() < end:
        asked = [node for node in grid.get_node_ids() if node not in found.values()]
        messages = [Message(RecordDict(), dst_node_id=node, message_type=MessageType.QUERY) for node in asked]
        for reply in grid.send_and_receive(messages, timeout=wait) if messages else ():
            if not reply.has_error() and reply.content["tzml"]["device"] in devices:
                found[devices.index(str(reply.content["tzml"]["device"]))] = reply.metadata.src_node_id
        time.sleep(0.5)
    missing = [device[:16] for i, device in enumerate(devices) if i not in found]
    if missing:
        print(f"without the devices {', '.join(missing)}: they did not come", file=sys.stderr, flush=True)
    return found


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise SystemExit(done.stderr.strip() or f"{command[0]} ended with exit code {done.returncode}")
    return done.stdout
