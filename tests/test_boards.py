"""Board descriptors: read with care, and equal to what is said of a board where they cannot be read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from programs import run_module

from tzml.boards import FOLDER, Board, boards, find_board, memory_warning, read_board
from tzml.errors import TzmlError
from tzml_lab import environment as environments
from tzml_lab.consoles.boot_progress import STAGES
from tzml_lab.environment import EnvironmentFile

BOARDS = pytest.mark.parametrize("board", boards().values(), ids=boards())
REAL = pytest.mark.parametrize(
    "board", [board for board in boards().values() if board.flashing], ids=lambda board: board.name
)


def test_there_are_boards() -> None:
    assert {"qemu", "rpi3", "hikey"} <= set(boards())


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('title = "HiKey"\n', "", "title: Field required"),
        ('title = "HiKey"\n', 'title = "HiKey"\nheight = 3\n', "height: Extra inputs are not permitted"),
        ('"fastboot"', '"floppy"', "flashing: Input should be 'sd-card' or 'fastboot'"),
        ("size = 17_408", "size = 0", "partitions.0.size: Input should be greater than 0"),
        (
            "protected = false",
            "protected = true",
            "secure_memory: .*a warning is for machines with protected = false",
        ),
        ("[standin]", "[standin", "Expected"),
    ],
)
def test_a_wrong_descriptor_is_refused_by_file_and_field(
    tmp_path: Path, before: str, after: str, says: str
) -> None:
    text = (FOLDER / "hikey.toml").read_text()
    assert before in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(TzmlError, match=rf"mine\.toml: {says}.*; see docs/extending\.md"):
        read_board(path)


def test_an_unknown_board_is_answered_with_the_known_ones() -> None:
    with pytest.raises(TzmlError, match=r"no board toaster; known: .*qemu"):
        find_board("toaster")


def test_what_is_not_known_to_be_protected_is_warned_of() -> None:
    assert memory_warning("qemu", protected=True) == ""
    assert memory_warning("rpi3", protected=True) == ""  # what the image says counts
    assert "Raspberry Pi 3" in memory_warning("rpi3", protected=False)
    assert memory_warning("qemu", protected=False).startswith("On qemu nothing is known to protect")
    # results of runs that did not record it
    assert memory_warning("qemu", protected=None) == ""
    assert "Raspberry Pi 3" in memory_warning("rpi3", protected=None)
    assert memory_warning("toaster", protected=None).startswith("On toaster nothing is known to protect")


# -- The places that cannot read a descriptor ------------------------------------------------------------------


@BOARDS
def test_its_stages_are_known_and_in_the_order_of_a_boot(board: Board) -> None:
    order = [stage.name for stage in STAGES if stage.name in board.boot_stages]
    assert list(board.boot_stages) == order


@BOARDS
def test_it_has_a_manifest(board: Board) -> None:
    assert yaml.safe_load((ROOT / "kas" / f"{board.name}.yml").read_text())["machine"] == board.name


@BOARDS
def test_it_can_be_chosen_and_locked(board: Board) -> None:
    assert f'default "kas/{board.name}.yml" if MACHINE_{board.name.upper()}\n' in (ROOT / "Kconfig").read_text()
    [machines] = re.findall(r"^MACHINES := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert board.name in machines.split()


@BOARDS
def test_the_builds_machine_has_the_same_protection(board: Board) -> None:
    text = (ROOT / "meta-tzml-debian/conf/machine" / f"{board.name}.conf").read_text()
    assert re.findall(r'^SECURE_MEMORY_PROTECTED = "(.)"$', text, re.MULTILINE) == [
        str(int(board.secure_memory.protected))
    ]


def test_no_machine_and_no_manifest_is_without_a_descriptor() -> None:
    assert {path.stem for path in (ROOT / "kas").glob("*.yml")} == set(boards())
    assert {path.stem for path in (ROOT / "meta-tzml-debian/conf/machine").glob("*.conf")} == set(boards())


@pytest.mark.parametrize("recipe", ["optee-os/optee-os.inc", "trusted-firmware-a/trusted-firmware-a.inc"])
def test_firmware_is_built_for_all_boards(recipe: str) -> None:
    (path,) = (ROOT / "meta-tzml-debian").glob(f"recipes-*/{recipe}")
    (machines,) = re.findall(r'^COMPATIBLE_MACHINE = "(.*)"$', path.read_text(), re.MULTILINE)
    assert set(machines.split("|")) == set(boards())


def file_of(name: str) -> EnvironmentFile:
    return EnvironmentFile.read(environments.find(name))


def drivers(name: str) -> dict[str, Any]:
    found = file_of(name).data["targets"]["main"]["drivers"]
    return {driver: arguments or {} for entry in found for driver, arguments in entry.items()}


@BOARDS
def test_its_environments_boot_its_image(board: Board) -> None:
    mine = [name for name in environments.names() if name.partition("-")[0] == board.name]
    assert mine
    for name in mine:
        assert file_of(name).images[0] == board.name
    if board.emulation:
        assert board.emulation.environment in mine
        assert "emulator" in file_of(board.emulation.environment).data["targets"]["main"]["features"]
    assert set(board.ci.merge) | set(board.ci.nightly) <= set(mine)


@REAL
def test_a_real_board_can_be_on_the_desk_in_a_shared_lab_and_stood_in_for(board: Board) -> None:
    standin = file_of(f"{board.name}-standin").standin
    assert standin is board
    assert file_of(f"{board.name}-remote").options.place == {"board": board.name}
    for name in (board.name, f"{board.name}-remote", f"{board.name}-standin"):
        features = file_of(name).data["targets"]["main"]["features"]
        assert {"sd-card": "sdmux", "fastboot": "fastboot"}[str(board.flashing)] in features


@REAL
def test_what_is_written_to_its_partitions_and_in_which_order(board: Board) -> None:
    expected = [(partition.name, partition.file) for partition in board.partitions if partition.file]
    for name in (board.name, f"{board.name}-remote", f"{board.name}-standin"):
        written = drivers(name).get("AndroidFastbootDriver", {}).get("flash_images", {})
        assert list(written.items()) == expected


def listed(what: str) -> set[str]:
    """What all boards have of `what` in their part [ci]."""
    return {name for board in boards().values() for name in getattr(board.ci, what)}


def places() -> set[str]:
    return {board.name for board in boards().values() if board.ci.place}


def merged(scripts: list[str]) -> set[str]:
    """The environments that these commands of CI test."""
    return {found[1] for line in scripts if (found := re.fullmatch(r"ci/lab\.sh (\w\S*)", line))}


def test_github_tests_what_the_descriptors_say() -> None:
    nightly = yaml.safe_load((ROOT / ".github/workflows/nightly.yml").read_text())["jobs"]
    assert set(nightly["hosted"]["strategy"]["matrix"]["environment"]) == listed("nightly")
    assert set(nightly["boards"]["strategy"]["matrix"]["board"]) == places()
    merge = yaml.safe_load((ROOT / ".github/workflows/merge.yml").read_text())["jobs"]
    scripts = [step.get("run", "") for job in merge.values() for step in job["steps"]]
    assert merged(scripts) == listed("merge")


def test_gitlab_tests_what_the_descriptors_say() -> None:
    jobs = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())
    assert set(jobs["nightly"]["parallel"]["matrix"][0]["ENVIRONMENT"]) == listed("nightly")
    assert set(jobs["boards"]["parallel"]["matrix"][0]["BOARD"]) == places()
    scripts = [line for job in jobs.values() if isinstance(job, dict) for line in job.get("script", ())]
    assert merged(scripts) == listed("merge")


def test_the_nights_script_asks_for_the_same() -> None:
    done = run_module("tzml", "lab", "environments", "--nightly")
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == listed("nightly")


def test_make_tests_what_ci_tests() -> None:
    text = (ROOT / "Makefile").read_text()
    assert set(re.findall(r"--lg-env (\S+)\.yaml", text)) == listed("nightly")
    (images,) = re.findall(r"^test-boards: (.*)$", text, re.MULTILINE)
    made = {name.removeprefix("image-") for name in images.split()} - {"image"}
    assert made == {board.name for board in boards().values() if board.flashing}


@BOARDS
def test_the_reference_of_image_json_names_it(board: Board) -> None:
    (row,) = re.findall(r"^\| `machine` \|(.*)$", (ROOT / "docs/image.md").read_text(), re.MULTILINE)
    assert f"`{board.name}`" in row
