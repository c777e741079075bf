"""tzml-serve as a service of the image: it answers as `tzml-run` does, and opens again what died."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bundle_examples
import numpy as np
import pytest
from labgrid import Target

from tzml_lab.faults import RecordProperty
from tzml_lab.inference.compiling import needed_key
from tzml_lab.inference.example_kernels import example_library, with_libraries
from tzml_lab.inference.known_models import KNOWN, TARGET_FOLDER
from tzml_lab.target import Commands, files_of
from tzml_lab.time_limits import scaled

pytestmark = pytest.mark.lg_feature(["python", "systemd"])

FOLDER = "/opt/serve"  # on the target; the service does not see /tmp
DROP_IN = "/run/systemd/system/tzml-serve.service.d"
OPTIONS = f'TZML_SERVE_OPTIONS="digits={TARGET_FOLDER}/digits.tzm {FOLDER}/crash.tzm"'


@pytest.fixture(scope="module")
def found(command: Commands, target: Target, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What lab/target/serve.py prints."""
    key = needed_key(target)
    folder = tmp_path_factory.mktemp("served") / Path(FOLDER).name
    folder.mkdir()
    np.save(folder / "digits.npy", KNOWN["digits"].samples[0][:1])
    crash = with_libraries(
        bundle_examples.BUNDLE, example_library(crash=True), key, [bundle_examples.KERNELS_DIGEST]
    )
    crash.write(folder / "crash.tzm")
    (folder / "serve.py").write_bytes((Path(__file__).parent / "target" / "serve.py").read_bytes())
    (folder / "options").write_text(OPTIONS + "\n")
    command.run_check(f"rm -rf {FOLDER}")
    files_of(target).put(str(folder), FOLDER)
    command.run_check(
        f"mkdir -p {DROP_IN} && "
        f"printf '[Service]\\nEnvironmentFile=\\nEnvironmentFile={FOLDER}/options\\n' >{DROP_IN}/test.conf && "
        "systemctl daemon-reload && systemctl start tzml-serve",
        timeout=scaled(120),
    )
    (line,) = command.run_check(f"python3 {FOLDER}/serve.py {FOLDER}", timeout=scaled(600))
    answer: dict[str, Any] = json.loads(line)
    return answer


def test_it_answers_as_tzml_run_does(found: dict[str, Any]) -> None:
    assert found["digits"] == found["run"]
    assert sum(found["digits"]) == pytest.approx(1, abs=1e-5)


def test_a_model_whose_ta_died_is_not_ready_until_it_is_open_again(found: dict[str, Any]) -> None:
    # ready, an answer, the TA's death, not ready, the other model is; then ready, an answer, the server is ready
    assert found["steps"] == [200, 200, 503, 503, 200, 200, 200, 200]
    assert found["lost"] == ["1"]


def test_a_request_costs_a_bounded_part_more_than_its_inference(
    found: dict[str, Any], target: Target, record_property: RecordProperty
) -> None:
    counted = "instruction_nanoseconds" in target.env.config.data.get("options", {})
    for name, most in (("binary", 0.25), ("parts", 0.3), ("json", 1.3)):
        # a machine whose clock counts instructions says how many the inferences of these requests took
        inference = found["ran"][name] if counted else found["cpu"]["inference"]
        overhead = found["cpu"][name] / inference - 1
        record_property(f"{name} overhead", overhead)
        print(f"{name}: {overhead:.1%} more CPU than the inference: {found['cpu']}, {found['ran']}")
        # elsewhere a time is no measure: a server that never rests would be here
        assert overhead < (most if counted else 15), found["cpu"]


def test_it_stops_when_it_is_told_to(command: Commands, found: dict[str, Any]) -> None:
    command.run_check("systemctl stop tzml-serve", timeout=scaled(60))
    state = command.run_check("systemctl show -p Result -p ExecMainStatus tzml-serve")
    # a serial console may add empty lines and carriage returns
    assert sorted(filter(None, map(str.strip, state))) == ["ExecMainStatus=0", "Result=success"]
    command.run_check(f"rm -rf {FOLDER} {DROP_IN} && systemctl daemon-reload")
