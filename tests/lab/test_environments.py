from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from labgrid import Environment
from programs import run_module

from tzml.boards import boards
from tzml.errors import TzmlError
from tzml_lab import environment as environments
from tzml_lab.environment import FOLDER, ROOT, EnvironmentFile
from tzml_lab.failures import FailureClass

# remote environments need a coordinator, which tells them what the others have in their files
REMOTE = {f"{name}-remote": f"{name}-standin" for name, board in boards().items() if board.standin}
NAMES = [name for name in environments.names() if name not in REMOTE]


@pytest.mark.parametrize("name", NAMES)
def test_every_environment_binds(deploy: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environments.set_variables()
    for variable in EnvironmentFile.read(environments.find(name)).used_variables:
        monkeypatch.setenv(variable, os.environ.get(variable, "1"))
    monkeypatch.setenv("LG_RPI3_POWER_MODEL", "netio")
    monkeypatch.setenv("LG_HIKEY_POWER_MODEL", "shelly_gen2")
    environment = Environment(str(environments.find(name)))
    target = environment.get_target()
    strategy = target.get_driver("TrustZoneStrategy", activate=False)
    assert strategy.console is target.get_driver("ConsoleProtocol", activate=False)
    assert strategy.power is target.get_driver("PowerProtocol", activate=False)
    assert all(driver.target is target for driver in target.drivers)


@pytest.mark.parametrize(("remote", "standin"), REMOTE.items())
def test_shared_boards_have_the_drivers_of_those_on_the_desk(remote: str, standin: str) -> None:
    desk = remote.replace("-remote", "")
    files = {name: EnvironmentFile.read(environments.find(name)) for name in (remote, standin, desk)}
    drivers = {
        name: {driver for entry in file.data["targets"]["main"]["drivers"] for driver in entry}
        for name, file in files.items()
    }
    assert drivers[remote] == drivers[standin] == drivers[desk]


@pytest.mark.parametrize("name", ["rpi3", "hikey"])
def test_a_board_on_the_desk_says_what_it_needs(name: str) -> None:
    line = one_line(lab("--lg-env", name))
    for what in ("TTY", "POWER"):
        assert re.search(rf"LG_{name.upper()}_{what}, .+; ", line)
    assert "labgrid-suggest" in line


@pytest.mark.parametrize("name", ["qemu", "qemu.yaml", str(FOLDER / "qemu.yaml")])
def test_names_lead_to_files(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert environments.find(name) == FOLDER / "qemu.yaml"


def test_a_file_of_ones_own_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "qemu.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert environments.find("qemu.yaml") == tmp_path / "qemu.yaml"


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(TzmlError, match=r"no environment nope; give a file, or one of .*qemu"):
        environments.find("nope")


@pytest.mark.parametrize("text", ["targets: [", "", "targets: {main: {drivers: !template $LG_UNSET}}"])
def test_damaged_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "damaged.yaml"
    path.write_text(text)
    with pytest.raises(TzmlError, match=r"damaged\.yaml"):
        EnvironmentFile.read(path).check_syntax()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("{variables: {LG_X: a word}}", r"options\.variables\.LG_X: Input should be a valid dictionary"),
        ("{variables: {LG_X: {default: '1'}}}", r"options\.variables\.LG_X\.meaning: Field required"),
        ("{variables: {LG_X: {meaning: x, defualt: '1'}}}", r"options\.variables\.LG_X\.defualt: Extra inputs"),
        ("{standin: rpi3}", r"options\.standin: Input should be a valid dictionary"),
        ("{place: [rpi3]}", r"options\.place: Input should be a valid dictionary"),
    ],
)
def test_options_that_the_lab_cannot_read(tmp_path: Path, options: str, says: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"targets: {{}}\noptions: {options}\n")
    with pytest.raises(TzmlError, match=rf"mine\.yaml: {says}.*; see lab/env for examples"):
        EnvironmentFile.read(path)


def test_a_board_that_nothing_stands_in_for(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("targets: {}\noptions: {standin: {board: qemu}}\n")
    with pytest.raises(TzmlError, match="nothing stands in for the board qemu"):
        assert EnvironmentFile.read(path).standin


def test_a_file_of_ones_own_says_which_image_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("targets: {}\npaths: {deploy: !template '${LG_DEPLOY}/qemu'}\n")
    assert EnvironmentFile.read(path).images == ["qemu"]
    path.write_text("targets: {}\npaths: {deploy: !template $LG_DEPLOY}\n")
    with pytest.raises(TzmlError, match=r"mine\.yaml: paths\.deploy does not end with a machine's name"):
        assert EnvironmentFile.read(path).images


@pytest.mark.parametrize("name", environments.names())
def test_every_variable_that_a_person_must_set_is_explained(name: str) -> None:
    file = EnvironmentFile.read(environments.find(name))
    lab_sets = {"LG_DEPLOY", "LG_STANDIN", "LG_STANDIN_ADDRESS"}
    assert set(file.used_variables) - lab_sets <= set(file.options.variables)


DRIVER = "TrustZoneQEMUDriver"


@pytest.mark.parametrize("option", [{"disk": "rootfs"}, {"nic": "user"}, {"boot_args": "quiet"}], ids=str)
def test_what_image_json_decides_is_no_option(deploy: Path, tmp_path: Path, option: dict[str, str]) -> None:
    data = EnvironmentFile.read(FOLDER / "qemu.yaml").data
    data["paths"]["deploy"] = str(deploy)
    (arguments,) = [entry[DRIVER] for entry in data["targets"]["main"]["drivers"] if DRIVER in entry]
    del arguments["rootdisk"]
    arguments.update(option)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(data))))
    with pytest.raises(Exception, match="TrustZoneQEMUDriver takes rootdisk"):
        Environment(str(tmp_path / "mine.yaml")).get_target()


def lab(*arguments: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on the lab as a user does."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LG_")}
    # that is about the process that this one is a fork of
    options = ("-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning", *arguments)
    return run_module("pytest", ROOT / "lab", *options, cwd=cwd, env=environment | variables)


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    """The only thing that a usage error prints."""
    assert result.returncode == pytest.ExitCode.USAGE_ERROR, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    (line,) = result.stderr.split("\n\n")[0].splitlines()
    assert line.startswith("ERROR: ")
    return line


def build_failure(result: subprocess.CompletedProcess[str]) -> str:
    """The message about an image that is missing or damaged."""
    said = result.stdout + result.stderr
    assert result.returncode == FailureClass.build.value, said
    assert "Traceback" not in said
    return next(line for line in said.splitlines() if "build failure: " in line)


def test_unknown_environment() -> None:
    assert re.search(
        r"no environment rpi9\.yaml; give a file, or one of .*qemu", one_line(lab("--lg-env", "rpi9.yaml"))
    )


def test_unknown_environment_in_the_variable() -> None:
    assert "no environment rpi9" in one_line(lab(LG_ENV="rpi9"))


def test_missing_image(tmp_path: Path) -> None:
    results = tmp_path / "results"
    line = build_failure(lab("--lg-env", "qemu.yaml", "--results", str(results), LG_DEPLOY=str(tmp_path)))
    assert f"there is no image in {tmp_path}/qemu; build it: kas build kas/qemu.yml" in line
    assert not results.exists()


def test_damaged_image(deploy: Path, edit: Callable[..., None]) -> None:
    (deploy / "Image").write_bytes(b"damaged")
    assert "Image is not what was built" in build_failure(lab("--lg-env", "qemu", LG_DEPLOY=str(deploy.parent)))


def test_qemu_is_not_installed(deploy: Path, edit: Callable[..., None]) -> None:
    edit(emulator={**environments_emulator(deploy), "program": "qemu-system-nowhere"})
    line = one_line(lab("--lg-env", "qemu", LG_DEPLOY=str(deploy.parent)))
    assert "qemu-system-nowhere is not installed; sudo apt-get install qemu-system-arm" in line


def environments_emulator(deploy: Path) -> dict[str, object]:
    from tzml.image import load_image

    emulator = load_image(deploy).description.emulator
    assert emulator
    return {**emulator.model_dump(), "disk_format": "raw"}


def test_results_that_cannot_be_written(deploy: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    arguments = ("--lg-env", "qemu", "--results", str(tmp_path / "file" / "results"))
    assert "cannot write results to" in one_line(lab(*arguments, LG_DEPLOY=str(deploy.parent)))


def test_bad_time_scale() -> None:
    assert "LG_TIME_SCALE is 'soon'" in one_line(lab("--lg-env", "qemu", LG_TIME_SCALE="soon"))


def test_without_environment_everything_is_skipped(tmp_path: Path) -> None:
    result = lab("-q", "-rN", cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert re.search(r"^\d+ skipped, \d+ deselected in", result.stdout, re.MULTILINE)
    assert not (tmp_path / "results").exists()


def test_collecting_leaves_nothing_behind(deploy: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    arguments = ("--lg-env", "qemu.yaml", "--results", str(results), "--collect-only", "-q")
    result = lab(*arguments, cwd=tmp_path, LG_DEPLOY=str(deploy.parent))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "test_xtest.py::test_case[regression_1001]" in result.stdout
    assert not results.exists()
