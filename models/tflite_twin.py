"""Write a network of the zoo as a TFLite file, with which LiteRT is measured. Needs PyTorch and litert-torch.

Google's converter makes the file from the network in PyTorch. In the file, channels are last, and batch
normalisation and activations are merged into the convolution before them, if there is one.
"""

from __future__ import annotations

from pathlib import Path

import litert_torch
import onnx
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its name in every PyTorch program)

from .torch_twin import OPERATORS, Attributes, TorchTwin

litert_torch.config.show_progress = False


def _conv(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolution. Unequal padding is done with channels last, to save the converter's transposes around it."""
    top, left, bottom, right = a["pads"]
    if (top, left) != (bottom, right):
        x = F.pad(x.permute(0, 2, 3, 1), (0, 0, left, right, top, bottom)).permute(0, 3, 1, 2)
        a = {**a, "pads": (0, 0, 0, 0)}
    return OPERATORS["Conv"](a, x, weight, bias)


def _batch_norm(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    """Batch normalisation as scale x + shift. Without a convolution before it, it would become four operators."""
    scale = weight / torch.sqrt(var + a["epsilon"])
    shift = bias - mean * scale
    return x * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1)


def save_tflite(onnx_file: Path, shape: tuple[int, ...], path: Path) -> None:
    """Write the network as a TFLite file. An input [N, C, H, W] becomes [N, H, W, C]."""
    network = TorchTwin(onnx.load(onnx_file), {"Conv": _conv, "BatchNormalization": _batch_norm}).eval()
    x = torch.zeros(shape)
    if len(shape) == 4:
        network, x = litert_torch.to_channel_last_io(network, args=[0]).eval(), x.permute(0, 2, 3, 1)
    litert_torch.convert(network, (x,)).export(str(path))
