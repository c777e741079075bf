from __future__ import annotations

import json
import os
import pty
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from tzml.cli import tzml
from tzml.errors import TzmlError
from tzml_lab.doctor import Check
from tzml_lab.doctor.devices import check_resource, matches
from tzml_lab.doctor.environment import check_environment
from tzml_lab.doctor.host import GIB, check_host


def environment(folder: Path, resource: str = "{}", variables: str = "{}") -> Path:
    path = folder / "board.yaml"
    path.write_text(
        f"targets:\n  main:\n    resources: {resource}\n    drivers: {{}}\npaths: {{deploy: image}}\n"
        f"options:\n  variables: {variables}\n"
    )
    return path


def by_name(checks: Iterator[Check]) -> dict[str, Check]:
    return {check.what: check for check in checks}


def test_a_missing_package_comes_with_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("dpkg-query", "apt-cache"):  # nothing is installed
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    packages = by_name(check_host(tmp_path))["Debian packages"]
    assert not packages.ok
    assert " qemu-system-arm " in packages.found
    command = "sudo apt-get install --no-install-recommends "
    assert packages.remedy.startswith(command)
    assert {"bison", "qemu-system-arm"} <= set(packages.remedy.removeprefix(command).split())


def test_a_full_disk_is_seen_before_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1.5 * GIB))
    space = by_name(check_host(tmp_path))["disk space for results"]
    assert not space.ok
    assert space.found == f"1.5 GiB free in {tmp_path}, 2 wanted"


def test_a_variable_that_is_not_set_comes_with_its_meaning(tmp_path: Path) -> None:
    variables = "{LG_TEST_TTY: {meaning: serial number of the adapter}}"
    path = environment(tmp_path, "[RawSerialPort: {port: !template $LG_TEST_TTY}]", variables)
    [check] = check_environment(path)
    assert (check.ok, check.found) == (False, "not set")
    assert check.remedy == "export LG_TEST_TTY=…  # serial number of the adapter"


def test_a_variable_with_a_default_need_not_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LG_TEST_TTY", "")  # so that it is restored
    monkeypatch.delenv("LG_TEST_TTY")
    variables = "{LG_TEST_TTY: {meaning: x, default: /dev/null}}"
    path = environment(tmp_path, "[RawSerialPort: {port: !template $LG_TEST_TTY}]", variables)
    assert by_name(check_environment(path))["serial port /dev/null"].ok


def test_no_image_comes_with_the_build_command(tmp_path: Path) -> None:
    image = by_name(check_environment(environment(tmp_path)))["image"]
    assert (image.ok, image.remedy) == (False, "kas build kas/image.yml")


def test_a_partition_without_its_file_is_seen(deploy: Path, tmp_path: Path) -> None:
    path = tmp_path / "board.yaml"
    path.write_text(
        "targets:\n  main:\n    resources: {}\n    drivers:\n"
        "      AndroidFastbootDriver: {flash_images: {boot: kernel, loader: loader}}\n"
        f"paths: {{deploy: {deploy}}}\n"
    )
    checks = by_name(check_environment(path))
    assert checks["image"].ok
    assert "file for boot" not in checks
    assert checks["file for loader"].found == f"the image in {deploy} has no loader"


def test_serial_port(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    try:
        port = {"port": os.ttyname(slave)}
        [there] = check_resource("RawSerialPort", port, {})
        assert there.ok
        monkeypatch.setattr(os, "access", lambda *_: False)  # root may do all
        [forbidden] = check_resource("RawSerialPort", port, {})
        assert (forbidden.ok, forbidden.found) == (False, "no permission")
        assert forbidden.remedy.startswith("sudo usermod -aG dialout ")
    finally:
        os.close(master)
        os.close(slave)
    [gone] = check_resource("RawSerialPort", port, {})
    assert (gone.ok, gone.found) == (False, "not there")


def test_usb_devices_that_are_not_connected() -> None:
    wanted = {"match": {"ID_SERIAL_SHORT": "none-has-this"}}
    [serial] = check_resource("USBSerialPort", wanted, {})
    assert (serial.ok, serial.found) == (False, "no tty device with ID_SERIAL_SHORT=none-has-this")
    assert "labgrid-suggest" in serial.remedy
    *_, fastboot = check_resource("AndroidUSBFastboot", wanted, {})
    assert (fastboot.ok, fastboot.needed) == (False, False)  # it is off: the lab switches it on


def test_properties_are_matched_as_labgrid_does() -> None:
    parent = SimpleNamespace(properties={"ID_SERIAL_SHORT": "42"})
    device = SimpleNamespace(properties={"ID_PATH": "usb-1"}, ancestors=[parent])
    assert matches(device, {"ID_PATH": "usb-1", "@ID_SERIAL_SHORT": "42"})
    assert not matches(device, {"ID_SERIAL_SHORT": "42"})
    assert not matches(device, {"ID_PATH": "usb-1", "@ID_SERIAL_SHORT": "43"})


def test_power_switch_that_does_not_answer() -> None:
    model, switch = check_resource("NetworkPowerPort", {"model": "simplerest", "host": "http://127.0.0.1:9/x"}, {})
    assert model.ok
    assert not switch.ok
    assert "127.0.0.1:9 does not answer" in switch.found
    model, switch = check_resource("NetworkPowerPort", {"model": "toaster", "host": "localhost"}, {})
    assert switch.ok
    assert (model.ok, model.found) == (False, "unknown to labgrid")


def test_a_coordinator_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LG_COORDINATOR", "127.0.0.1:9")
    [check] = check_resource("RemotePlace", {"name": "pi-1"}, {})
    assert not check.ok
    assert check.remedy == "start labgrid-coordinator there, or export LG_COORDINATOR=host:port"


def test_exit_code_and_json(tmp_path: Path) -> None:
    path = environment(tmp_path)
    found = CliRunner().invoke(tzml, ["lab", "doctor", str(path), "--json"])
    assert found.exit_code == 1
    assert {"what", "ok", "found", "remedy", "needed"} == set(json.loads(found.output)[0])
    text = CliRunner().invoke(tzml, ["lab", "doctor", str(path)])
    assert "missing image: there is no image in " in text.output
    assert text.output.endswith(": not ready\n")


def test_an_environment_that_does_not_exist() -> None:
    found = CliRunner().invoke(tzml, ["lab", "doctor", "toaster"])
    assert isinstance(found.exception, TzmlError)
    assert "there is no environment toaster" in str(found.exception)
