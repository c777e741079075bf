"""Measure LiteRT with one thread: `run_litert.py MODEL INPUT.npy OUTPUT.npy REPEAT`.

A program of its own, since on AArch64 it runs in another Python, under emulation. If INPUT does not fit the
model, as where it is for another file of the same network, numbers in the same order do.
"""

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from measured import print_least_time  # type: ignore[import-not-found]  # beside this file

model, given, result, repeat = sys.argv[1:]
interpreter = Interpreter(model, num_threads=1)
interpreter.allocate_tensors()
source, output = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
data = np.load(given)
if data.dtype != source["dtype"]:
    data = np.random.default_rng(0).integers(-128, 128, data.shape)
interpreter.set_tensor(source["index"], data.astype(source["dtype"]).reshape(source["shape"]))
interpreter.invoke()
np.save(result, interpreter.get_tensor(output["index"]))
print_least_time(interpreter.invoke, int(repeat))
