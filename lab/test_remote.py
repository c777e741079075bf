"""The same board, the same image, through a shared lab: coordinator, exporter, ser2net and sshd are real."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tzml_lab.environment import ROOT
from tzml_lab.standin.loopback import LoopbackLab, missing
from tzml_lab.timescale import scaled

pytestmark = [pytest.mark.lg_feature("standin"), pytest.mark.skipif(bool(missing()), reason=missing())]


def test_a_run_in_a_shared_lab(strategy, standin, env, tmp_path):
    strategy.transition("off")  # the board is another's now
    kind = env.config.data["options"]["standin"]["board"]
    lab = LoopbackLab(standin, kind)
    try:
        lab.start()
        variables = os.environ | lab.variables | {"LG_DEPLOY": str(standin.folder / "deploy")}
        command = [sys.executable, "-m", "pytest", "lab/test_flash.py", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, "--lg-env", f"{kind}-remote.yaml", "--results", tmp_path / "results"],
            cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=scaled(600),
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        assert "2 passed" in done.stdout
        assert "acquired: None" in lab.client("-p", lab.place, "show")
        assert standin.ask("relay/1") == "0"
    finally:
        lab.stop()
