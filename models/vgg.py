"""VGG networks without batch normalisation: Simonyan and Zisserman, "Very Deep Convolutional Networks for
Large-Scale Image Recognition" (2014).
"""

from collections.abc import Sequence

from .builder import RELU_GAIN, Net, Value


def vgg(net: Net, x: Value, counts: Sequence[int]) -> Value:
    """[N, 3, 224, 224] to 1000 logits; `counts` are the convolutions of each stage."""
    for stage, (channels, count) in enumerate(zip((64, 128, 256, 512, 512), counts, strict=True)):
        for i in range(count):
            # less than RELU_GAIN, because pooling keeps the largest of four
            x = net.relu(net.conv(f"conv{stage + 1}_{i + 1}", x, channels, 3, padding=1, bias=True, gain=1.42))
        x = net.max_pool(x, 2, 2)
    x = net.flatten(x)
    x = net.relu(net.linear("fc1", x, 4096, gain=1.42))
    x = net.relu(net.linear("fc2", x, 4096, gain=RELU_GAIN))
    return net.linear("fc3", x, 1000)
