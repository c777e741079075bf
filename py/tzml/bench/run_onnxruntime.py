"""Measure ONNX Runtime with one thread: `run_onnxruntime.py MODEL INPUT.npy OUTPUT.npy REPEAT`.

This is a separate program because on AArch64 it runs in another Python, under emulation.
"""

import sys

import numpy as np
import onnxruntime
from measured import print_least_time  # type: ignore[import-not-found]  # beside this file

model, given, result, repeat = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
feed = {session.get_inputs()[0].name: np.load(given)}
np.save(result, session.run(None, feed)[0])
print_least_time(lambda: session.run(None, feed), int(repeat))
