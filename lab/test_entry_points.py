"""Entry points, partitions, state and several kernel libraries, with the specification's examples, in the TA."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import bundle_bounds
import bundle_examples
import pytest
from bundle_examples import ANSWER, KERNELS_DIGEST
from labgrid import Target

from tzml.bundle import Bundle, Worlds
from tzml_lab.inference.compiling import needed_key
from tzml_lab.inference.example_kernels import example_library, with_libraries
from tzml_lab.target import Commands, files_of
from tzml_lab.time_limits import scaled

pytestmark = pytest.mark.lg_feature("python")

FOLDER = "/tmp/entry-points"  # on the target
TOTAL = float(sum(range(16)))
OTHER_DIGEST = hashlib.sha256(b"tzml example kernels, once more").digest()

BUNDLES: dict[str, Bundle] = {
    "two-entries": bundle_examples.two_entries(),
    "partition": bundle_examples.partition(),
    "ree-tee": bundle_examples.partition(Worlds.ree, Worlds.tee),
    "tee-ree": bundle_examples.partition(Worlds.tee, Worlds.ree),
    "state": bundle_examples.stateful(),
    "state-streamed": bundle_examples.state_streamed(),
    "two-libraries": bundle_examples.two_libraries(),
    "second-memory": bundle_bounds.second_memory(),
}


@pytest.fixture(scope="module")
def bundles(command: Commands, target: Target, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """The examples with kernels that the image's OP-TEE loads, on the target in FOLDER."""
    key = needed_key(target)
    folder = tmp_path_factory.mktemp("examples") / Path(FOLDER).name
    folder.mkdir()
    elf, found = example_library(), {}
    for name, bundle in BUNDLES.items():
        digests = [KERNELS_DIGEST, OTHER_DIGEST][: len(bundle.libraries)]
        found[name] = with_libraries(bundle, elf, key, digests)
        found[name].write(folder / f"{name}.tzm")
    (folder / "entry_points.py").write_bytes((Path(__file__).parent / "target" / "entry_points.py").read_bytes())
    command.run_check(f"rm -rf {FOLDER}")
    files_of(target).put(str(folder), FOLDER)
    return found


Steps = list[tuple[str, float | str | None]]  # of lab/target/entry_points.py, with what each prints
RUNS: list[tuple[str, list[str], Steps]] = [
    (
        "two-entries",
        ["tee", "tee"],
        [("run", ANSWER), ("select=1", None), ("run", TOTAL), ("select=2", "PROGRAM"), ("run", TOTAL)],
    ),
    ("partition", ["tee", "tee"], [("run", ANSWER), ("run", ANSWER)]),
    ("ree-tee", ["ree", "tee"], [("run", ANSWER), ("run", ANSWER)]),
    ("tee-ree", ["tee", "ree"], [("run", ANSWER), ("run", ANSWER)]),
    (
        "state",
        ["tee"],
        [
            *[("run", ANSWER), ("run", 2 * ANSWER), ("reset", None), ("run", ANSWER)],
            *[("fail", "KERNEL_FAILED"), ("run", "STATE_LOST"), ("reset", None), ("run", ANSWER)],
        ],
    ),
    (
        "state-streamed",
        ["tee", "tee"],
        [
            *[("run", 2 * ANSWER), ("run", 3 * ANSWER), ("fail", "KERNEL_FAILED"), ("select=1", None)],
            *[("run", "STATE_LOST"), ("reset", None), ("select=0", None), ("run", 2 * ANSWER)],
        ],
    ),
    (
        "two-libraries",
        ["tee", "tee", "tee"],
        [("run", ANSWER), ("select=1", None), ("run", TOTAL), ("select=2", None), ("run", TOTAL)],
    ),
    ("second-memory", ["tee", "ree"], [("run", ANSWER)]),
]


@pytest.mark.parametrize(("name", "worlds", "steps"), RUNS, ids=[name for name, _, _ in RUNS])
def test_an_example_does_in_the_ta_what_the_specification_says(
    bundles: dict[str, Bundle], command: Commands, name: str, worlds: list[str], steps: Steps
) -> None:
    told = " ".join(step for step, _ in steps)
    (line,) = command.run_check(f"python3 {FOLDER}/entry_points.py {FOLDER}/{name}.tzm {told}", timeout=scaled(60))
    found: dict[str, Any] = json.loads(line)
    assert found["worlds"] == worlds
    assert found["results"] == [result for _, result in steps]
    assert found["mapped"] <= bundles[name].mapped_memory
