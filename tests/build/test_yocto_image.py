"""What a Yocto build writes for the lab, without a Yocto build: stand-ins, and the Debian feed's OP-TEE and TA."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import ROOT

from tzml.image import load_image

LIBRARY = ROOT / "meta-tzml/lib"
DEPLOY = ROOT / "build/deploy/qemu"
TA = "bcfd5ae6-ea1e-4018-a5d9-7673b6e2e51f"
# as meta-arm's machine qemuarm64-secureboot has them
QEMU = {
    "QB_CPU": "-cpu cortex-a57",
    "QB_MACHINE": "-machine virt,secure=on,acpi=off",
    "QB_MEM": "-m 1024",
    "QB_NETWORK_DEVICE": "-device virtio-net-pci,netdev=net0,mac=@MAC@",
    "QB_SMP": "-smp 4",
    "QB_SYSTEM_NAME": "qemu-system-aarch64",
}


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, LIBRARY / f"{name}.py")
    assert spec
    assert spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def yocto_image() -> ModuleType:
    return module("yocto_image")


def test_a_manifest_is_a_list_of_packages(yocto_image: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "manifest"
    path.write_text("tzml-ta qemuarm64_secureboot 0.1\nbase-files qemuarm64_secureboot 3.0.14\n")
    assert yocto_image.packages(path) == [
        {"name": "base-files", "version": "3.0.14", "origin": "OE-core"},
        {"name": "tzml-ta", "version": "0.1", "origin": "OE-core"},
    ]
    path.write_text("tzml-ta 0.1\n")
    with pytest.raises(yocto_image.ImageJsonError, match="line 1: expected name, architecture and version"):
        yocto_image.packages(path)


def test_the_emulator_is_runqemus(yocto_image: ModuleType) -> None:
    found = yocto_image.emulator(QEMU)
    assert (found["machine"], found["cpus"], found["memory_mib"]) == ("virt,secure=on,acpi=off", 4, 1024)
    assert found["network_device"] == "virtio-net-pci"


@pytest.fixture
def facts(tmp_path: Path) -> dict[str, Any]:
    """What tzml-image-json.bbclass would write."""
    deploy = tmp_path / "images"
    (deploy / "trusted-firmware-a").mkdir(parents=True)
    files = {
        role: deploy / name for role, name in (("kernel", "Image"), ("rootfs", "tzml-image.ext4"), ("ssh-key", "k"))
    }
    for path in files.values():
        path.write_text(path.name)
    (deploy / "trusted-firmware-a/flash.bin").write_text("firmware")
    files["firmware"] = deploy / "flash.bin"
    files["firmware"].symlink_to("trusted-firmware-a/flash.bin")
    files["tee-elf"] = DEPLOY / "tee.elf"
    settings = json.loads((DEPLOY / "image.json").read_text())["optee_settings"]
    (tmp_path / "conf.mk").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    (tmp_path / "manifest").write_text("tzml-ta qemuarm64_secureboot 0.1\n")
    (tmp_path / "kernel-abiversion").write_text("6.18.2-yocto-standard\n")
    [ta] = (ROOT / "build/tmp/work/qemu").glob(f"tzml-ta/*/build/ta/{TA}.ta")
    return {
        **QEMU,
        "PN": "tzml-image",
        "SERIAL_CONSOLES": "115200;ttyAMA0 115200;hvc0",
        "TZML_TARGET": "qemu",
        "SECURE_MEMORY_PROTECTED": "1",
        "hostname": "tzml",
        "components": [{"name": "linux", "version": "6.18"}, {"name": "optee-os", "version": "4.9.0"}],
        "features": {"init": "systemd", "package_manager": None, "python": True, "ssh": True, "xtest": True},
        "files": {role: str(path) for role, path in files.items()},
        "kernel_release": str(tmp_path / "kernel-abiversion"),
        "manifest": str(tmp_path / "manifest"),
        "optee_settings": str(tmp_path / "conf.mk"),
        "ta": str(ta),
    }


@pytest.mark.image
def test_the_lab_takes_the_folder(facts: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    folder = tmp_path / "tzml/qemu"
    command: list[str | Path] = [sys.executable, LIBRARY / "yocto_image.py", tmp_path / "facts.json", folder]
    for _ in range(2):  # a second build replaces the first
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    image = load_image(folder)
    image.verify()
    assert image.path("firmware").read_text() == "firmware"
    assert (image.description.feed, image.description.kernel_release) == ("yocto", "6.18.2-yocto-standard")
    assert image.packages == {"tzml-ta": "0.1"}
    about, debian = (json.loads((path / "image.json").read_text()) for path in (folder, DEPLOY))
    # from the same OP-TEE and TA, the same follows
    for name in ("huk", "entropy", "measurements", "secure_memory", "shared_memory", "storage_counter"):
        assert about[name] == debian[name]


@pytest.mark.image
def test_nothing_half_made_is_an_image(facts: dict[str, Any], tmp_path: Path, yocto_image: ModuleType) -> None:
    folder = tmp_path / "tzml/qemu"
    yocto_image.write(facts, folder)
    Path(facts["files"]["rootfs"]).unlink()
    with pytest.raises(yocto_image.ImageJsonError, match="which should become the image's rootfs"):
        yocto_image.write(facts, folder)
    assert not (folder / "image.json").exists()


# -- testimage ------------------------------------------------------------------------------------------


def test_answers_of_a_device_are_compared(tmp_path: Path) -> None:
    answers = module("known_answers")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(LIBRARY / "known_answers.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert json.loads(run("write", str(tmp_path)).stdout) == list(answers.KNOWN)
    for name, model in answers.KNOWN.items():
        inputs = np.load(tmp_path / f"{name}.inputs.npy")
        assert len(inputs) == answers.SAMPLES
        np.save(tmp_path / f"{name}.tee.npy", model.reference[: len(inputs)])
    done = run("check", str(tmp_path), "tee")
    assert (done.returncode, done.stderr) == (0, "")
    first, *_ = answers.KNOWN
    good = np.load(tmp_path / f"{first}.tee.npy")
    for bad in (good + 1, good[:3], np.full_like(good, np.nan)):
        np.save(tmp_path / f"{first}.tee.npy", bad)
        done = run("check", str(tmp_path), "tee")
        assert done.returncode == 1
        assert done.stderr.startswith(f"{first} in tee: ")
