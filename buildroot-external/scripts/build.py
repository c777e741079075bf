# SPDX-License-Identifier: Apache-2.0
"""Build an image with Buildroot: firmware, TA kit and C library from Debian, the rest from source.

usage: tools/buildroot MACHINE --buildroot PATH [--output FOLDER] [--prepare]

PATH is a checkout of Buildroot 2026.05. The Debian feed's image (`kas build kas/MACHINE.yml`) has to be there.
Sources come from Debian's archive, if their checksum is the one that Buildroot expects. The result is a deploy
folder with image.json, which the lab takes: LG_DEPLOY=FOLDER/deploy pytest lab/ --lg-env MACHINE.yaml.
A build that was stopped goes on where it was. The product's own packages are made anew each time.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "meta-tzml-debian/engine/lib"), str(ROOT / "meta-tzml-debian/lib")]

import components  # noqa: E402
import kernel  # noqa: E402
from parts import (  # noqa: E402
    C_LIBRARY,
    EXTERNAL,
    OPTEE_SUITE,
    OVERRIDES,
    SUITE,
    TEE_CLIENT,
    BuildError,
    Downloads,
    follow,
    made_once,
    make_overlay,
    make_overrides,
    make_toolchain,
    mark_made,
    run,
    say,
    unpack,
)
from tzmldebian import apt, tree  # noqa: E402

BUILDROOT = "2026.05"
MACHINES = ("qemu", "rpi3")

# What Buildroot looks for before it begins (support/dependencies). tools/host-packages.txt has all of them.
PROGRAMS = ("bc", "bison", "cpio", "file", "flex", "g++", "gcc", "perl", "rsync", "tar", "unzip", "wget")


def check_buildroot(path: Path) -> None:
    makefile = path / "Makefile"
    found = re.search(
        r"^export BR2_VERSION := (\S+)", makefile.read_text() if makefile.is_file() else "", re.MULTILINE
    )
    if not found:
        raise BuildError(f"{path} is no Buildroot: give --buildroot the folder of a checkout, branch {BUILDROOT}.x")
    if not found[1].startswith(BUILDROOT):
        raise BuildError(f"{path} is Buildroot {found[1]}; this project knows {BUILDROOT}: check out {BUILDROOT}.x")


def check_host() -> None:
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        raise BuildError(f"this host has no {', '.join(missing)}, which Buildroot uses: run tools/bootstrap")


def debian_image(machine: str) -> Path:
    folder = ROOT / "build/deploy" / machine
    if not (folder / "image.json").exists():
        raise BuildError(f"there is no image in {folder}, whose firmware is used: kas build kas/{machine}.yml")
    counter = json.loads((folder / "image.json").read_text()).get("storage_counter", "none")
    if counter != "none":
        raise BuildError(
            f"OP-TEE in {folder} counts the states of its storage ({counter}), which is lost when this image is "
            f"switched off: it would start only once. kas build kas/{machine}.yml without the overlay for that"
        )
    return folder


def signing_key(image: Path) -> Path:
    """The private key that the image's OP-TEE OS trusts, where builds on this host keep theirs."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    path = Path(os.environ.get("TZML_KEYS") or Path(data, "tzml/keys"), "ta-signing.pem")
    trusted = image / "ta-signing.pub.pem"
    if not path.exists():
        raise BuildError(f"there is no key {path}: set TZML_KEYS to the folder of the keys that made {image}")
    found = run(["openssl", "pkey", "-in", str(path), "-pubout"])
    if found.split() != run(["openssl", "pkey", "-pubin", "-in", str(trusted), "-pubout"]).split():
        raise BuildError(f"the OP-TEE OS in {image} does not trust {path}: set TZML_KEYS, or build it again")
    return path


def show_info(buildroot: Path, variables: dict[str, str]) -> dict[str, Any]:
    """What Buildroot says of all packages of this configuration."""
    settings = [f"{name}={value}" for name, value in variables.items()]
    info: dict[str, Any] = json.loads(run(["make", "--silent", "-C", str(buildroot), *settings, "show-info"]))
    return info


def describe(output: Path, info: dict[str, Any], downloads: Downloads, own: dict[str, Any] | None) -> None:
    """What image_json.py has to know of the components. `own`: of a kernel that is not the Debian feed's."""
    taken = (("glibc", SUITE, C_LIBRARY), ("tee-supplicant", OPTEE_SUITE, TEE_CLIENT))
    found = components.of_buildroot(info)
    found += [
        components.of_debian(name, downloads.packages(suite, "arm64", of), suite) for name, suite, of in taken
    ]
    if own:
        found.append(components.of_debian("linux", [Path(own["package"])], SUITE))
    about = {"components": found, "kernel": own, "vex": components.statements(info)}
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


def start_anew(buildroot: Path, output: Path, folder: Path) -> None:
    """Remove the results of another Buildroot, toolchain or configuration: make does not see that they are old."""
    commit = ""
    if (buildroot / ".git").exists():
        commit = run(["git", "-C", str(buildroot), "rev-parse", "HEAD"]).strip()
    version = re.search(r"^export BR2_VERSION := (\S+)", (buildroot / "Makefile").read_text(), re.MULTILINE)
    assert version
    settings = [(output / name).read_text() for name in ("toolchain.made-of", "local.mk", "defconfig")]
    key = "\n".join([f"{version[1]} {commit}", *settings])
    stamp = output / "output.made-of"
    if not stamp.exists() or stamp.read_text() != key:
        if stamp.exists():
            say("Buildroot, the toolchain or the configuration is another one: everything is built again")
        stamp.unlink(missing_ok=True)
        for name in ("build", "host", "images", "target", "per-package", "staging"):
            path = folder / name
            path.unlink() if path.is_symlink() else shutil.rmtree(path, ignore_errors=True)
        tree.write_atomically(stamp, key)


def make(buildroot: Path, output: Path, variables: dict[str, str], ours: list[str], lock: int) -> None:
    """Run the build, and print its steps. `ours`: packages that are made anew, whose sources make does not know."""
    command = ["make", "-C", str(buildroot), *(f"{name}={value}" for name, value in variables.items())]
    run([*command, *(f"{name}-dirclean" for name in ours)])

    def step(line: str) -> str | None:
        found = re.search(r">>> (\S+) +(\S*) *(Building|Configuring|Extracting|Generating.*)", line)
        return f"{found[1]} {found[2]}: {found[3].lower()}" if found else None

    follow(command, output / "build.log", step, lock)


def main() -> None:
    parser = argparse.ArgumentParser(usage=(__doc__ or "").split("usage: ")[1].split("\n")[0], description=__doc__)
    parser.add_argument("machine", choices=MACHINES)
    parser.add_argument("--buildroot", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=ROOT / "build/buildroot")
    parser.add_argument("--prepare", action="store_true", help="stop before the build itself")
    options = parser.parse_args()
    buildroot, output = options.buildroot.resolve(), options.output.resolve() / options.machine
    for name in [name for name in os.environ if name.endswith("FLAGS")]:
        del os.environ[name]  # options and variables of a make that calls this, which are not for Buildroot
    try:
        check_buildroot(buildroot)
        check_host()
        image = debian_image(options.machine)
        output.mkdir(parents=True, exist_ok=True)
        with (output / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise BuildError(f"another build runs in {output}: wait, or give another --output") from error
            build(options.machine, buildroot, image, output, None if options.prepare else lock.fileno())
    except (BuildError, apt.AptError) as error:
        sys.exit(f"buildroot: {error}")
    except KeyboardInterrupt:
        print("buildroot: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def build(machine: str, buildroot: Path, image: Path, output: Path, lock: int | None) -> None:
    """Prepare the build, and run it if `lock` is given, the file descriptor that keeps others out of the folder."""
    signer = signing_key(image)
    downloads = Downloads()
    say("looking for Debian's packages")
    kit = output / "ta-dev-kit"
    key = tree.sha256(image / "ta-dev-kit.tar.zst")
    if not made_once(kit, key):
        kit.mkdir(parents=True)
        run(["tar", "-C", str(kit), "-xf", str(image / "ta-dev-kit.tar.zst")])
        mark_made(kit, key)
    local = output / "local.mk"
    tree.write_atomically(local, make_overrides(output))
    overlays = ["$(BR2_EXTERNAL_TZML_PATH)/board/overlay"]
    fragment = kernel.fragment_of(machine)
    if not fragment:
        overlays.append(str(make_overlay(output, image, downloads)))
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
        "BR2_TZML_TA_SIGN_KEY": str(signer),
    }
    variables = {
        "BR2_EXTERNAL": str(EXTERNAL),
        "O": str(output / "output"),
        "BR2_DL_DIR": str(output / "downloads"),
    }
    say("configuring Buildroot, and looking for its sources")
    configure(buildroot, output, machine, values, variables)
    info = show_info(buildroot, variables)
    fill_site(output / "site", buildroot, info, downloads)
    if lock is None:
        return
    own = kernel.make(output, image, fragment, downloads, lock) if fragment else None
    describe(output, info, downloads, own)
    start_anew(buildroot, output, Path(variables["O"]))
    ours = [name for name in info if name.startswith("tzml-")]
    make(buildroot, output, variables, ours, lock)


if __name__ == "__main__":
    main()
