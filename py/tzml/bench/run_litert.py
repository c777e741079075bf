"""Measure LiteRT with one thread: `run_litert.py MODEL INPUT.npy OUTPUT.npy REPEAT`.

A program of its own, since on AArch64 it runs in another Python, under emulation. If INPUT does not fit the
model, as where it is for another file of the same network, numbers in the same order do.
"""

import ctypes
import sys
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter

MEASURE_BEGIN, MEASURE_END = 0x747A0001, 0x747A0002  # measure.h

model, given, result, repeat = sys.argv[1:]
interpreter = Interpreter(model, num_threads=1)
interpreter.allocate_tensors()
source, output = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
data = np.load(given)
if data.dtype != source["dtype"]:
    data = np.random.default_rng(0).integers(-128, 128, data.shape)
interpreter.set_tensor(source["index"], data.astype(source["dtype"]).reshape(source["shape"]))
libc = ctypes.CDLL(None)
# as for the kernels, the first run is not counted
interpreter.invoke()
np.save(result, interpreter.get_tensor(output["index"]))
best = float("inf")
for _ in range(int(repeat)):
    begin = time.process_time()
    libc.prctl(MEASURE_BEGIN, 0, 0, 0, 0)
    interpreter.invoke()
    libc.prctl(MEASURE_END, 0, 0, 0, 0)
    best = min(best, time.process_time() - begin)
print(f"seconds {best:.9f}")
