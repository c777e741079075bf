"""The test that Yocto's images carry for ptest-runner, on an image of any feed: it needs only C programs."""

from __future__ import annotations

from labgrid import Target

from tzml_lab.environment import ROOT
from tzml_lab.inference import WORLDS
from tzml_lab.inference.known_models import KNOWN
from tzml_lab.target import Commands, files_of
from tzml_lab.time_limits import scaled

SCRIPT = ROOT / "meta-tzml/dynamic-layers/meta-arm/recipes-tzml/tzml/files/run-ptest"


def test_the_devices_own_test_passes(command: Commands, target: Target) -> None:
    files_of(target).put(str(SCRIPT), "/tmp/run-ptest")
    said = command.run_check("sh /tmp/run-ptest", timeout=scaled(120))
    passed = {line.removeprefix("PASS: ") for line in said if line.startswith("PASS: ")}
    assert [line for line in said if line.startswith("FAIL: ")] == []
    for name in KNOWN:
        assert {f"{name}-{end}" for end in (*WORLDS, "same-bits")} <= passed


def test_it_fails_where_there_is_nothing_to_test(command: Commands, target: Target) -> None:
    files_of(target).put(str(SCRIPT), "/tmp/run-ptest")
    said, _, status = command.run("mkdir -p /tmp/no-models; TZML_MODELS=/tmp/no-models sh /tmp/run-ptest")
    assert status == 1
    assert "FAIL: networks-are-installed" in said
