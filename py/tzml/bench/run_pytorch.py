"""Measure PyTorch with one thread: `run_pytorch.py MODEL.onnx INPUT.npy REPEAT`. The network is read from ONNX."""

import sys
from pathlib import Path

import numpy as np
import torch
from measured import print_least_time  # type: ignore[import-not-found]  # beside this file

from tzml_zoo.torch_twin import torch_twin

model, given, repeat = sys.argv[1:]
torch.set_num_threads(1)
network, data = torch_twin(Path(model)), torch.from_numpy(np.load(given))
with torch.inference_mode():
    network(data)
    print_least_time(lambda: network(data), int(repeat))
