"""Run the kernels of a bundle for this host with memory around each argument that must not be touched."""

from __future__ import annotations

import ctypes
import mmap
import tempfile
from pathlib import Path

import numpy as np
from programs import FORKS

from tzml.bundle import Bundle
from tzml.bundle.format import ALIGNMENT

_LIBC = ctypes.CDLL(None, use_errno=True)


def exit_codes(bundle: Bundle) -> dict[str, int | None]:
    """How a process ends that runs every call: with arguments that begin, or end, at a page without access.

    0 if all is well; -11 is the signal for an access outside. Arguments hold random bytes.
    """
    calls = [(call.kernel, tuple(argument.size for argument in call.arguments)) for call in bundle.program.calls]
    found = {}
    for side in ("before", "behind"):
        process = FORKS.Process(target=_run, args=(bundle.libraries[0].ree, calls, side))
        process.start()
        process.join()
        found[side] = process.exitcode
    return found


def _run(library: bytes, calls: list[tuple[int, tuple[int, ...]]], side: str) -> None:
    with tempfile.NamedTemporaryFile(suffix=".so") as file:
        file.write(library)
        file.flush()
        call = ctypes.CDLL(str(Path(file.name))).tzml_kernel_call
    call.argtypes = [ctypes.c_uint32, ctypes.POINTER(ctypes.c_void_p)]
    random = np.random.default_rng(0)
    for kernel, sizes in calls:
        kept = [_guarded(random.bytes(size), side) for size in sizes]
        assert call(kernel, (ctypes.c_void_p * len(kept))(*(address for _, address in kept))) == 0


def _guarded(content: bytes, side: str) -> tuple[mmap.mmap, int]:
    """Memory with that content, and its address: at an end of pages that lie between two without access."""
    page = mmap.PAGESIZE
    room = -(-len(content) // page) * page
    memory = mmap.mmap(-1, room + 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    offset = page if side == "before" else page + (room - len(content)) // ALIGNMENT * ALIGNMENT
    memory[offset : offset + len(content)] = content
    for guard in (start, start + page + room):
        if _LIBC.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(page), 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    return memory, start + offset
