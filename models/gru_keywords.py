"""GRU for keyword spotting: the GRU of Zhang et al., "Hello Edge: Keyword Spotting on Microcontrollers"
(2017), in its small size. No package ships its weights, so they are random.
"""

from .builder import Net, Value
from .zoo import RANDOM, ZooModel

HIDDEN = 154


def network(net: Net, x: Value) -> Value:
    """49 frames of 10 MFCC features, [N, 49, 10], to the logits of 12 words."""
    x = net.recurrent("GRU", "gru", net.transpose(x, 1, 0, 2), HIDDEN)
    return net.linear("fc", x, 12, gain=4)


MODEL = ZooModel(
    name="gru_keywords",
    title="GRU, keyword spotting",
    paper="Zhang et al. 2017",
    weights=RANDOM,
    network=network,
    input="frames",
    input_shape=(1, 49, 10),
    parameters=78_552,
    macs=3_714_480,
)

if __name__ == "__main__":
    MODEL.main()
