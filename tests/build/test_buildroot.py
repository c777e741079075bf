"""buildroot-external without Buildroot: symbols, packages' steps with the host's compiler, and what goes wrong.

`record_buildroot_symbols.py` records which symbols Buildroot has. `make test-full BUILDROOT=PATH` builds an image
with it, and boots that.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT

from .record_buildroot_symbols import used

EXTERNAL = ROOT / "buildroot-external"
PACKAGES = sorted(path.name for path in (EXTERNAL / "package").iterdir())


@pytest.fixture(scope="module")
def build() -> ModuleType:
    """The module that tools/buildroot runs."""
    spec = importlib.util.spec_from_file_location("buildroot_build", EXTERNAL / "scripts/build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_symbol_is_one_of_buildroots() -> None:
    recorded = set((ROOT / "tests/build/buildroot-symbols.txt").read_text().split("\n")[1:]) - {""}
    assert used() == recorded, "tests/build/record_buildroot_symbols.py makes the record anew"


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_is_whole(name: str) -> None:
    folder, prefix = EXTERNAL / "package" / name, name.upper().replace("-", "_")
    recipe = (folder / f"{name}.mk").read_text()
    assert recipe.rstrip().endswith("$(eval $(generic-package))")
    assert re.search(rf"^{prefix}_VERSION = \S", recipe, re.MULTILINE)
    assert re.search(rf"^{prefix}_SOURCE =$", recipe, re.MULTILINE), "nothing is downloaded"
    assert re.search(rf"^{prefix}_LICENSE = \S", recipe, re.MULTILINE)
    assert prefix in re.findall(r"^(\w+?)_[A-Z]+ ", recipe, re.MULTILINE)
    assert f"config BR2_PACKAGE_{prefix}\n" in (folder / "Config.in").read_text()
    assert f"/package/{name}/Config.in" in (EXTERNAL / "Config.in").read_text()


def tree_of(folder: Path, version: str) -> Path:
    folder.mkdir()
    (folder / "Makefile").write_text(f"export BR2_VERSION := {version}\n")
    return folder


def test_another_buildroot_is_refused(build: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(build.BuildError, match=r"is Buildroot 2025\.02\.3; this project knows 2026\.05"):
        build.check_buildroot(tree_of(tmp_path / "old", "2025.02.3"))
    with pytest.raises(build.BuildError, match="is no Buildroot"):
        build.check_buildroot(tmp_path)
    build.check_buildroot(tree_of(tmp_path / "new", "2026.05.9"))


def test_a_mistake_ends_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, EXTERNAL / "scripts/build.py", "qemu", "--buildroot", tmp_path]
    done = subprocess.run([*map(str, command), "--output", str(tmp_path / "out")], capture_output=True, text=True)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_half_made_folder_is_made_again(build: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "toolchain"
    folder.mkdir()
    (folder / "half").touch()
    assert not build.made_once(folder, "gcc 12")
    assert not folder.exists()
    folder.mkdir()
    build.mark_made(folder, "gcc 12")
    assert build.made_once(folder, "gcc 12")
    assert not build.made_once(folder, "gcc 14")


def test_every_override_has_a_reason(build: ModuleType) -> None:
    assert {"fakeroot", "patchelf"} <= set(build.OVERRIDES)
    assert all(len(reason) > 20 for reason in build.OVERRIDES.values())


# -- With what the image's build has downloaded ---------------------------------------------------------

# The part of Buildroot that the packages' steps use.
HARNESS = """
qstrip = $(strip $(subst ",,$(1)))
generic-package =
INSTALL = install
TARGET_MAKE_ENV = PATH=$(TOOLCHAIN)/bin:$(PATH)
TARGET_CROSS = $(TOOLCHAIN)/bin/aarch64-linux-gnu-
TARGET_CONFIGURE_OPTS = CC=$(TARGET_CROSS)gcc
include $(BR2_EXTERNAL_TZML_PATH)/external.mk
%.steps: DIR = $(OUT)/build/$*
define steps
$(1):
	mkdir -p $$(@D) $(TARGET_DIR)/usr/lib $(TARGET_DIR)/lib $(STAGING_DIR)/usr/lib
	$$($(2)_EXTRACT_CMDS)
	$$($(2)_BUILD_CMDS)
	$$($(2)_INSTALL_STAGING_CMDS)
	$$($(2)_INSTALL_TARGET_CMDS)
endef
"""


@pytest.mark.image
def test_the_packages_steps_work_with_the_toolchain_of_debians_packages(build: ModuleType, tmp_path: Path) -> None:
    downloads = build.Downloads()
    toolchain = build.make_toolchain(tmp_path, downloads)
    gcc = toolchain / "bin/aarch64-linux-gnu-gcc"
    said = subprocess.run([gcc, "-v"], check=True, capture_output=True, text=True).stderr
    assert f"--with-sysroot={toolchain}/sysroot " in said
    libc = subprocess.run([gcc, "-print-file-name=libc.a"], check=True, capture_output=True, text=True).stdout
    assert Path(libc.strip()).resolve() == toolchain / "sysroot/usr/lib/libc.a"
    client = build.unpack(tmp_path / "tee-client", downloads.packages("sid", "arm64", build.TEE_CLIENT))
    subprocess.run(["tar", "-C", tmp_path, "-xf", ROOT / "build/deploy/qemu/ta-dev-kit.tar.zst"], check=True)
    keys = Path(os.environ.get("TZML_KEYS") or Path.home() / ".local/share/tzml/keys")
    headers = toolchain / "sysroot/usr/include"
    for path in (client / "usr/include").glob("*.h"):
        (headers / path.name).write_bytes(path.read_bytes())
    for path in (client / "usr/lib/aarch64-linux-gnu").glob("libteec.so*"):
        (toolchain / "sysroot/usr/lib" / path.name).write_bytes(path.read_bytes())
    order = ("tzml-ta", "tzml-host", "tzml-test", "tzml-models")
    text = HARNESS
    for name in order:
        text += f"$(eval $(call steps,$(OUT)/build/{name}/done,{name.upper().replace('-', '_')}))\n"
    (tmp_path / "Makefile").write_text(text)
    values = {
        "BR2_EXTERNAL_TZML_PATH": EXTERNAL,
        "BR2_PACKAGE_TZML_MODELS_NETWORKS": "digits.onnx",
        "BR2_TZML_PYTHON": sys.executable,
        "BR2_TZML_TARGET": "qemu",
        "BR2_TZML_TA_DEV_KIT": tmp_path / "export-user_ta",
        "BR2_TZML_TA_SIGN_KEY": keys / "ta-signing.pem",
        "OUT": tmp_path,
        "STAGING_DIR": tmp_path / "staging",
        "TARGET_DIR": tmp_path / "target",
        "TOOLCHAIN": toolchain,
    }
    goals = [f"{tmp_path}/build/{name}/done" for name in order]
    command = ["make", "-C", str(tmp_path), *(f"{name}={value}" for name, value in values.items()), *goals]
    environment = {name: value for name, value in os.environ.items() if not name.endswith("FLAGS")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    target = tmp_path / "target"
    [ta] = (target / "lib/optee_armtz").iterdir()
    assert ta.read_bytes()[:4] == b"HSTO"
    assert (target / "usr/share/tzml/models/digits.tzm").exists()
    needed = subprocess.run(
        ["objdump", "-p", target / "usr/lib/libtzml.so.1"], check=True, capture_output=True, text=True
    ).stdout
    assert "libteec.so.2" in needed
    assert "libcrypto" not in needed
    assert {path.name for path in (target / "usr/bin").iterdir()} == {"tzml-run", "tzml-ta-test"}
