"""ViT-Ti/16, a small vision transformer: Dosovitskiy et al., "An Image is Worth 16x16 Words" (2020), in the
size of Touvron et al., "Training data-efficient image transformers" (2020).
No package ships its weights, so they are random.
"""

import math

from .builder import Net, Value
from .zoo import RANDOM, ZooModel

WIDTH, HEADS, DEPTH, PATCH = 192, 3, 12, 16


def attention(net: Net, name: str, x: Value) -> Value:
    """Multi-head self-attention: Vaswani et al., "Attention Is All You Need" (2017)."""
    n, tokens, width = x.shape
    size = width // HEADS
    qkv = net.reshape(net.linear(f"{name}.qkv", x, 3 * width), n, tokens, 3, HEADS, size)
    qkv = net.transpose(qkv, 2, 0, 3, 1, 4)  # [3, N, heads, tokens, size]
    q, k, v = (net.select(qkv, i, axis=0) for i in range(3))
    scores = net.matmul(net.scale(q, 1 / math.sqrt(size)), net.transpose(k, 0, 1, 3, 2))
    y = net.transpose(net.matmul(net.softmax(scores), v), 0, 2, 1, 3)
    return net.linear(f"{name}.proj", net.reshape(y, n, tokens, width), width)


def network(net: Net, x: Value) -> Value:
    """[N, 3, 224, 224] to 1000 logits."""
    x = net.conv("patch_embed", x, WIDTH, PATCH, stride=PATCH, bias=True)
    n, _, h, w = x.shape
    x = net.transpose(net.reshape(x, n, WIDTH, h * w), 0, 2, 1)
    x = net.concat([net.parameter("cls_token", n, 1, WIDTH), x])
    x = net.add(x, net.parameter("pos_embed", 1, h * w + 1, WIDTH))
    for i in range(DEPTH):
        name = f"blocks.{i}"
        x = net.add(x, attention(net, f"{name}.attn", net.layer_norm(f"{name}.norm1", x)))
        y = net.gelu(net.linear(f"{name}.mlp.fc1", net.layer_norm(f"{name}.norm2", x), 4 * WIDTH))
        x = net.add(x, net.linear(f"{name}.mlp.fc2", y, WIDTH))
    x = net.select(net.layer_norm("norm", x), 0, axis=1)
    return net.linear("head", x, 1000)


MODEL = ZooModel(
    name="vit_tiny",
    title="ViT-Ti/16",
    paper="Dosovitskiy et al. 2020",
    weights=RANDOM,
    network=network,
    input_shape=(1, 3, 224, 224),
    parameters=5_717_416,
    macs=1_253_683_200,
)

if __name__ == "__main__":
    MODEL.main()
