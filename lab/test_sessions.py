"""Many clients at once: as many as there is room for get an answer, and the others one reason, the right one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labgrid import Target

from tzml_lab.faults import RecordProperty
from tzml_lab.inference.known_models import KNOWN, TARGET_FOLDER
from tzml_lab.target import Commands, files_of
from tzml_lab.time_limits import scaled

pytestmark = pytest.mark.lg_feature("python")

FOLDER = "/tmp/sessions"  # on the target
ARGUMENTS = f"{TARGET_FOLDER}/digits.tzm {FOLDER}/sample.npy"
CLIENTS = 60  # more than QEMU's secure memory has room for
# what docs/device.md says that a session takes of OP-TEE's heap, and libtzml's HEAP_FOR_SESSION
HEAP = 6752
MEMORY = "the secure memory of QEMU is what fills up first"


@pytest.fixture(autouse=True)
def _files(command: Commands, target: Target, tmp_path: Path) -> None:
    folder = tmp_path / Path(FOLDER).name
    folder.mkdir()
    np.save(folder / "sample.npy", KNOWN["digits"].samples[0][:1])
    for name in ("sessions.py", "crowd.py"):
        (folder / name).write_bytes((Path(__file__).parent / "target" / name).read_bytes())
    command.run_check(f"rm -rf {FOLDER}")
    files_of(target).put(str(folder), FOLDER)


def answer(command: Commands, program: str) -> dict[str, Any]:
    """What a program of lab/target prints."""
    (line,) = command.run_check(f"python3 {FOLDER}/{program}", timeout=scaled(300))
    found: dict[str, Any] = json.loads(line)
    return found


@pytest.mark.lg_feature("qemu")
def test_sessions_fill_the_secure_memory_and_not_the_heap(
    command: Commands, record_property: RecordProperty
) -> None:
    found = answer(command, f"sessions.py {ARGUMENTS}")
    (first_heap, first_pool), *_, (last_heap, last_pool) = found["memory"][:-1]
    between = found["sessions"] - 1
    record_property("sessions", found["sessions"])
    assert found["answers"]
    assert found["after"], "one that is closed makes room for one"
    assert (last_heap - first_heap) / between == pytest.approx(HEAP, rel=0.02)
    # so the heap is no limit: there is room for more in it than the pool has
    each = (last_pool - first_pool) / between
    assert found["pool_size"] - last_pool < 2 * each, MEMORY
    assert found["heap_size"] - last_heap > HEAP, MEMORY
    assert found["status"] == "BUSY"
    assert re.search(
        r"wants \d+\.\d+ MiB of secure memory; OP-TEE has \d+\.\d+ MiB for all TAs, of which "
        r"\d+\.\d+ MiB were in use; close other models, or wait for them: tzml run --wait SECONDS$",
        found["message"],
    ), found["message"]


@pytest.mark.lg_feature("qemu")
def test_those_without_room_are_told_one_reason(command: Commands, record_property: RecordProperty) -> None:
    found = answer(command, f"crowd.py {CLIENTS} 0 {ARGUMENTS}")
    record_property("answered", found["answered"])
    assert found["answered"] + len(found["refused"]) == CLIENTS
    assert found["answered"]
    assert found["different"] == 1
    others = [message for message in found["refused"] if not message.startswith("BUSY: ")]
    assert not others


def test_all_get_an_answer_who_wait(command: Commands) -> None:
    found = answer(command, f"crowd.py {CLIENTS} {scaled(200)} {ARGUMENTS}")
    assert found == {"answered": CLIENTS, "different": 1, "refused": []}
