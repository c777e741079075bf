"""Measure ONNX Runtime with one thread: `run_onnxruntime.py MODEL INPUT.npy OUTPUT.npy REPEAT`.

A program of its own, since on AArch64 it runs in another Python, under emulation.
"""

import ctypes
import sys
import time

import numpy as np
import onnxruntime

MEASURE_BEGIN, MEASURE_END = 0x747A0001, 0x747A0002  # measure.h

model, given, result, repeat = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
feed = {session.get_inputs()[0].name: np.load(given)}
libc = ctypes.CDLL(None)
# as for the kernels, the first run is not counted
np.save(result, session.run(None, feed)[0])
best = float("inf")
for _ in range(int(repeat)):
    begin = time.process_time()
    libc.prctl(MEASURE_BEGIN, 0, 0, 0, 0)
    session.run(None, feed)
    libc.prctl(MEASURE_END, 0, 0, 0, 0)
    best = min(best, time.process_time() - begin)
print(f"seconds {best:.9f}")
