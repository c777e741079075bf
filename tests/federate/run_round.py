"""A device's part of a round, by tests/c/train_bundle.c, which is the TA's own code: two updates.

usage: run_round.py TRAIN_BUNDLE PRIVATE_KEY BUNDLE GRANT --global FILE --update FILE
"""

from __future__ import annotations

import argparse
import subprocess
import sys

parser = argparse.ArgumentParser()
for name in ("program", "key", "bundle", "grant"):
    parser.add_argument(name)
parser.add_argument("--global", dest="given")
parser.add_argument("--update")
asked = parser.parse_args()
step = f"{asked.bundle},{asked.grant},restore={asked.given},run=0,run=0,export={asked.update}"
done = subprocess.run([asked.program, asked.key, step], capture_output=True, text=True, check=True)
if not done.stdout.startswith("SUCCESS"):
    sys.exit(done.stdout)
