"""VGG-7 for CIFAR-10, 2x(128C3)-MP2-2x(256C3)-MP2-2x(512C3)-MP2-1024FC-10: Li et al., "Ternary Weight
Networks" (2016), with 32-bit weights. No package ships its weights, so they are random.
"""

from .builder import Net, Value
from .zoo import RANDOM, ZooModel


def network(net: Net, x: Value) -> Value:
    """[N, 3, 32, 32] to 10 logits."""
    for stage, channels in enumerate([128, 256, 512]):
        for i in range(2):
            name = f"{stage}.{i}"
            x = net.conv(f"conv{name}", x, channels, 3, padding=1)
            x = net.relu(net.batch_norm(f"bn{name}", x))
        x = net.max_pool(x, 2, 2)
    x = net.linear("fc1", net.flatten(x), 1024)
    return net.linear("fc2", net.relu(x), 10)


MODEL = ZooModel(
    name="vgg7",
    title="VGG-7 (CIFAR-10)",
    paper="Li et al. 2016",
    weights=RANDOM,
    network=network,
    input_shape=(1, 3, 32, 32),
    parameters=12_978_058,
    macs=615_917_568,
)

if __name__ == "__main__":
    MODEL.main()
