"""VGG-16, configuration D: see vgg.py. No package ships its weights, so they are random."""

from .builder import Net, Value
from .vgg import vgg
from .zoo import RANDOM, ZooModel


def network(net: Net, x: Value) -> Value:
    """[N, 3, 224, 224] to 1000 logits."""
    return vgg(net, x, [2, 2, 3, 3, 3])


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
