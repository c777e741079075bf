"""Train LeNet-5 on 4,000 MNIST digits and write digits.onnx (about a minute on one core).

    pip install 'tzml[train]' && python -m tzml_zoo.digits.train

The network is LeCun et al., "Gradient-Based Learning Applied to Document Recognition" (1998), with
ReLU and maximum pooling. The result differs in the last digits between processors and versions of
PyTorch, which is why the trained file is kept in the repository.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
import torch
from torch import nn

from . import ONNX, SEED, held_out_digits, training_digits

EPOCHS = 60
BATCH = 64


class LeNet5(nn.Sequential):
    """float32 [1, 1, 28, 28] in 0..1 to ten probabilities, float32 [1, 10]."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(400, 120), nn.ReLU(),
            nn.Linear(120, 84), nn.ReLU(),
            nn.Linear(84, 10), nn.LogSoftmax(-1),
        )  # fmt: skip


def distort(images: torch.Tensor) -> torch.Tensor:
    """Rotate, scale, shear and shift each image slightly, because 4,000 digits are few."""
    count = len(images)
    angle = (torch.rand(count) - 0.5) * math.radians(24)
    scale = 1 + (torch.rand(count) - 0.5) * 0.25
    shear = (torch.rand(count) - 0.5) * 0.3
    rows = torch.stack(
        [
            torch.stack([angle.cos() * scale, shear - angle.sin(), (torch.rand(count) - 0.5) * 0.25], 1),
            torch.stack([angle.sin(), angle.cos() * scale, (torch.rand(count) - 0.5) * 0.25], 1),
        ],
        1,
    )
    grid = nn.functional.affine_grid(rows, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, align_corners=False)


def train() -> LeNet5:
    """Train the network. The result is the same on every run."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # the same result on every run
    images, labels = map(torch.from_numpy, training_digits())
    net = LeNet5()
    steps = EPOCHS * math.ceil(len(images) / BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    for epoch in range(EPOCHS):
        total = 0.0
        for batch in torch.randperm(len(images)).split(BATCH):
            loss = nn.functional.nll_loss(net(distort(images[batch])), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        print(f"epoch {epoch + 1:2d}  loss {total / len(images):.4f}", flush=True)
    return net.eval()


def export(net: LeNet5) -> None:
    """Write the network with a softmax at its end, input `image` and output `probabilities`."""
    net[-1] = nn.Softmax(-1)
    sample = torch.zeros(1, 1, 28, 28)
    program = torch.onnx.export(
        net, (sample,), input_names=["image"], output_names=["probabilities"], dynamo=True, verbose=False
    )
    assert program is not None
    model = program.model_proto
    # the exporter notes the path of the source file of each node on this machine
    for part in (model.graph, *model.graph.node, *model.graph.input, *model.graph.output,
                 *model.graph.value_info, *model.graph.initializer):  # fmt: skip
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, ONNX)


def main() -> None:
    """Train, report the accuracy on the held-out digits, and write the file."""
    net = train()
    images, labels = held_out_digits()
    with torch.no_grad():
        predicted = net(torch.from_numpy(images)).argmax(-1).numpy()
    print(f"accuracy on {len(labels)} held-out digits: {np.mean(predicted == labels):.1%}")
    export(net)
    print(f"{ONNX}: {ONNX.stat().st_size} bytes")


if __name__ == "__main__":
    main()
