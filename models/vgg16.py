"""VGG-16 (configuration D, without batch normalisation): Simonyan and Zisserman, "Very Deep Convolutional
Networks for Large-Scale Image Recognition" (2014). No package ships its weights, so they are random.
"""

from .builder import RELU_GAIN, Net, Value
from .zoo import RANDOM, ZooModel


def network(net: Net, x: Value) -> Value:
    """[N, 3, 224, 224] to 1000 logits."""
    for stage, (channels, count) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]):
        for i in range(count):
            # less than RELU_GAIN, because pooling keeps the largest of four
            x = net.relu(net.conv(f"conv{stage + 1}_{i + 1}", x, channels, 3, padding=1, bias=True, gain=1.42))
        x = net.max_pool(x, 2, 2)
    x = net.flatten(x)
    x = net.relu(net.linear("fc1", x, 4096, gain=1.42))
    x = net.relu(net.linear("fc2", x, 4096, gain=RELU_GAIN))
    return net.linear("fc3", x, 1000)


MODEL = ZooModel(
    name="vgg16",
    title="VGG-16",
    paper="Simonyan and Zisserman 2014",
    weights=RANDOM,
    network=network,
    input_shape=(1, 3, 224, 224),
    parameters=138_357_544,
    macs=15_470_264_320,
)

if __name__ == "__main__":
    MODEL.main()
