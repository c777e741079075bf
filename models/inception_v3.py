"""Inception-v3: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2015), without
the second classifier, which is used only in training. No package ships its weights, so they are random.

The blocks are the paper's figures 5 (A), 6 (C) and 7 (E), and two that halve the image (B, D).
"""

from .builder import Net, Pair, Value
from .zoo import RANDOM, ZooModel


class _Blocks:
    """Adds layers to a network and numbers their names."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.count = 0

    def conv(self, x: Value, channels: int, kernel: Pair, stride: int = 1, padding: Pair = 0) -> Value:
        self.count += 1
        name = f"conv{self.count}"
        x = self.net.conv(name, x, channels, kernel, stride=stride, padding=padding)
        return self.net.relu(self.net.batch_norm(f"{name}.bn", x, epsilon=1e-3))

    def a(self, x: Value, pool_channels: int) -> Value:
        five = self.conv(self.conv(x, 48, 1), 64, 5, padding=2)
        three = self.conv(self.conv(self.conv(x, 64, 1), 96, 3, padding=1), 96, 3, padding=1)
        pool = self.conv(self.net.avg_pool(x, 3, 1, 1), pool_channels, 1)
        return self.net.concat([self.conv(x, 64, 1), five, three, pool])

    def b(self, x: Value) -> Value:
        double = self.conv(self.conv(self.conv(x, 64, 1), 96, 3, padding=1), 96, 3, stride=2)
        return self.net.concat([self.conv(x, 384, 3, stride=2), double, self.net.max_pool(x, 3, 2)])

    def c(self, x: Value, inside: int) -> Value:
        row, column = ((1, 7), (0, 3)), ((7, 1), (3, 0))
        single = self.conv(x, inside, 1)
        for channels, (kernel, padding) in ((inside, row), (192, column)):
            single = self.conv(single, channels, kernel, padding=padding)
        double = self.conv(x, inside, 1)
        for channels, (kernel, padding) in ((inside, column), (inside, row), (inside, column), (192, row)):
            double = self.conv(double, channels, kernel, padding=padding)
        pool = self.conv(self.net.avg_pool(x, 3, 1, 1), 192, 1)
        return self.net.concat([self.conv(x, 192, 1), single, double, pool])

    def d(self, x: Value) -> Value:
        three = self.conv(self.conv(x, 192, 1), 320, 3, stride=2)
        seven = self.conv(self.conv(x, 192, 1), 192, (1, 7), padding=(0, 3))
        seven = self.conv(self.conv(seven, 192, (7, 1), padding=(3, 0)), 192, 3, stride=2)
        return self.net.concat([three, seven, self.net.max_pool(x, 3, 2)])

    def e(self, x: Value) -> Value:
        three = self._row_and_column(self.conv(x, 384, 1))
        double = self._row_and_column(self.conv(self.conv(x, 448, 1), 384, 3, padding=1))
        pool = self.conv(self.net.avg_pool(x, 3, 1, 1), 192, 1)
        return self.net.concat([self.conv(x, 320, 1), three, double, pool])

    def _row_and_column(self, x: Value) -> Value:
        row, column = self.conv(x, 384, (1, 3), padding=(0, 1)), self.conv(x, 384, (3, 1), padding=(1, 0))
        return self.net.concat([row, column])


def network(net: Net, x: Value) -> Value:
    """[N, 3, 299, 299] to 1000 logits."""
    blocks = _Blocks(net)
    x = blocks.conv(x, 32, 3, stride=2)
    x = blocks.conv(blocks.conv(x, 32, 3), 64, 3, padding=1)
    x = blocks.conv(blocks.conv(net.max_pool(x, 3, 2), 80, 1), 192, 3)
    x = net.max_pool(x, 3, 2)
    for channels in (32, 64, 64):
        x = blocks.a(x, channels)
    x = blocks.b(x)
    for channels in (128, 160, 160, 192):
        x = blocks.c(x, channels)
    x = blocks.d(x)
    for _ in range(2):
        x = blocks.e(x)
    return net.linear("fc", net.global_avg_pool(x), 1000)


MODEL = ZooModel(
    name="inception_v3",
    title="Inception-v3",
    paper="Szegedy et al. 2015",
    weights=RANDOM,
    network=network,
    input_shape=(1, 3, 299, 299),
    parameters=23_834_568,
    macs=5_713_216_096,
)

if __name__ == "__main__":
    MODEL.main()
