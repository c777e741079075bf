"""A model as a TVM function: programs built on apache-tvm-ffi call it like any other.

function = as_function(open_model("digits.tzm"))
probabilities = function(tvm_ffi.from_dlpack(image))
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm_ffi

from tzml.client.model import Model


def as_function(model: Model) -> Any:
    """A tvm_ffi.Function from the model's inputs, in order, to its output (or an array of outputs).

    Tensors are tvm_ffi.Tensor on the CPU; any other DLPack tensor is taken, too.
    """

    def call(*tensors: Any) -> Any:
        arrays = {info.name: np.from_dlpack(tensor) for info, tensor in zip(model.inputs, tensors, strict=True)}
        outputs = [tvm_ffi.from_dlpack(array) for array in model.run(arrays).outputs.values()]
        return outputs[0] if len(outputs) == 1 else outputs

    return tvm_ffi.convert(call)
