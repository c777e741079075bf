"""ResNet-152: see resnet.py. No package ships its weights, so they are random."""

from .builder import Net, Value
from .resnet import bottleneck, resnet
from .zoo import RANDOM, ZooModel


def network(net: Net, x: Value) -> Value:
    """[N, 3, 224, 224] to 1000 logits."""
    return resnet(net, x, bottleneck, [3, 8, 36, 3])


MODEL = ZooModel(
    name="resnet152",
    title="ResNet-152",
    paper="He et al. 2015",
    weights=RANDOM,
    network=network,
    input_shape=(1, 3, 224, 224),
    parameters=60_192_808,
    macs=11_513_626_624,
)

if __name__ == "__main__":
    MODEL.main()
