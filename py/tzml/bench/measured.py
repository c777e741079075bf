"""What the programs run_*.py share: each runs in a process, and perhaps a Python, of its own, beside this file."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

MEASURE_BEGIN, MEASURE_END = 0x747A0001, 0x747A0002  # measure.h


def print_least_time(run: Callable[[], object], repeat: int) -> None:
    """CPU time of the fastest of `repeat` runs; the marks tell QEMU's plugin where each begins and ends.

    Who calls this has run it once: as for the kernels, the first run is not counted.
    """
    libc = ctypes.CDLL(None)
    best = float("inf")
    for _ in range(repeat):
        begin = time.process_time()
        libc.prctl(MEASURE_BEGIN, 0, 0, 0, 0)
        run()
        libc.prctl(MEASURE_END, 0, 0, 0, 0)
        best = min(best, time.process_time() - begin)
    print(f"seconds {best:.9f}")
