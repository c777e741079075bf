# SPDX-License-Identifier: Apache-2.0
"""The initial RAM file system, made without root; the same input gives the same bytes."""

from __future__ import annotations

import fnmatch
import lzma
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import bb

DIRECTORIES = ("bin", "dev", "modules.d", "proc", "root", "sys")


@dataclass(frozen=True)
class Entry:
    """An entry in a cpio archive."""

    name: str
    mode: int
    data: bytes = b""


def make(d: Any) -> None:
    """do_compile of initramfs."""
    sources, sysroot = Path(d.getVar("UNPACKDIR")), Path(d.getVar("STAGING_DIR_HOST"))
    modules = Modules(next(sysroot.joinpath("usr/lib/modules").iterdir()))
    entries = [Entry(name, stat.S_IFDIR | 0o755) for name in DIRECTORIES]
    busybox = next(p for p in (sources / "root/usr/bin/busybox", sources / "root/bin/busybox") if p.exists())
    entries.append(Entry("bin/busybox", stat.S_IFREG | 0o755, busybox.read_bytes()))
    applets = "cat cttyhack dmesg findfs insmod ls lsmod mkdir mount poweroff setsid sh switch_root tr usleep vi"
    entries += [Entry(f"bin/{name}", stat.S_IFLNK | 0o777, b"busybox") for name in applets.split()]
    entries.append(Entry("init", stat.S_IFREG | 0o755, sources.joinpath("init").read_bytes()))
    names = []
    for path in modules.closure(d.getVar("INITRAMFS_MODULES").split()):
        names.append(f"/modules.d/{module_name(path)}.ko")
        entries.append(Entry(names[-1].lstrip("/"), stat.S_IFREG | 0o644, modules.read(path)))
    entries.append(Entry("modules", stat.S_IFREG | 0o644, "".join(f"{name}\n" for name in names).encode()))
    Path(d.getVar("B"), "initramfs.cpio").write_bytes(archive(entries, int(d.getVar("SOURCE_DATE_EPOCH"))))


def module_name(path: str) -> str:
    return PurePosixPath(path).name.partition(".ko")[0].replace("-", "_")


class Modules:
    """The modules of one kernel, as depmod describes them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._needs = dict(self._colon_lines("modules.dep"))
        self._paths = {module_name(path): path for path in self._needs}
        self._builtin = {module_name(line) for line in folder.joinpath("modules.builtin").read_text().split()}
        self._aliases: dict[str, list[str]] = {}
        for line in folder.joinpath("modules.alias").read_text().splitlines():
            words = line.split()
            if words[:1] == ["alias"] and len(words) == 3:  # hardware ids may contain blanks
                _, alias, module = words
                self._aliases.setdefault(alias.replace("-", "_"), []).append(module)
        self._soft: dict[str, list[str]] = {}
        for line in folder.joinpath("modules.softdep").read_text().splitlines():
            words = line.split()
            if words[:1] == ["softdep"] and "pre:" in words:
                before = words[words.index("pre:") + 1 :]
                self._soft[words[1].replace("-", "_")] = [w for w in before if not w.endswith(":")]

    def _colon_lines(self, name: str) -> Iterator[tuple[str, list[str]]]:
        for line in self._folder.joinpath(name).read_text().splitlines():
            path, _, needs = line.partition(":")
            yield path, needs.split()

    def closure(self, names: list[str]) -> list[str]:
        """The paths of the modules and of all modules that they need, in the order in which to load them."""
        order: list[str] = []

        def visit(name: str, optional: bool) -> None:
            name = name.replace("-", "_")
            if name in self._builtin:
                return
            if name not in self._paths:
                for module in self._aliases.get(name, []):
                    visit(module, optional)
                if optional or name in self._aliases:
                    return
                near = fnmatch.filter(self._paths, f"*{name[:6]}*")[:5]
                bb.fatal(
                    f"INITRAMFS_MODULES: the kernel has no module {name}; similar names: {' '.join(near) or 'none'}"
                )
            path = self._paths[name]
            for soft in self._soft.get(name, []):
                visit(soft, optional=True)
            # modules.dep lists the nearest dependencies first
            for needed in reversed(self._needs[path]):
                visit(module_name(needed), optional=False)
            if path not in order:
                order.append(path)

        for name in names:
            visit(name, optional=False)
        return order

    def read(self, path: str) -> bytes:
        """The uncompressed content of a module, because busybox cannot load compressed ones."""
        data = self._folder.joinpath(path).read_bytes()
        return lzma.decompress(data) if path.endswith(".xz") else data


def archive(entries: list[Entry], mtime: int) -> bytes:
    """A cpio archive in the kernel's format `newc`."""
    out = bytearray()
    for number, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        name = entry.name.encode() + b"\0"
        links = 2 if stat.S_ISDIR(entry.mode) else 1
        fields = (number, entry.mode, 0, 0, links, mtime, len(entry.data), 0, 0, 0, 0, len(name), 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        out += b"\0" * (-len(out) % 4) + entry.data
        out += b"\0" * (-len(out) % 4)
    return bytes(out)
