"""Residual networks: He et al., "Deep Residual Learning for Image Recognition" (2015).

ResNet-50 is the common variant with the stride in the 3x3 convolution ("v1.5").
"""

from collections.abc import Callable, Sequence

from .builder import Net, Value

Block = Callable[[Net, str, Value, int, int], Value]


def conv_bn(net: Net, name: str, x: Value, channels: int, kernel: int, stride: int = 1, gain: float = 1.4) -> Value:
    x = net.conv(f"{name}.conv", x, channels, kernel, stride=stride, padding=kernel // 2)
    return net.batch_norm(f"{name}.bn", x, gain=gain)


def _join(net: Net, name: str, x: Value, y: Value, stride: int) -> Value:
    """The sum at the end of a block. If shapes differ, a 1x1 convolution makes them equal."""
    if x.shape != y.shape:
        x = conv_bn(net, f"{name}.downsample", x, y.shape[1], 1, stride, gain=1)
    return net.relu(net.add(x, y))


def basic(net: Net, name: str, x: Value, width: int, stride: int) -> Value:
    """Two 3x3 convolutions."""
    y = net.relu(conv_bn(net, f"{name}.1", x, width, 3, stride))
    return _join(net, name, x, conv_bn(net, f"{name}.2", y, width, 3, gain=0.7), stride)


def bottleneck(net: Net, name: str, x: Value, width: int, stride: int) -> Value:
    """1x1, 3x3 and 1x1 convolutions; four times as many channels outside as inside."""
    y = net.relu(conv_bn(net, f"{name}.1", x, width, 1))
    y = net.relu(conv_bn(net, f"{name}.2", y, width, 3, stride))
    return _join(net, name, x, conv_bn(net, f"{name}.3", y, 4 * width, 1, gain=0.7), stride)


def resnet(net: Net, x: Value, block: Block, counts: Sequence[int]) -> Value:
    """[N, 3, 224, 224] to 1000 logits."""
    x = net.relu(conv_bn(net, "stem", x, 64, 7, 2))
    x = net.max_pool(x, 3, 2, 1)
    for stage, count in enumerate(counts):
        for i in range(count):
            stride = 2 if stage > 0 and i == 0 else 1
            x = block(net, f"layer{stage + 1}.{i}", x, 64 << stage, stride)
    return net.linear("fc", net.global_avg_pool(x), 1000, gain=4)
