"""Attack: a tee-supplicant that answers OP-TEE's requests wrongly, one after the other, while a model is opened."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from labgrid import Target

from tzml_lab.environment import ROOT, image_of
from tzml_lab.faults import RecordProperty
from tzml_lab.inference.granted import FOLDER, Granted, enrolled
from tzml_lab.target import Commands
from tzml_lab.time_limits import scaled

pytestmark = pytest.mark.lg_feature(["python", "systemd"])

STORAGE = "/var/lib/optee-client/data/tee"
STEP = {"part": 180, "full": 6}  # every so many requests of an opening, one is answered wrongly
PRELOADED = "/usr/local/lib/hostile-supplicant.so"  # nothing in /run is executed
SETTINGS = "/run/systemd/system/tee-supplicant.service.d"
TARGET = ROOT / "lab" / "target"
# a disk that cannot be read is OP-TEE's failure, and ends a TA where GlobalPlatform's API knows no such error
REFUSED = {"STORAGE", "STORAGE_FULL", "NOT_ENROLLED", "GRANT_DEVICE", "PLATFORM", "TEE_FAILED", "TA_DEAD"}


@pytest.fixture
def lab(command: Commands, target: Target, tmp_path: Path) -> Iterator[Granted]:
    """An enrolled device whose sealed network has a budget, and whose tee-supplicant is hostile."""
    if image_of(target.env.config).description.storage_counter != "none":
        pytest.skip("storage that is put back ends such a device: lab/test_rollback.py")
    folder = tmp_path / Path(FOLDER).name
    folder.mkdir()
    (folder / "wrong_answers.py").write_bytes((TARGET / "wrong_answers.py").read_bytes())
    compiler = ("aarch64-linux-gnu-gcc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC")
    subprocess.run([*compiler, TARGET / "hostile_supplicant.c", "-o", folder / "hostile.so"], check=True)
    found = enrolled(command, target, folder)
    found.grant("counted", budget=100_000)
    settings = f"[Service]\\nEnvironment=LD_PRELOAD={PRELOADED}\\n"
    restart = "systemctl daemon-reload && systemctl restart tee-supplicant"
    command.run_check(f"mkdir -p /usr/local/lib {SETTINGS} && cp {FOLDER}/hostile.so {PRELOADED}")
    command.run_check(f"printf '{settings}' > {SETTINGS}/hostile.conf && {restart}")
    loaded = f"grep -q {PRELOADED} /proc/$(pidof tee-supplicant)/maps"
    command.run_check(f"for i in $(seq 100); do {loaded} 2>/dev/null && break; sleep 0.1; done; {loaded}")
    yield found
    command.run_check(f"rm -rf {SETTINGS} {PRELOADED} && {restart}")
    assert isinstance(found.do(("sealed", "counted"))[0], list)


def test_it_gets_a_clean_refusal_or_the_right_answer_and_breaks_nothing(
    lab: Granted, pytestconfig: pytest.Config, record_property: RecordProperty
) -> None:
    step = STEP[pytestconfig.option.networks]
    files = f"{FOLDER}/sealed.tzm {FOLDER}/counted.tzg"
    (line,) = lab.command.run_check(
        f"python3 {FOLDER}/wrong_answers.py {files} {STORAGE} {step}", timeout=scaled(120 + 6000 // step)
    )
    found = json.loads(line)
    right, tried = found["right"], found["tried"]
    assert isinstance(right, list)
    record_property("requests", found["requests"])
    assert min(found["requests"].values()) > 0
    answers = Counter((mode, "answer" if got == right else str(got)) for mode, _, got in tried)
    record_property("answers", sorted([*key, count] for key, count in answers.items()))
    assert {answer for _, answer in answers} <= {"answer", *REFUSED}
    assert all(answer == right for answer in found["afterwards"])
    refused = {mode for mode, answer in answers if answer != "answer"}
    assert refused >= {"flip", "half", "empty", "error", "other", "full"}, "it was not noticed, or never happened"
