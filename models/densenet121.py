"""DenseNet-121: Huang et al., "Densely Connected Convolutional Networks" (2017).
No package ships its weights, so they are random.
"""

from .builder import Net, Value
from .zoo import RANDOM, ZooModel

GROWTH = 32


def bn_relu_conv(net: Net, name: str, x: Value, channels: int, kernel: int) -> Value:
    x = net.relu(net.batch_norm(f"{name}.bn", x))
    return net.conv(f"{name}.conv", x, channels, kernel, padding=kernel // 2)


def network(net: Net, x: Value) -> Value:
    """[N, 3, 224, 224] to 1000 logits."""
    x = net.conv("stem.conv", x, 64, 7, stride=2, padding=3)
    x = net.max_pool(net.relu(net.batch_norm("stem.bn", x)), 3, 2, 1)
    for stage, count in enumerate([6, 12, 24, 16]):
        for i in range(count):
            y = bn_relu_conv(net, f"block{stage}.{i}.1", x, 4 * GROWTH, 1)
            x = net.concat([x, bn_relu_conv(net, f"block{stage}.{i}.2", y, GROWTH, 3)])
        if stage < 3:
            x = net.avg_pool(bn_relu_conv(net, f"transition{stage}", x, x.shape[1] // 2, 1), 2, 2)
    x = net.relu(net.batch_norm("head.bn", x))
    return net.linear("classifier", net.global_avg_pool(x), 1000)


MODEL = ZooModel(
    name="densenet121",
    title="DenseNet-121",
    paper="Huang et al. 2017",
    weights=RANDOM,
    network=network,
    input_shape=(1, 3, 224, 224),
    parameters=7_978_856,
    macs=2_834_161_664,
)

if __name__ == "__main__":
    MODEL.main()
