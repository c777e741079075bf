"""A device's part of a round, on a device that is reached over SSH.

usage: round_over_ssh.py PORT KEY KNOWN_HOSTS FOLDER ROUND --global FILE --update FILE

PORT of this host leads to the device, which lets KEY in. FOLDER there takes the files. ROUND is
`tzml federate round` with all its options but those two.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess

from tzml_lab.emulation.connection import Connection

parser = argparse.ArgumentParser()
for name in ("port", "key", "hosts", "folder", "round"):
    parser.add_argument(name)
parser.add_argument("--global", dest="given", required=True)
parser.add_argument("--update", required=True)
asked = parser.parse_args()
device = Connection("root", "127.0.0.1", int(asked.port), asked.key, asked.hosts)
given, update = (f"{asked.folder}/{name}.tzs" for name in ("global", "update"))
there = f"{asked.round} --global {shlex.quote(given)} --update {shlex.quote(update)}"
for command in (
    device.scp([asked.given], f":{given}"),
    device.ssh(f"rm -f {shlex.quote(update)} && {there}"),
    device.scp([f":{update}"], asked.update),
):
    subprocess.run(command, check=True)
