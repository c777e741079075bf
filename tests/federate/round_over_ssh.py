"""A device's part of a round, on a device that is reached over SSH.

usage: round_over_ssh.py PORT KEY KNOWN_HOSTS FOLDER ROUND --global FILE --update FILE

PORT of this host leads to the device, which lets KEY in. FOLDER there takes the files. ROUND is
`tzml federate round` with all its options but those two.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess

parser = argparse.ArgumentParser()
for name in ("port", "key", "hosts", "folder", "round"):
    parser.add_argument(name)
parser.add_argument("--global", dest="given", required=True)
parser.add_argument("--update", required=True)
asked = parser.parse_args()
options = [
    *("-o", "StrictHostKeyChecking=accept-new", "-o", f"UserKnownHostsFile={asked.hosts}", "-o", "LogLevel=ERROR"),
    *("-o", "IdentitiesOnly=yes", "-i", asked.key),
]
given, update = (f"{asked.folder}/{name}.tzs" for name in ("global", "update"))
there = f"{asked.round} --global {shlex.quote(given)} --update {shlex.quote(update)}"
for command in (
    ["scp", *options, "-P", asked.port, asked.given, f"root@127.0.0.1:{given}"],
    ["ssh", *options, "-p", asked.port, "root@127.0.0.1", f"rm -f {shlex.quote(update)} && {there}"],
    ["scp", *options, "-P", asked.port, f"root@127.0.0.1:{update}", asked.update],
):
    subprocess.run(command, check=True)
