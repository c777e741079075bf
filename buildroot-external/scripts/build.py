# SPDX-License-Identifier: Apache-2.0
"""Build an image with Buildroot: firmware, kernel, TA kit and C library from Debian, the rest from source.

usage: tools/buildroot MACHINE --buildroot PATH [--output FOLDER] [--prepare]

PATH is a checkout of Buildroot 2026.05. The Debian feed's image (`kas build kas/MACHINE.yml`) has to be there.
Sources come from Debian's archive, if their checksum is the one that Buildroot expects. The result is a deploy
folder with image.json, which the lab takes: LG_DEPLOY=FOLDER/deploy pytest lab/ --lg-env MACHINE.yaml.
A build that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
EXTERNAL = ROOT / "buildroot-external"
sys.path[:0] = [str(ROOT / "meta-tzml-debian/engine/lib"), str(ROOT / "meta-tzml-debian/lib")]

import components  # noqa: E402
from tzmldebian import apt, tree  # noqa: E402
from tzmldebian.initramfs import module_name  # noqa: E402

BUILDROOT = "2026.05"
MACHINES = ("qemu", "rpi3")
SUITE, OPTEE_SUITE = "trixie", "sid"
SOURCE_SUITES = ("trixie", "forky", "sid")
C_LIBRARY = ("libc6", "libc6-dev", "libcrypt1", "libcrypt-dev", "libgcc-s1", "linux-libc-dev")
TEE_CLIENT = ("tee-supplicant", "libteec2", "optee-client-dev")
MODULES = ("tee", "optee")

# Host tools that are not built: the folder that takes the place of their source, and the reason.
OVERRIDES = {
    "fakeroot": "Buildroot's version is in no archive any more; this host has its own",
    "acl": "only fakeroot would need it",
    "attr": "only fakeroot would need it",
    "tar": "Debian 12 has 1.34; 1.35 is for packing repositories, of which none is downloaded",
    "patchelf": "Buildroot's version (0.13) is not in Debian; Debian's binary package has the same options",
}


class BuildError(Exception):
    """The build cannot go on; the message says what to do."""


def say(text: str) -> None:
    print(f"buildroot: {text}", flush=True)


class Downloads:
    """Debian's archive, and the cache of all builds."""

    def __init__(self) -> None:
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        cache = Path(os.environ.get("TZML_CACHE") or Path(caches, "tzml"))
        self.folder = cache / "downloads"
        self._mirror = apt.host_mirror()

    def archive(self, suite: str, architecture: str) -> apt.Archive:
        return apt.Archive(self.folder / "apt", self._mirror, [suite], architecture)

    def packages(self, suite: str, architecture: str, names: tuple[str, ...]) -> list[Path]:
        archive, to = self.archive(suite, architecture), self.folder / "files"
        return [to / archive.binary(name, None, to)[0].name for name in names]

    def source(self, package: str, sha256: str) -> Path | None:
        """The file with that digest of the source package in any suite."""
        to = self.folder / "files"
        for suite in SOURCE_SUITES:
            try:
                files = self.archive(suite, "arm64").source(package, None, to)
            except apt.AptError:
                continue
            for file in files:
                if file.sha256 == sha256:
                    return to / file.name
        return None


def check_buildroot(path: Path) -> None:
    makefile = path / "Makefile"
    found = re.search(
        r"^export BR2_VERSION := (\S+)", makefile.read_text() if makefile.is_file() else "", re.MULTILINE
    )
    if not found:
        raise BuildError(f"{path} is no Buildroot: give --buildroot the folder of a checkout, branch {BUILDROOT}.x")
    if not found[1].startswith(BUILDROOT):
        raise BuildError(f"{path} is Buildroot {found[1]}; this project knows {BUILDROOT}: check out {BUILDROOT}.x")


def debian_image(machine: str) -> Path:
    folder = ROOT / "build/deploy" / machine
    if not (folder / "image.json").exists():
        raise BuildError(f"there is no image in {folder}, whose firmware is used: kas build kas/{machine}.yml")
    return folder


def made_once(folder: Path, key: str) -> bool:
    """Whether the folder was made from what `key` names. Otherwise, it is removed."""
    stamp = folder.with_name(f"{folder.name}.made-of")
    if folder.is_dir() and stamp.exists() and stamp.read_text() == key:
        return True
    stamp.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    return False


def mark_made(folder: Path, key: str) -> None:
    tree.write_atomically(folder.with_name(f"{folder.name}.made-of"), key)


def make_toolchain(output: Path, downloads: Downloads) -> Path:
    packages = downloads.packages(SUITE, "arm64", C_LIBRARY)
    script = EXTERNAL / "scripts/toolchain"
    version = run(["aarch64-linux-gnu-gcc", "--version"]).splitlines()[0]
    folder = output / "toolchain"
    key = "\n".join([version, tree.sha256(script), *(path.name for path in packages)])
    if not made_once(folder, key):
        say(f"toolchain: {version}, C library {packages[0].name.split('_')[1]}")
        run([str(script), str(folder), *map(str, packages)])
        mark_made(folder, key)
    return folder


def unpack(folder: Path, packages: list[Path]) -> Path:
    key = "\n".join(path.name for path in packages)
    if not made_once(folder, key):
        folder.mkdir(parents=True)
        for package in packages:
            run(["dpkg-deb", "-x", str(package), str(folder)])
        (folder / "version").write_text(packages[0].name.split("_")[1] + "\n")
        mark_made(folder, key)
    return folder


def make_overlay(output: Path, image: Path, downloads: Downloads) -> Path:
    """The modules that the Debian kernel needs for OP-TEE, as board/overlay/etc/init.d/S10modules loads them."""
    release = json.loads((image / "image.json").read_text())["kernel_release"]
    folder = output / "overlay"
    [package] = downloads.packages(SUITE, "arm64", (f"linux-image-{release}",))
    unpacked = unpack(output / "kernel-package", [package])
    found = {module_name(str(path)): path for path in unpacked.rglob("*.ko*")}
    order: list[str] = []

    def add(name: str) -> None:
        if name in order or name not in found:  # built in
            return
        needed = run(["modinfo", "-F", "depends", str(found[name])]).strip()
        for other in filter(None, needed.split(",")):
            add(other.replace("-", "_"))
        order.append(name)

    for name in MODULES:
        if name not in found:
            raise BuildError(f"{package.name} has no module {name}")
        add(name)
    shutil.rmtree(folder, ignore_errors=True)
    target = folder / "lib/modules"
    target.mkdir(parents=True)
    for name in order:
        path = found[name]
        data = run_bytes(["xz", "-dc", str(path)]) if path.suffix == ".xz" else path.read_bytes()
        (target / f"{name}.ko").write_bytes(data)
    (target / "order").write_text("".join(f"{name}.ko\n" for name in order))
    return folder


def make_overrides(output: Path, downloads: Downloads) -> str:
    """Folders that Buildroot takes for the sources of host tools, and the text of local.mk that names them."""
    folder = output / "overrides"
    shutil.rmtree(folder, ignore_errors=True)
    [patchelf] = downloads.packages("stable", "amd64", ("patchelf",))
    programs = {
        "patchelf": {"patchelf": unpack(output / "patchelf-package", [patchelf]) / "usr/bin/patchelf"},
        "fakeroot": {name: Path(shutil.which(name) or f"/usr/bin/{name}") for name in ("fakeroot", "faked")},
        "tar": {"tar": Path(shutil.which("tar") or "/bin/tar")},
    }
    text = "# Made by tools/buildroot.\n"
    for name, reason in OVERRIDES.items():
        source = folder / name
        source.mkdir(parents=True)
        links = "".join(f"\tln -sf {path} $(prefix)/bin/{tool}\n" for tool, path in programs.get(name, {}).items())
        configure = source / "configure"
        configure.write_text(
            "#!/bin/sh\n"
            "for option; do case $option in --prefix=*) prefix=${option#--prefix=} ;; esac; done\n"
            '{ echo "prefix = $prefix"; cat Makefile.in; } >Makefile\n'
        )
        configure.chmod(0o755)
        (source / "Makefile.in").write_text(f"all:\ninstall:\n\tmkdir -p $(prefix)/bin\n{links}")
        variable = name.upper()
        text += f"# {name}: {reason}\n{variable}_OVERRIDE_SRCDIR = {source}\noverride {variable}_AUTORECONF = NO\n"
    return text


def show_info(buildroot: Path, variables: dict[str, str]) -> dict[str, Any]:
    """What Buildroot says of all packages of this configuration."""
    settings = [f"{name}={value}" for name, value in variables.items()]
    info: dict[str, Any] = json.loads(run(["make", "--silent", "-C", str(buildroot), *settings, "show-info"]))
    return info


def describe(output: Path, info: dict[str, Any], downloads: Downloads) -> None:
    """What image_json.py has to know of the components."""
    taken = (("glibc", SUITE, C_LIBRARY), ("tee-supplicant", OPTEE_SUITE, TEE_CLIENT))
    found = components.of_buildroot(info)
    found += [
        components.of_debian(name, downloads.packages(suite, "arm64", of), suite) for name, suite, of in taken
    ]
    about = {"components": found, "vex": components.statements(info)}
    tree.write_atomically(output / "about.json", json.dumps(about, indent=1))


def fill_site(site: Path, buildroot: Path, info: dict[str, Any], downloads: Downloads) -> None:
    """Put every source that Buildroot will want and that is not overridden into its local site, by checksum."""
    site.mkdir(parents=True, exist_ok=True)
    missing = []
    for name, package in sorted(info.items()):
        short = name.removeprefix("host-")
        for download in package.get("downloads", []) if short not in OVERRIDES else []:
            file = download["source"]
            hashes = next(iter((buildroot / "package").glob(f"**/{short}/{short}.hash")), None)
            found = (
                re.search(rf"^sha256\s+([0-9a-f]{{64}})\s+{re.escape(file)}$", hashes.read_text(), re.MULTILINE)
                if hashes
                else None
            )
            if found and (site / file).exists() and tree.sha256(site / file) == found[1]:
                continue
            source = downloads.source(short, found[1]) if found else None
            if source:
                tree.link_or_copy(source, site / file)
                say(f"source: {file} is Debian's {source.name}")
            else:
                missing.append(f"{file} ({name})")
    if missing:
        raise BuildError(
            f"Debian's archive has no file with the checksum of {', '.join(missing)}: put it into {site}"
        )


def configure(
    buildroot: Path, output: Path, machine: str, values: dict[str, str], variables: dict[str, str]
) -> None:
    """Write .config: the machine's defconfig, the Debian fragment, and the paths. Every symbol has to be kept."""
    lines: dict[str, str] = {}
    for path in (EXTERNAL / f"configs/tzml_{machine}_defconfig", EXTERNAL / "configs/debian.config"):
        for line in path.read_text().splitlines():
            if found := re.match(r"(?:# )?(BR2_\w+)(?:=| is not set)", line):
                lines[found[1]] = line
    off = tuple(f"{name}_" for name, line in lines.items() if line.endswith(" is not set"))
    lines = {name: line for name, line in lines.items() if not name.startswith(off) or line.startswith("# ")}
    lines |= {name: f'{name}="{value}"' for name, value in values.items()}
    version = run([f"{values['BR2_TOOLCHAIN_EXTERNAL_PATH']}/bin/aarch64-linux-gnu-gcc", "-dumpversion"])
    headers = Path(values["BR2_TOOLCHAIN_EXTERNAL_PATH"], "sysroot/usr/include/linux/version.h").read_text()
    major, minor = (re.search(rf"LINUX_VERSION_{name} (\d+)", headers) for name in ("MAJOR", "PATCHLEVEL"))
    assert major
    assert minor
    for name in (f"GCC_{version.strip().split('.')[0]}", f"HEADERS_{major[1]}_{minor[1]}"):
        lines[f"BR2_TOOLCHAIN_EXTERNAL_{name}"] = f"BR2_TOOLCHAIN_EXTERNAL_{name}=y"
    defconfig = output / "defconfig"
    defconfig.write_text("\n".join(lines.values()) + "\n")
    command = ["make", "--silent", "-C", str(buildroot), *(f"{k}={v}" for k, v in variables.items())]
    run([*command, f"BR2_DEFCONFIG={defconfig}", "defconfig"])
    result = Path(variables["O"], ".config").read_text().splitlines()
    lost = [line for line in lines.values() if line not in result and not line.startswith("# ")]
    if lost:
        raise BuildError(f"Buildroot does not take {'; '.join(lost)}: is it another version?")


def run(command: list[str]) -> str:
    return run_bytes(command).decode()


def run_bytes(command: list[str]) -> bytes:
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise BuildError(f"{command[0]} is not installed on this host") from error
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise BuildError(f"{' '.join(command[:3])} …: {said[-1] if said else f'exit status {done.returncode}'}")
    return done.stdout


def make(buildroot: Path, output: Path, variables: dict[str, str]) -> None:
    """Run the build, and print its steps."""
    command = ["make", "-C", str(buildroot), *(f"{name}={value}" for name, value in variables.items())]
    log, start = output / "build.log", time.monotonic()
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        assert process.stdout
        for line in process.stdout:
            stream.write(line)
            if found := re.search(r">>> (\S+) +(\S*) *(Building|Configuring|Extracting|Generating.*)", line):
                say(f"{time.monotonic() - start:5.0f} s {found[1]} {found[2]}: {found[3].lower()}")
    if process.wait():
        last = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-5:]
        raise BuildError(f"the build failed; its log is {log}\n" + "\n".join(last))
    say(f"built in {time.monotonic() - start:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(usage=(__doc__ or "").split("usage: ")[1].split("\n")[0], description=__doc__)
    parser.add_argument("machine", choices=MACHINES)
    parser.add_argument("--buildroot", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=ROOT / "build/buildroot")
    parser.add_argument("--prepare", action="store_true", help="stop before the build itself")
    options = parser.parse_args()
    buildroot, output = options.buildroot.resolve(), options.output.resolve() / options.machine
    try:
        check_buildroot(buildroot)
        image = debian_image(options.machine)
        output.mkdir(parents=True, exist_ok=True)
        with (output / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise BuildError(f"another build runs in {output}: wait, or give another --output") from error
            build(options.machine, buildroot, image, output, prepare_only=options.prepare)
    except (BuildError, apt.AptError) as error:
        sys.exit(f"buildroot: {error}")


def build(machine: str, buildroot: Path, image: Path, output: Path, *, prepare_only: bool) -> None:
    downloads = Downloads()
    kit = output / "ta-dev-kit"
    key = tree.sha256(image / "ta-dev-kit.tar.zst")
    if not made_once(kit, key):
        kit.mkdir(parents=True)
        run(["tar", "-C", str(kit), "-xf", str(image / "ta-dev-kit.tar.zst")])
        mark_made(kit, key)
    keys = os.environ.get("TZML_KEYS") or Path(
        os.environ.get("XDG_DATA_HOME", Path.home() / ".local/share"), "tzml/keys"
    )
    local = output / "local.mk"
    tree.write_atomically(local, make_overrides(output, downloads))
    overlays = ["$(BR2_EXTERNAL_TZML_PATH)/board/overlay", str(make_overlay(output, image, downloads))]
    values = {
        "BR2_PACKAGE_OVERRIDE_FILE": str(local),
        "BR2_PACKAGE_TZML_TEE_CLIENT_DIR": str(
            unpack(output / "tee-client", downloads.packages(OPTEE_SUITE, "arm64", TEE_CLIENT))
        ),
        "BR2_PRIMARY_SITE": f"file://{output / 'site'}",
        "BR2_ROOTFS_OVERLAY": " ".join(overlays),
        "BR2_ROOTFS_POST_SCRIPT_ARGS": " ".join(
            map(str, (machine, image, output.parent / "deploy" / machine, output / "about.json"))
        ),
        "BR2_PACKAGE_TZML_BOARD_HUK": json.loads((image / "image.json").read_text()).get("huk", "zero"),
        "BR2_TOOLCHAIN_EXTERNAL_PATH": str(make_toolchain(output, downloads)),
        "BR2_TZML_TA_DEV_KIT": str(kit / "export-user_ta"),
        "BR2_TZML_TA_SIGN_KEY": str(Path(keys, "ta-signing.pem")),
    }
    variables = {
        "BR2_EXTERNAL": str(EXTERNAL),
        "O": str(output / "output"),
        "BR2_DL_DIR": str(output / "downloads"),
    }
    configure(buildroot, output, machine, values, variables)
    info = show_info(buildroot, variables)
    describe(output, info, downloads)
    fill_site(output / "site", buildroot, info, downloads)
    if not prepare_only:
        make(buildroot, output, variables)


if __name__ == "__main__":
    main()
