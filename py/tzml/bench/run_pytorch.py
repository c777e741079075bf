"""Measure PyTorch with one thread: `run_pytorch.py MODEL.onnx INPUT.npy REPEAT`. The network is read from ONNX."""

import sys
import time
from pathlib import Path

import numpy as np
import torch

from tzml_zoo.torch_twin import torch_twin

model, given, repeat = sys.argv[1:]
torch.set_num_threads(1)
network, data = torch_twin(Path(model)), torch.from_numpy(np.load(given))
best = float("inf")
with torch.inference_mode():
    network(data)
    for _ in range(int(repeat)):
        begin = time.process_time()
        network(data)
        best = min(best, time.process_time() - begin)
print(f"seconds {best:.9f}")
