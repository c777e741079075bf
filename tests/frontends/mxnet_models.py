"""Models that MXNet writes, with its answers: run by MXNet's Python, with the folder to write them to."""

import sys
from pathlib import Path

import mxnet as mx
import numpy as np
from mxnet.gluon.model_zoo import vision


def gluon(name: str, size: int, folder: Path) -> None:
    network = vision.get_model(name, classes=10)
    network.initialize(mx.init.Xavier())
    network.hybridize()
    x = mx.nd.random.uniform(-1, 1, (1, 3, size, size))
    y = network(x)
    network.export(str(folder / name))
    np.savez(folder / f"{name}.npz", x=x.asnumpy(), y=y.asnumpy())


def module(folder: Path) -> None:
    """As programs of before Gluon have it: a loss at the end, and attributes that are not written down."""
    found = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(3, 3), num_filter=8, name="conv")
    found = mx.sym.Activation(mx.sym.BatchNorm(found, name="norm"), act_type="relu")
    found = mx.sym.Pooling(found, kernel=(3, 3), stride=(2, 2), pool_type="max", pooling_convention="full")
    found = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(found, num_hidden=10, name="dense"), name="softmax")
    made = mx.mod.Module(found, label_names=["softmax_label"])
    made.bind([("data", (1, 3, 30, 30))], [("softmax_label", (1,))], for_training=False)
    made.init_params(mx.init.Uniform(0.3))
    made.save_checkpoint(str(folder / "module"), 7)
    x = mx.nd.random.uniform(-1, 1, (1, 3, 30, 30))
    made.forward(mx.io.DataBatch([x]), is_train=False)
    np.savez(folder / "module.npz", x=x.asnumpy(), y=made.get_outputs()[0].asnumpy())


def exported_wrongly(folder: Path) -> None:
    mx.sym.LRN(mx.sym.Variable("data"), nsize=3, alpha=0.1).save(str(folder / "lrn-symbol.json"))
    mx.nd.save(str(folder / "lrn-0000.params"), {"arg:unused": mx.nd.zeros((1,))})


if __name__ == "__main__":
    mx.random.seed(1)
    np.random.seed(1)
    written = Path(sys.argv[1])
    gluon("resnet18_v1", 64, written)
    gluon("mobilenetv2_0.25", 64, written)
    module(written)
    exported_wrongly(written)
