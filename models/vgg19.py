"""VGG-19, configuration E: see vgg.py. No package ships its weights, so they are random."""

from .builder import Net, Value
from .vgg import vgg
from .zoo import RANDOM, ZooModel


def network(net: Net, x: Value) -> Value:
    """[N, 3, 224, 224] to 1000 logits."""
    return vgg(net, x, [2, 2, 4, 4, 4])


MODEL = ZooModel(
    name="vgg19",
    title="VGG-19",
    paper="Simonyan and Zisserman 2014",
    weights=RANDOM,
    network=network,
    input_shape=(1, 3, 224, 224),
    parameters=143_667_240,
    macs=19_632_062_464,
)

if __name__ == "__main__":
    MODEL.main()
