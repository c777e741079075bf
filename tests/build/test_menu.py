"""What is chosen in `kas menu` is what is built. The real kas writes the manifest, without its windows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = pytest.mark.image

# What kas does after its windows are closed: set the symbols, save.
SAVE = """
import json, sys
from kconfiglib import Kconfig
from kas.plugins.menu import Menu
kconfig, target, root, choices = sys.argv[1:]
menu = Menu()
menu.orig_config = {}
menu.kconf = Kconfig(kconfig, warn_to_stderr=False)
for name, value in json.loads(choices).items():
    assert menu.kconf.syms[name].set_value(value), name
menu.save_config(target, root)
assert menu.kconf.warnings == [], menu.kconf.warnings
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the module that tools/menu installs."""
    folder = tmp_path_factory.mktemp("kconfiglib")
    [line] = [line for line in (ROOT / "tools/menu").read_text().splitlines() if "--hash=" in line]
    requirement = folder / "requirement.txt"
    requirement.write_text(line.split('"')[1])
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    subprocess.run([*command, f"--target={folder}", f"--requirement={requirement}"], check=True)
    return folder


def configuration(library: Path, work: Path, choices: dict[str, str]) -> str:
    """BitBake's configuration of the image that was chosen."""
    environment = {**os.environ, "KAS_WORK_DIR": str(work), "PYTHONPATH": str(library)}
    arguments = [str(ROOT / "Kconfig"), str(work / ".config.yaml"), str(ROOT), json.dumps(choices)]
    subprocess.run([sys.executable, "-c", SAVE, *arguments], env=environment, check=True)
    show = " && ".join(f"bitbake -e {recipe}" for recipe in ("tzml-image", "tzml-models", "optee-os"))
    done = subprocess.run(
        [ROOT / ".venv/bin/kas", "shell", "-c", show], cwd=work, env=environment, text=True, timeout=300,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def test_what_is_preselected_is_the_manifests_image(library: Path, tmp_path: Path) -> None:
    said = configuration(library, tmp_path, {})
    assert '\nMACHINE="qemu"\n' in said
    assert '\nTZML_NETWORKS="digits.onnx digits_int8.tflite"\n' in said
    assert "CFG_TEE_CORE_LOG_LEVEL=2 " in said
    [installed] = [line for line in said.splitlines() if line.startswith("IMAGE_INSTALL=")]
    assert "optee-test" in installed


def test_every_choice_counts(library: Path, tmp_path: Path) -> None:
    choices = {"MACHINE_RPI3": "y", "NETWORK_DIGITS": "n", "XTEST": "n", "OPTEE_LOG_LEVEL": "3"}
    said = configuration(library, tmp_path, choices)
    assert '\nMACHINE="rpi3"\n' in said
    assert '\nTZML_NETWORKS="digits_int8.tflite"\n' in said
    assert "CFG_TEE_CORE_LOG_LEVEL=3 " in said
    [installed] = [line for line in said.splitlines() if line.startswith("IMAGE_INSTALL=")]
    assert "optee-test" not in installed
    [components] = [line for line in said.splitlines() if line.startswith("IMAGE_COMPONENTS=")]
    assert "optee-test" not in components


def test_a_release_is_chosen_with_all_that_it_refuses(library: Path, tmp_path: Path) -> None:
    said = configuration(library, tmp_path, {"RELEASE": "y", "NETWORK_DIGITS_INT8": "n"})
    assert '\nTZML_RELEASE="1"\n' in said
    assert '\nTZML_NETWORKS="digits.onnx"\n' in said
    assert '\nOPTEE_COUNTER="secure-flash"\n' in said
    assert "CFG_TEE_CORE_LOG_LEVEL=0 " in said
    [installed] = [line for line in said.splitlines() if line.startswith("IMAGE_INSTALL=")]
    assert "optee-test" not in installed


def test_storage_is_counted_if_that_is_chosen(library: Path, tmp_path: Path) -> None:
    assert '\nOPTEE_COUNTER="secure-flash"\n' in configuration(library, tmp_path, {"STORAGE_COUNTER": "y"})
