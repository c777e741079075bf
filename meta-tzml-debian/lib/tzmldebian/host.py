# SPDX-License-Identifier: Apache-2.0
"""The build host: checks of what it must have, which fail with one line before anything is parsed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any

import bb

# On Debian, a normal user's PATH lacks the administrator's commands.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(command: list[str], **options: Any) -> str:
    """Run a command in a task and return its output. If it fails, the task ends with the command's last message."""
    done = subprocess.run(command, text=True, capture_output=True, **options)
    if done.stderr:
        print(done.stderr.rstrip(), flush=True)  # into the task's log
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        bb.fatal(f"{command[0]}: {said[-1]}")
    return done.stdout


def become_root_command() -> str:
    """The command that wraps the worker of [fakeroot] tasks."""
    if os.getuid() == 0:
        return "env"
    return "unshare --user --map-root-user --map-auto --"


def machines(d: Any) -> dict[str, Path]:
    layers = [Path(layer) for layer in d.getVar("BBLAYERS").split()]
    return {conf.stem: conf for layer in layers for conf in sorted(layer.glob("conf/machine/*.conf"))}


def check(d: Any) -> None:
    """Check what every build needs. Ends with bb.fatal() and one line that says what to do."""
    machine, known = d.getVar("MACHINE"), machines(d)
    if machine not in known:
        bb.fatal(
            f'MACHINE is "{machine}", which no layer has; known machines: {", ".join(sorted(known))}. '
            "Set `machine:` in the kas manifest"
        )
    check_manifest(d)
    check_subordinate_ids()
    link_tools(d)


def check_manifest(d: Any) -> None:
    """Check that the build folder's configuration is still that of the manifest for which this BitBake was started.

    The manifest's machine comes with the environment, which nobody else writes.
    """
    machine, wanted = d.getVar("MACHINE"), d.getVar("KAS_MACHINE") or d.getVar("TZML_MACHINE")
    if wanted and machine != wanted:
        bb.fatal(
            f'this run is for the machine "{wanted}", but {d.getVar("TOPDIR")}/conf/local.conf says "{machine}": '
            "either another run of kas has written it since, so start kas again; "
            "or `machine:` and TZML_MACHINE in `env:` of the manifest differ"
        )


def link_tools(d: Any) -> None:
    """Fill HOSTTOOLS_DIR, which is the PATH of all tasks, with links to the HOSTTOOLS."""
    directory = Path(d.getVar("HOSTTOOLS_DIR"))
    directory.mkdir(parents=True, exist_ok=True)
    missing = []
    for tool in d.getVar("HOSTTOOLS").split():
        if not _link_tool(directory, tool):
            missing.append(tool)
    for tool in d.getVar("HOSTTOOLS_NONFATAL").split():
        _link_tool(directory, tool)
    if missing:
        bb.fatal(f"this host lacks {', '.join(missing)}: run tools/bootstrap, which installs what a build needs")


def _link_tool(directory: Path, tool: str) -> bool:
    found = shutil.which(tool, path=SYSTEM_PATH)
    link = directory / tool
    if found is None:
        link.unlink(missing_ok=True)
        return False
    if not link.is_symlink() or str(link.readlink()) != found:
        link.unlink(missing_ok=True)
        link.symlink_to(found)
    return True


def check_foreign_execution(d: Any) -> None:
    """Check that the host can run the target's package scripts, natively or under emulation."""
    if os.uname().machine == "aarch64":
        return
    handler = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")
    if not handler.exists():
        bb.fatal(
            "this host's kernel cannot run arm64 programs (binfmt_misc has no qemu-aarch64): "
            "run tools/bootstrap as root"
        )


def check_subordinate_ids() -> None:
    """Check that a normal user has ids that can own the target's files."""
    if os.getuid() == 0:
        return
    user = pwd.getpwuid(os.getuid()).pw_name
    for name in ("/etc/subuid", "/etc/subgid"):
        path = Path(name)
        entries = path.read_text().splitlines() if path.exists() else []
        if not any(line.split(":")[0] in (user, str(os.getuid())) for line in entries):
            bb.fatal(
                f"{name} has no range for {user}, which making a root file system without root needs: "
                f"run `sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}`"
            )
