"""The kernel libraries that are installed on this device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tzml.client.declarations import ffi
from tzml.client.library import library, text
from tzml.client.model import check


@dataclass(frozen=True)
class InstalledLibrary:
    """A kernel library that OP-TEE keeps; `version` is its signed image's, `size` counts bytes."""

    uuid: str
    version: int
    size: int


def installed_libraries() -> list[InstalledLibrary]:
    """All of them, in the order of their UUIDs. Raises RunError."""
    count, room = ffi.new("uint32_t *"), 0
    infos: Any = ffi.new("struct tzml_library_info[]", 0)
    check(library().tzml_list_libraries(infos, count))
    while count[0] > room:  # somebody may install one in between
        room = count[0]
        infos = ffi.new("struct tzml_library_info[]", room)
        check(library().tzml_list_libraries(infos, count))
    found = [infos[i] for i in range(count[0])]
    return [InstalledLibrary(text(info.uuid), info.version, info.size) for info in found]


def remove_library(uuid: str) -> None:
    """Remove an installed library. A bundle that brings it installs it again. Raises RunError."""
    check(library().tzml_remove_library(uuid.encode()))
