"""Shared code of the programs run_*.py.

Each of them runs in a process of its own, possibly with another Python, from the folder of this file.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

MEASURE_BEGIN, MEASURE_END = 0x747A0001, 0x747A0002  # measure.h


def print_least_time(run: Callable[[], object], repeat: int) -> None:
    """Print the CPU time of the fastest of `repeat` runs.

    The marks tell QEMU's plugin where each run begins and ends. The caller must have run the network once, because
    the first run does not count, as for the kernels.
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
