"""MobileNetV2 1.0: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018).
No package ships its weights, so they are random.
"""

from .builder import Net, Value
from .zoo import RANDOM, ZooModel

# expansion, channels, blocks, stride of the first block: table 2 of the paper
STAGES = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


def conv_bn_relu6(
    net: Net, name: str, x: Value, channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> Value:
    x = net.conv(f"{name}.conv", x, channels, kernel, stride=stride, padding=kernel // 2, groups=groups)
    return net.relu6(net.batch_norm(f"{name}.bn", x))


def inverted_residual(net: Net, name: str, x: Value, expansion: int, channels: int, stride: int) -> Value:
    """A 1x1 convolution to more channels, a 3x3 depthwise one, and a 1x1 one to few channels without activation."""
    inside = x.shape[1] * expansion
    y = conv_bn_relu6(net, f"{name}.expand", x, inside, 1) if expansion != 1 else x
    y = conv_bn_relu6(net, f"{name}.depthwise", y, inside, 3, stride, groups=inside)
    y = net.conv(f"{name}.project.conv", y, channels, 1)
    residual = y.shape == x.shape
    y = net.batch_norm(f"{name}.project.bn", y, gain=0.5 if residual else 1)
    return net.add(x, y) if residual else y


def network(net: Net, x: Value) -> Value:
    """[N, 3, 224, 224] to 1000 logits."""
    x = conv_bn_relu6(net, "stem", x, 32, 3, 2)
    for stage, (expansion, channels, count, stride) in enumerate(STAGES):
        for i in range(count):
            x = inverted_residual(net, f"blocks.{stage}.{i}", x, expansion, channels, stride if i == 0 else 1)
    x = conv_bn_relu6(net, "head", x, 1280, 1)
    return net.linear("classifier", net.global_avg_pool(x), 1000)


MODEL = ZooModel(
    name="mobilenet_v2",
    title="MobileNetV2 1.0",
    paper="Sandler et al. 2018",
    weights=RANDOM,
    network=network,
    input_shape=(1, 3, 224, 224),
    parameters=3_504_872,
    macs=300_774_272,
)

if __name__ == "__main__":
    MODEL.main()
