"""AlexNet in its single-processor form: Krizhevsky, "One weird trick for parallelizing convolutional
neural networks" (2014). No package ships its weights, so they are random.
"""

from .builder import RELU_GAIN, Net, Value
from .zoo import RANDOM, ZooModel


def network(net: Net, x: Value) -> Value:
    """[N, 3, 224, 224] to 1000 logits."""
    # channels, kernel, stride, padding, followed by maximum pooling
    layers = [
        (64, 11, 4, 2, True),
        (192, 5, 1, 2, True),
        (384, 3, 1, 1, False),
        (256, 3, 1, 1, False),
        (256, 3, 1, 1, True),
    ]
    for i, (channels, kernel, stride, padding, pool) in enumerate(layers):
        x = net.conv(f"conv{i}", x, channels, kernel, stride=stride, padding=padding, bias=True, gain=RELU_GAIN)
        x = net.relu(x)
        if pool:
            x = net.max_pool(x, 3, 2)
    x = net.flatten(x)
    x = net.relu(net.linear("fc1", x, 4096))
    x = net.relu(net.linear("fc2", x, 4096, gain=RELU_GAIN))
    return net.linear("fc3", x, 1000)


MODEL = ZooModel(
    name="alexnet",
    title="AlexNet",
    paper="Krizhevsky 2014",
    weights=RANDOM,
    network=network,
    input_shape=(1, 3, 224, 224),
    parameters=61_100_840,
    macs=714_188_480,
)

if __name__ == "__main__":
    MODEL.main()
