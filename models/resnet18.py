"""ResNet-18: see resnet.py. No package ships its weights, so they are random."""

from .builder import Net, Value
from .resnet import basic, resnet
from .zoo import RANDOM, ZooModel


def network(net: Net, x: Value) -> Value:
    """[N, 3, 224, 224] to 1000 logits."""
    return resnet(net, x, basic, [2, 2, 2, 2])


MODEL = ZooModel(
    name="resnet18",
    title="ResNet-18",
    paper="He et al. 2015",
    weights=RANDOM,
    network=network,
    input_shape=(1, 3, 224, 224),
    parameters=11_689_512,
    macs=1_814_073_344,
)

if __name__ == "__main__":
    MODEL.main()
