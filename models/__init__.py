"""The networks tzml is tested with: a module each, with its `MODEL`; `models()` has all of them.

`python -m tzml_zoo.NAME` writes a network's ONNX file and says where; so does `tzml zoo export NAME`.
"""

from .zoo import ZooModel, models

__all__ = ["ZooModel", "models"]
