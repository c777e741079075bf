"""buildroot-external without Buildroot: symbols, packages' steps with the host's compiler, and what goes wrong.

`record_buildroot_symbols.py` records which symbols Buildroot has. `make test-buildroot BUILDROOT=PATH` builds
images with it, boots them, and runs what is marked `with_buildroot` here.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import ROOT
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tzmldebian import apt

from tzml.vulnerabilities import vex
from tzml_lab.emulation import config_txt
from tzml_lab.emulation.video_core import copy_partition

from .record_buildroot_symbols import used
from .test_apt import LocalArchive

EXTERNAL = ROOT / "buildroot-external"
BUILDROOT = os.environ.get("BUILDROOT", "")
CONFIGURATIONS = sorted((EXTERNAL / "configs").glob("*_defconfig"))
with_buildroot = pytest.mark.skipif(not BUILDROOT, reason="BUILDROOT names no checkout of Buildroot")
PACKAGES = sorted(path.name for path in (EXTERNAL / "package").iterdir())


@pytest.fixture(scope="module")
def scripts() -> Iterator[None]:
    """The scripts import each other by name, as they do when Buildroot calls them."""
    sys.path.insert(0, str(EXTERNAL / "scripts"))
    yield
    sys.path.remove(str(EXTERNAL / "scripts"))


@pytest.fixture(scope="module")
def build(scripts: None) -> ModuleType:
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


@with_buildroot
@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.stem)
def test_buildroot_takes_every_setting(path: Path, tmp_path: Path) -> None:
    """Everything from source, which needs a network to build: settings are kept, and packages have an order."""
    make = ["make", "--silent", "-C", BUILDROOT, f"BR2_EXTERNAL={EXTERNAL}", f"O={tmp_path}"]
    subprocess.run([*make, f"BR2_DEFCONFIG={path}", "defconfig"], check=True, capture_output=True)
    kept = (tmp_path / ".config").read_text().splitlines()
    assert [line for line in path.read_text().splitlines() if line.startswith("BR2_") and line not in kept] == []
    done = subprocess.run([*make, "show-build-order"], check=True, capture_output=True, text=True)
    order = done.stdout.split()
    assert {"linux", "optee-os", "arm-trusted-firmware", "optee-client", "optee-test"} <= set(order)
    assert order.index("optee-os") < order.index("tzml-ta")
    assert order.index("optee-client") < order.index("tzml-host")


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


def test_a_host_without_a_program_is_told_which(build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    build.check_host()
    monkeypatch.setattr(build, "PROGRAMS", (*build.PROGRAMS, "no-such-program"))
    with pytest.raises(build.BuildError, match=r"this host has no no-such-program, which .*: run tools/bootstrap"):
        build.check_host()


def test_an_optee_that_counts_the_states_of_its_storage_is_refused(
    build: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(build, "ROOT", tmp_path)
    folder = tmp_path / "build/deploy/qemu"
    with pytest.raises(build.BuildError, match=r"there is no image in .*: kas build kas/qemu\.yml"):
        build.debian_image("qemu")
    folder.mkdir(parents=True)
    (folder / "image.json").write_text('{"storage_counter": "none"}')
    assert build.debian_image("qemu") == folder
    (folder / "image.json").write_text('{"storage_counter": "secure-flash"}')
    with pytest.raises(build.BuildError, match=r"it would start only once\. kas build kas/qemu\.yml without"):
        build.debian_image("qemu")


def test_a_key_that_optee_does_not_trust_is_refused(
    build: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TZML_KEYS", str(tmp_path))
    with pytest.raises(build.BuildError, match=r"there is no key .*: set TZML_KEYS"):
        build.signing_key(tmp_path)
    for name in ("ta-signing", "other"):
        key = rsa.generate_private_key(65537, 2048)
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (tmp_path / f"{name}.pem").write_bytes(key.private_bytes(*form))
        public = key.public_key().public_bytes(form[0], serialization.PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / f"{name}.pub.pem").write_bytes(public)
    assert build.signing_key(tmp_path) == tmp_path / "ta-signing.pem"
    (tmp_path / "other.pub.pem").replace(tmp_path / "ta-signing.pub.pem")
    with pytest.raises(build.BuildError, match=r"does not trust .*: set TZML_KEYS, or build it again"):
        build.signing_key(tmp_path)


def test_two_builds_in_one_folder_end_in_one_line(
    build: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The folder is free again when make has ended, even if the tool itself was killed before."""
    monkeypatch.setattr(build, "debian_image", Path)
    monkeypatch.setattr(build, "build", lambda *_: None)
    tree = tree_of(tmp_path / "buildroot", "2026.05.1")
    command = ["build.py", "qemu", "--buildroot", str(tree), "--output", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", command)
    build.main()
    with (tmp_path / "out/qemu/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        child = subprocess.Popen(["sleep", "60"], pass_fds=(lock.fileno(),))
    try:
        with pytest.raises(SystemExit, match=r"another build runs in .*: wait, or give another --output"):
            build.main()
    finally:
        child.kill()
        child.wait()
    build.main()


def test_what_was_built_with_something_else_is_removed(build: ModuleType, tmp_path: Path) -> None:
    tree, folder = tree_of(tmp_path / "buildroot", "2026.05.1"), tmp_path / "output"
    for name in ("toolchain.made-of", "local.mk", "defconfig"):
        (tmp_path / name).write_text(f"some {name}")

    def built() -> bool:
        """Whether an earlier build is still there."""
        build.start_anew(tree, tmp_path, folder)
        there = (folder / "target/program").exists()
        (folder / "target").mkdir(parents=True, exist_ok=True)
        (folder / "target/program").touch()
        return there

    assert not built()
    assert built()
    (tmp_path / "defconfig").write_text("other settings")
    assert not built()
    assert built()
    (tree / "Makefile").write_text("export BR2_VERSION := 2026.05.2\n")
    assert not built()


def test_a_setting_that_the_kernel_does_not_take_is_found(scripts: None) -> None:
    kernel = importlib.import_module("kernel")
    assert kernel.fragment_of("rpi3") is None
    fragment = kernel.fragment_of("qemu").read_text()
    settings = [line.partition("=")[0] for line in fragment.splitlines() if line.startswith("CONFIG_")]
    assert len(settings) == len(set(settings))
    assert kernel.lost(fragment, fragment) == []
    assert kernel.lost(fragment, fragment.replace("CONFIG_OPTEE=y", "# CONFIG_OPTEE is not set")) == [
        "CONFIG_OPTEE=y"
    ]


def test_a_build_that_fails_says_where_its_log_is(build: ModuleType, tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    with log.with_name("lock").open("w") as lock, pytest.raises(build.BuildError, match=f"its log is {log}\nlast"):
        build.follow(["sh", "-c", "echo last; exit 2"], log, lambda _: None, lock.fileno())


@pytest.fixture
def debian(build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Downloads from an archive that has only one package."""
    monkeypatch.setattr(apt, "KEYRING", tmp_path / "no-keyring")  # which cannot have signed it
    monkeypatch.setenv("TZML_CACHE", str(tmp_path / "cache"))
    archive = LocalArchive(tmp_path / "archive")
    archive.add("libc6", "2.41-12")
    archive.publish()
    downloads = build.Downloads()
    downloads._mirror = apt.Mirror(f"[trusted=yes] copy:{archive.folder}", None)
    return downloads


def test_a_package_of_the_toolchain_that_vanished_is_named(build: ModuleType, debian: Any) -> None:
    [there] = debian.packages("sid", "arm64", ("libc6",))
    assert there.name == "libc6_2.41-12_arm64.deb"
    with pytest.raises(build.BuildError, match=r"^Debian sid has no libc6-dev any more: take a newer commit .*$"):
        debian.packages("sid", "arm64", ("libc6", "libc6-dev"))


def test_a_source_that_no_archive_has_is_named(
    build: ModuleType, debian: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The rest of the site is kept, and what somebody puts there is taken if its checksum is right."""
    monkeypatch.setattr("parts.SOURCE_SUITES", ("sid",))
    folder = tmp_path / "buildroot/package/busybox"
    folder.mkdir(parents=True)
    digest = hashlib.sha256(b"the source").hexdigest()
    (folder / "busybox.hash").write_text(f"# from its author\nsha256  {digest}  busybox-1.38.0.tar.bz2\n")
    info = {"busybox": {"downloads": [{"source": "busybox-1.38.0.tar.bz2"}]}, "host-fakeroot": {"downloads": ["x"]}}
    site = tmp_path / "site"
    missing = rf"no file with the checksum of busybox-1\.38\.0\.tar\.bz2 \(busybox\): put it into {site}$"
    with pytest.raises(build.BuildError, match=missing):
        build.fill_site(site, tmp_path / "buildroot", info, debian)
    (site / "busybox-1.38.0.tar.bz2").write_text("another source")
    with pytest.raises(build.BuildError, match=missing):
        build.fill_site(site, tmp_path / "buildroot", info, debian)
    (site / "busybox-1.38.0.tar.bz2").write_text("the source")
    build.fill_site(site, tmp_path / "buildroot", info, debian)


def test_a_compiler_that_vanished_is_named(
    build: ModuleType, debian: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("parts.C_LIBRARY", ("libc6",))
    monkeypatch.setattr("parts.SUITE", "sid")
    debian.packages("sid", "arm64", ("libc6",))  # with the host's programs
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.BuildError, match=r"^aarch64-linux-gnu-gcc is not installed .*: run tools/bootstrap$"):
        build.make_toolchain(tmp_path / "out", debian)


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
HOST_DIR = /usr
include $(BR2_EXTERNAL_TZML_PATH)/external.mk
%.steps: DIR = $(OUT)/build/$*
define steps
$(1):
	mkdir -p $$(@D) $(TARGET_DIR)/usr/lib $(TARGET_DIR)/lib $(STAGING_DIR)/usr/lib
	$$($(2)_EXTRACT_CMDS)
	$$($(2)_BUILD_CMDS)
	$$($(2)_INSTALL_STAGING_CMDS)
	$$($(2)_INSTALL_TARGET_CMDS)
	$$($(2)_INSTALL_IMAGES_CMDS)
endef
"""


@pytest.mark.image
def test_the_modules_are_where_a_root_file_system_with_one_usr_has_them(build: ModuleType, tmp_path: Path) -> None:
    """Buildroot refuses an overlay with a folder /lib, which is a link there."""
    overlay = build.make_overlay(tmp_path, ROOT / "build/deploy/qemu", build.Downloads())
    assert [path.name for path in overlay.iterdir()] == ["usr"]
    folder = overlay / "usr/lib/modules"
    assert (folder / "order").read_text().split() == ["tee.ko", "optee.ko"]
    assert all((folder / name).read_bytes()[:4] == b"\x7fELF" for name in ("tee.ko", "optee.ko"))


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
    order = ("tzml-ta", "tzml-host", "tzml-test", "tzml-models", "tzml-board", "tzml-rpi3-boot")
    text = HARNESS
    for name in order:
        text += f"$(eval $(call steps,$(OUT)/build/{name}/done,{name.upper().replace('-', '_')}))\n"
    (tmp_path / "Makefile").write_text(text)
    values = {
        "BR2_EXTERNAL_TZML_PATH": EXTERNAL,
        "BINARIES_DIR": tmp_path / "images",
        "BR2_PACKAGE_TZML_BOARD_HUK": "test",
        "BR2_PACKAGE_TZML_BOARD_MEMORY_PROTECTED": "y",
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
    board = json.loads((target / "usr/share/tzml/board.json").read_text())
    assert (board["machine"], board["huk"]["kind"]) == ("qemu", "test")
    boot = tmp_path / "images/tzml-rpi3-boot"
    settings = config_txt.parse((boot / "config.txt").read_text())
    assert (settings.kernel_address, settings.device_tree_address) == (0x0200_0000, 0x0100_0000)
    assert (boot / "tzml-optee.dtbo").read_bytes()[:4] == b"\xd0\x0d\xfe\xed"
    assert not [path for path in boot.iterdir() if path.suffix != ".dtbo" and "@" in path.read_text()]
    needed = subprocess.run(
        ["objdump", "-p", target / "usr/lib/libtzml.so.1"], check=True, capture_output=True, text=True
    ).stdout
    assert "libteec.so.2" in needed
    assert "libcrypto" not in needed
    assert {path.name for path in (target / "usr/bin").iterdir()} == {"tzml-run", "tzml-ta-test"}


# -- What post-image makes ------------------------------------------------------------------------------


def a_card(folder: Path) -> Path:
    """A card with a FAT partition and another one."""
    card, start = folder / "base.img", 4 << 20
    with card.open("wb") as stream:
        stream.truncate(start + (44 << 20))
    table = f"label: dos\nstart={start // 512}, size={(40 << 20) // 512}, type=c\nsize=4096, type=83\n"
    subprocess.run(["sfdisk", "--quiet", card], input=table, text=True, check=True)
    fat = folder / "fat"
    with fat.open("wb") as stream:
        stream.truncate(40 << 20)
    subprocess.run(["mkfs.vfat", "-F", "32", fat], check=True, capture_output=True)
    for name in ("initramfs.cpio", "cmdline.txt", "config.txt"):
        (folder / name).write_text(f"old {name}")
        subprocess.run(["mcopy", "-i", fat, folder / name, f"::/{name}"], check=True)
    subprocess.run(["dd", f"if={fat}", f"of={card}", "bs=1M", "seek=4", "conv=notrunc", "status=none"], check=True)
    return card


def test_a_pis_card_has_the_root_file_system_as_its_initrd(scripts: None, tmp_path: Path) -> None:
    card = importlib.import_module("card")
    (tmp_path / "rootfs.cpio").write_bytes(b"new root" * 1000)
    base = a_card(tmp_path)
    before = base.read_bytes()
    made = card.make(base, tmp_path / "rootfs.cpio", "console=ttyS1", tmp_path / "sdcard.img")
    assert base.read_bytes() == before
    (tmp_path / "found").mkdir()
    copy_partition(made["sdcard"], tmp_path / "found")
    assert (tmp_path / "found/initramfs.cpio").read_bytes() == b"new root" * 1000
    assert (tmp_path / "found/cmdline.txt").read_text() == "console=ttyS1\n"
    assert (tmp_path / "found/config.txt").read_text() == "old config.txt"
    assert made["sdcard"].stat().st_size == 44 << 20
    listed = subprocess.run(["sfdisk", "--dump", made["sdcard"]], capture_output=True, text=True, check=True).stdout
    assert len(re.findall(r"start=", listed)) == 1
    assert "Image" in made["sdcard-bmap"].read_text()


def test_what_is_no_card_is_refused(scripts: None, tmp_path: Path) -> None:
    card = importlib.import_module("card")
    (tmp_path / "card").write_bytes(bytes(4096))
    with pytest.raises(card.CardError, match="no DOS partition table"):
        card.make(tmp_path / "card", tmp_path / "card", "", tmp_path / "new")
    (tmp_path / "card").write_bytes(bytes(510) + b"\x55\xaa")
    with pytest.raises(card.CardError, match="no first partition"):
        card.make(tmp_path / "card", tmp_path / "card", "", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_library_path_of_the_build_host_is_found(scripts: None, tmp_path: Path) -> None:
    image_json = importlib.import_module("image_json")
    target = tmp_path / "output/target"
    target.mkdir(parents=True)
    (target / "text").write_text("no program")
    (tmp_path / "main.c").write_text("int main(void) { return 0; }\n")
    for name, path in (("sound", "/usr/lib/plugins"), ("foreign", tmp_path / "output/host/lib")):
        subprocess.run(
            ["gcc", tmp_path / "main.c", f"-Wl,-rpath,{path}", "-o", target / name], check=True, capture_output=True
        )
    assert image_json.foreign_rpaths(target, target.parent) == [f"foreign: {tmp_path}/output/host/lib"]


def test_components_are_what_buildroot_puts_on_the_target(scripts: None, tmp_path: Path) -> None:
    components = importlib.import_module("components")
    made = {"type": "target", "install_target": True, "package_dir": "package/busybox"}
    busybox = made | {"name": "busybox", "version": "1.38.0", "licenses": "GPL-2.0"}
    busybox |= {"cpe-id": "cpe:2.3:a:busybox:busybox:1.38.0:-:*:*:*:*:*:*", "ignore_cves": ["CVE-2022-28391"]}
    info = {
        "busybox": busybox,
        "host-acl": made | {"type": "host", "name": "acl", "version": "2"},
        "skeleton": made | {"name": "skeleton", "version": ""},
        "tzml-ta": made | {"name": "tzml-ta", "version": "0.2.0", "licenses": "Apache-2.0"},
        "tzml-tee-client": made | {"name": "tzml-tee-client", "version": "4.11.0-1"},
    }
    assert components.of_buildroot(info) == [
        {
            "name": "busybox",
            "version": "1.38.0",
            "origin": "Buildroot",
            "licence": "GPL-2.0",
            "cpes": ["busybox:busybox"],
        },
        {"name": "tzml-ta", "version": "0.2.0", "origin": "this repository", "licence": "Apache-2.0"},
    ]
    document = components.statements(info)
    (tmp_path / "vex.json").write_text(json.dumps(document))
    [statement] = vex.read(tmp_path / "vex.json")
    assert (set(statement.names), statement.products) == ({"CVE-2022-28391"}, ("pkg:generic/busybox@1.38.0",))
    assert components.statements({"host-acl": info["host-acl"]}) is None
