"""The networks that tzml is tested with. Each is a module with a `MODEL`; `models()` returns all of them.

`python -m tzml_zoo.NAME` makes a network's ONNX file and prints its path. `tzml zoo export NAME` writes it to a
folder of your choice.
"""

from .zoo import ZooModel, models

__all__ = ["ZooModel", "models"]
