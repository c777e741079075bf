"""Wrong input is refused with its own status, in one helpful line, and leaves nothing behind."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labgrid import Target

from tzml.bundle import decode
from tzml.bundle.identity import digest_uuid
from tzml_lab.environment import image_of
from tzml_lab.faults import RecordProperty, full_disk
from tzml_lab.inference import WORLDS, bad_bundles
from tzml_lab.inference.answers import promised
from tzml_lab.inference.known_models import KNOWN, TARGET_FOLDER
from tzml_lab.inference.signing_key import signing_key
from tzml_lab.target import Commands, files_of
from tzml_lab.time_limits import scaled

Refusal = dict[str, Any]  # what lab/target/probe.py prints of a bundle, or as much of it as probe.sh can know

FOLDER = "/tmp/bad-input"  # on the target, like all absolute paths in this file
SOUND = f"{TARGET_FOLDER}/digits.tzm"
EACH = 8  # of the bundles that one status refuses, every one of so many; the others are run by `make test-full`


def cases() -> Iterator[Any]:
    """Bundles and worlds. Of each status, the first is always run, and in both worlds."""
    refused: Counter[str] = Counter()
    for statuses in (bad_bundles.example_statuses(), bad_bundles.SPOILED):
        for name, status in statuses.items():
            marks = [pytest.mark.full] if refused[status["tee"]] % EACH else []
            refused[status["tee"]] += 1
            for world in status:
                yield pytest.param(name, world, id=f"{name}-{world}", marks=marks)


@pytest.fixture(scope="module")
def files(
    command: Commands, target: Target, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bad_bundles.BadBundle]:
    """Copy bad bundles and inputs to FOLDER on the target."""
    transfer = files_of(target)
    folder = tmp_path_factory.mktemp("bad") / Path(FOLDER).name
    folder.mkdir()
    transfer.get(SOUND, str(folder / "sound.tzm"))
    sound, image = (folder / "sound.tzm").read_bytes(), image_of(target.env.config)
    # the secure memory that image.json reports is what the target really has
    memory = image.description.secure_memory.ta_size
    bundles = [*bad_bundles.examples(), *bad_bundles.spoiled(sound, memory)]
    if key := signing_key(image):
        newer, older, twin = bad_bundles.versions(sound, key)
        (folder / "newer.tzm").write_bytes(newer)
        (folder / "older.tzm").write_bytes(older)
        (folder / "twin.tzm").write_bytes(twin)
    for bundle in bundles:
        (folder / f"{bundle.name}.tzm").write_bytes(bundle.data)
    sample = KNOWN["digits"].samples[0][:1]
    arrays = {
        "sample": sample,
        "wrong-shape": sample[:, :, :-1],
        "wrong-type": sample.astype(np.float64),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    (folder / "sample.bin").write_bytes(sample.tobytes())
    (folder / "short.bin").write_bytes(sample.tobytes()[:-1])
    (folder / "text.npy").write_text("no array\n")
    for name in ("probe.py", "probe.sh"):
        (folder / name).write_bytes((Path(__file__).parent / "target" / name).read_bytes())
    command.run_check(f"rm -rf {FOLDER}")
    transfer.put(str(folder), FOLDER)
    return {bundle.name: bundle for bundle in bundles}


@pytest.fixture(scope="module")
def answers(
    request: pytest.FixtureRequest, files: dict[str, bad_bundles.BadBundle], command: Commands, target: Target
) -> dict[str, dict[str, Refusal]]:
    """Each world's answer to each bad bundle that a test of this run asks for."""
    asked = {item.name for item in request.session.items}
    python = image_of(target.env.config).description.features.python
    found: dict[str, dict[str, Refusal]] = {}
    for world in WORLDS:
        names = [name for name in files if f"{test_bad_bundle.__name__}[{name}-{world}]" in asked]
        paths = [f"{FOLDER}/{name}.tzm" for name in names]
        refusals = probed(command, world, paths) if python else probed_in_c(command, target, world, paths)
        found[world] = dict(zip(names, refusals, strict=True))
    return found


def probed(command: Commands, world: str, paths: list[str]) -> list[Refusal]:
    """A world's answers to bundles, as a program hears them that goes on."""
    probe = f"python3 {FOLDER}/probe.py {world} {SOUND} {FOLDER}/sample.npy {' '.join(paths)}"
    return [json.loads(line) for line in command.run_check(probe, timeout=scaled(900))]  # hundreds of bundles


def probed_in_c(command: Commands, target: Target, world: str, paths: list[str]) -> list[Refusal]:
    """Likewise where there is no Python, as tzml-run hears them."""
    told = Path(tempfile.mkdtemp()) / "paths"
    told.write_text("".join(f"{path}\n" for path in paths))
    files_of(target).put(str(told), f"{FOLDER}/paths")
    probe = f"sh {FOLDER}/probe.sh {world} {SOUND} {FOLDER}/sample.bin <{FOLDER}/paths"
    remedies, found = bad_bundles.remedies().items(), []
    for line in command.run_check(probe, timeout=scaled(900)):
        opens, status, said = line.split(" ", 2)
        message = said.removeprefix("tzml-run: ")
        fits = [name for name, (what, do) in remedies if message.startswith(what) and message.endswith(f"; {do}")]
        known = fits[0] if status == "1" and len(fits) == 1 else f"exit status {status}: {said}"
        found.append({"status": known, "message": message, "opens": opens == "yes"})
    return found


@pytest.mark.parametrize(("name", "world"), list(cases()))
def test_bad_bundle(
    files: dict[str, bad_bundles.BadBundle], answers: dict[str, dict[str, Refusal]], name: str, world: str
) -> None:
    answer = answers[world][name]
    assert answer["status"] == files[name].status[world]
    what, remedy = bad_bundles.remedies()[answer["status"]]
    assert answer["message"].startswith(what)
    assert answer["message"].endswith(f"; {remedy}")
    assert "\n" not in answer["message"]
    assert answer["opens"], "the sound bundle cannot be opened any more, after this or one of the 15 around it"
    if "used" in answer:  # the world and the client are as they were before
        assert answer["stdin"]
        assert answer["works"]
        assert answer["used"] == answer["before"]


@pytest.mark.lg_feature("python")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (f"{SOUND} --input {FOLDER}/wrong-shape.npy", "float32[1, 1, 28, 28]"),
        (f"{SOUND} --input {FOLDER}/wrong-type.npy", "astype(numpy.float32)"),
        (f"{SOUND} --input {FOLDER}/text.npy", "numpy.save"),
        (f"{SOUND} --input {FOLDER}/missing.npy", "missing.npy"),
        (f"{SOUND} --input other={FOLDER}/sample.npy", "the model has no input other"),
        (f"{FOLDER}/half.tzm --input {FOLDER}/sample.npy", "copy or compile the bundle again"),
        (f"{FOLDER}/too-large.tzm --input {FOLDER}/sample.npy", "MiB of secure memory"),
    ],
    ids=["shape", "type", "no-array", "no-file", "name", "truncated", "too-large"],
)
def test_tzml_run_says_one_line(
    files: dict[str, bad_bundles.BadBundle], command: Commands, arguments: str, says: str
) -> None:
    out, error, status = command.run(f"tzml run {arguments}", timeout=scaled(60))
    assert status == 2
    (line,) = [*out, *error]
    assert line.startswith("tzml: ")
    assert says in line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (f"{SOUND} {FOLDER}/short.bin {FOLDER}/out", "only 3135 bytes; the model takes 3136"),
        (f"{FOLDER}/half.tzm {FOLDER}/sample.bin {FOLDER}/out", "copy or compile the bundle again"),
        (f"-w ree {FOLDER}/real-kernel-missing.tzm {FOLDER}/sample.bin {FOLDER}/out", "compile the model again"),
    ],
    ids=["input", "truncated", "kernel"],
)
def test_tzml_run_in_c_says_one_line(
    files: dict[str, bad_bundles.BadBundle], command: Commands, arguments: str, says: str
) -> None:
    out, error, status = command.run(f"tzml-run {arguments}", timeout=scaled(60))
    assert status == 1
    (line,) = [*out, *error]
    assert line.startswith("tzml-run: ")
    assert says in line


def test_hostile_normal_world(
    files: dict[str, bad_bundles.BadBundle], command: Commands, target: Target, record_property: RecordProperty
) -> None:
    """Messages to the TA that no library of ours would send."""
    versions = (
        f"{FOLDER}/newer.tzm {FOLDER}/older.tzm {FOLDER}/twin.tzm"
        if signing_key(image_of(target.env.config))
        else ""
    )
    out, error, status = command.run(f"tzml-ta-test {SOUND} {FOLDER}/sample.bin {versions}", timeout=scaled(120))
    *checks, plan = out or [""]
    record_property("checks", len(checks))
    assert [line for line in checks if not line.startswith("ok ")] == []
    assert plan == f"1..{len(checks)}", error
    assert len(checks) > 1
    assert status == 0


@pytest.mark.lg_feature("python")
def test_what_is_installed_changes_nothing(files: dict[str, bad_bundles.BadBundle], command: Commands) -> None:
    """A foreign signature is refused where the library is not installed, and where it is."""
    run = f"tzml-run {FOLDER}/{{}}.tzm {FOLDER}/sample.bin {FOLDER}/out"
    command.run_check("tzml libraries remove --all", timeout=scaled(60))
    assert command.run_check("tzml libraries list", timeout=scaled(60)) == ["no kernel library is installed"]
    foreign = [name for name in files if name.startswith("installed-")]
    assert len(foreign) == 4
    before = [command.run(run.format(name), timeout=scaled(60)) for name in foreign]
    command.run_check(run.format("sound"), timeout=scaled(60))
    after = [command.run(run.format(name), timeout=scaled(60)) for name in foreign]
    assert before == after
    assert [status for _, _, status in after] == [1] * len(foreign)


@pytest.mark.lg_feature("python")
def test_installed_libraries_are_listed_and_removed(
    files: dict[str, bad_bundles.BadBundle], command: Commands
) -> None:
    run = f"tzml-run {FOLDER}/sound.tzm {FOLDER}/sample.bin {FOLDER}/out"
    command.run_check("tzml libraries remove --all", timeout=scaled(60))
    command.run_check(run, timeout=scaled(60))
    (listed,) = json.loads("".join(command.run_check("tzml libraries list --json", timeout=scaled(60))))
    uuid = str(digest_uuid(decode(files["too-large"].data).program.kernels_digest))
    assert (listed["uuid"], listed["version"]) == (uuid, 0)
    assert command.run_check("tzml-run --list-libraries") == [f"{uuid} 0 {listed['size']}"]
    command.run_check(f"tzml-run --remove-library {uuid}")
    assert command.run_check("tzml-run --list-libraries") == []
    for again in (f"tzml-run --remove-library {uuid}", f"tzml libraries remove {uuid}"):
        out, error, status = command.run(again, timeout=scaled(60))
        (line,) = [*out, *error]
        assert status
        assert f"no such kernel library is installed: {uuid}" in line
    command.run_check(run, timeout=scaled(60))


STORAGE = "/var/lib/optee-client/data/tee"
SAVED = f"{FOLDER}/storage"


@pytest.mark.lg_feature("python")
@pytest.mark.parametrize(
    ("damage", "says"),
    [
        pytest.param(f"rm -rf {STORAGE}/*", "", id="emptied"),
        pytest.param(f"rm {STORAGE}/*.ta", "", id="libraries-gone", marks=pytest.mark.full),
        pytest.param(
            f"for f in {STORAGE}/*.ta; do truncate -s 4096 $f; done",
            "",
            id="libraries-damaged",
            marks=pytest.mark.full,
        ),
        pytest.param(f"rm {STORAGE}/[0-9]", "secure storage is damaged", id="objects-gone"),
    ],
)
def test_damaged_storage_is_made_anew_or_has_a_status_of_its_own(
    files: dict[str, bad_bundles.BadBundle], command: Commands, damage: str, says: str
) -> None:
    run = f"tzml run {SOUND} --input {FOLDER}/sample.npy --world tee --json"
    sound = f"tzml-run {SOUND} {FOLDER}/sample.bin {FOLDER}/out"
    command.run_check(sound, timeout=scaled(60))
    command.run_check(f"rm -rf {SAVED} && cp -a {STORAGE} {SAVED} && ({damage})")
    out, error, status = command.run(run, timeout=scaled(60))
    command.run_check(f"rm -rf {STORAGE}/* && cp -a {SAVED}/* {STORAGE}")
    if says:
        (line,) = [*out, *error]
        assert (status, says in line) == (2, True), line
    else:  # OP-TEE may have ended a first TA: what that one took is not counted
        assert status == 0, error
        memory, promise = json.loads("".join(out))["memory"], promised(command, SOUND)
        assert memory["mapped_peak"] == promise["mapped_memory"]
        assert memory["secure_peak"] <= promise["secure_memory"]
    command.run_check(sound, timeout=scaled(60))


@pytest.mark.lg_feature("python")
def test_a_first_run_on_a_full_disk_says_so(files: dict[str, bad_bundles.BadBundle], command: Commands) -> None:
    run = f"tzml run {SOUND} --input {FOLDER}/sample.npy --world tee"
    command.run_check(f"rm -rf {STORAGE}/*")
    with full_disk(command):
        out, error, status = command.run(run, timeout=scaled(60))
    (line,) = [*out, *error]
    assert (status, "cannot write its secure storage" in line) == (2, True), line
    command.run_check(f"tzml-run {SOUND} {FOLDER}/sample.bin {FOLDER}/out", timeout=scaled(60))


def test_storage_that_a_power_cut_left_empty(files: dict[str, bad_bundles.BadBundle], command: Commands) -> None:
    """OP-TEE removes the file, but refuses a session first."""
    command.run_check("truncate -s 0 /var/lib/optee-client/data/tee/dirf.db")
    command.run_check(f"tzml-run {SOUND} {FOLDER}/sample.bin {FOLDER}/out", timeout=scaled(60))
