"""A device's side: says which device it is, and starts the command that does its part of a round."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.query()
def which(message: Message, context: Context) -> Message:
    """The device's number in the list of whoever sees it: its public key."""
    job = json.loads(Path(str(context.node_config["job"])).read_text())
    return Message(RecordDict({"tzml": ConfigRecord({"device": job["public_key"]})}), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Give the global model to the command, and send what it writes."""
    job = json.loads(Path(str(context.node_config["job"])).read_text())
    given = message.content["tzml"]
    with tempfile.TemporaryDirectory(prefix="tzml-federate-") as name:
        path, update = Path(name) / "global.tzs", Path(name) / "update.tzs"
        path.write_bytes(bytes(given["global"]))
        done = subprocess.run(
            [*job["command"], "--global", path, "--update", update],
            capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        if done.returncode or not update.exists():
            error = said[-1] if said else f"{job['command'][0]} ended with exit code {done.returncode}"
            record = ConfigRecord({"error": error})
        else:
            record = ConfigRecord({"update": update.read_bytes()})
    return Message(RecordDict({"tzml": record}), reply_to=message)
