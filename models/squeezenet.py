"""SqueezeNet 1.1: Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters" (2016), in
its authors' later, cheaper version. No package ships its weights, so they are random.
"""

from .builder import RELU_GAIN, Net, Value
from .zoo import RANDOM, ZooModel


def fire(net: Net, name: str, x: Value, squeeze: int, expand: int) -> Value:
    """A 1x1 convolution to few channels, followed by 1x1 and 3x3 convolutions side by side."""
    x = net.relu(net.conv(f"{name}.squeeze", x, squeeze, 1, bias=True, gain=RELU_GAIN))
    left = net.relu(net.conv(f"{name}.expand1x1", x, expand, 1, bias=True, gain=RELU_GAIN))
    right = net.relu(net.conv(f"{name}.expand3x3", x, expand, 3, padding=1, bias=True, gain=RELU_GAIN))
    return net.concat([left, right])


def network(net: Net, x: Value) -> Value:
    """[N, 3, 224, 224] to 1000 logits."""
    x = net.relu(net.conv("conv1", x, 64, 3, stride=2, bias=True))
    for stage in ([(16, 64), (16, 64)], [(32, 128), (32, 128)], [(48, 192), (48, 192), (64, 256), (64, 256)]):
        x = net.max_pool(x, 3, 2, ceil=True)
        for i, (squeeze, expand) in enumerate(stage):
            x = fire(net, f"fire{stage[0][0]}.{i}", x, squeeze, expand)
    x = net.relu(net.conv("classifier", x, 1000, 1, bias=True, gain=5))
    return net.global_avg_pool(x)


MODEL = ZooModel(
    name="squeezenet",
    title="SqueezeNet 1.1",
    paper="Iandola et al. 2016",
    weights=RANDOM,
    network=network,
    input_shape=(1, 3, 224, 224),
    parameters=1_235_496,
    macs=349_151_936,
)

if __name__ == "__main__":
    MODEL.main()
