"""Measure LiteRT with one thread: `run_litert.py MODEL INPUT.npy OUTPUT.npy REPEAT`.

This is a separate program because on AArch64 it runs in another Python, under emulation. INPUT may have been made
for another file of the same network: [N, C, H, W] is transposed if the model takes [N, H, W, C]. If the model takes
integers, random ones are used instead, and no OUTPUT is written.
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
if data.ndim == 4 and data.shape != tuple(source["shape"]):
    data = data.transpose(0, 2, 3, 1)
same = data.dtype == source["dtype"]
if not same:
    data = np.random.default_rng(0).integers(-128, 128, data.shape).astype(source["dtype"])
interpreter.set_tensor(source["index"], data)
interpreter.invoke()
if same:
    np.save(result, interpreter.get_tensor(output["index"]))
print_least_time(interpreter.invoke, int(repeat))
