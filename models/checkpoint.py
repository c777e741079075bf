"""Read the weights of a PyTorch checkpoint without PyTorch.

torch.save wrote these files before version 1.6: five pickles (magic number, protocol version, host, state
dictionary, keys of the storages), then each storage as its number of elements and its bytes. A pickle can name any
function. This reader knows the three that a state dictionary needs and refuses all others.
"""

from __future__ import annotations

import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .builder import Floats

MAGIC = 0x1950A86A20F9469CFC6C
DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Storage:
    """The values on which one or more tensors are views."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.data = b""


class _Tensor:
    """A view on a storage. Offset, shape and strides are in elements."""

    def __init__(
        self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
    ) -> None:
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self) -> Floats:
        flat = np.frombuffer(self.storage.data, self.storage.dtype)[self.offset :]
        steps = tuple(step * self.storage.dtype.itemsize for step in self.strides)
        last = sum((size - 1) * step for size, step in zip(self.shape, self.strides, strict=True))
        if last >= len(flat) or min(self.offset, *self.shape, *self.strides, 0) < 0:
            raise ValueError("a tensor does not lie within its storage")
        return np.lib.stride_tricks.as_strided(flat, self.shape, steps).copy()


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, storages: dict[str, _Storage]) -> None:
        super().__init__(file)
        self.storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        raise pickle.UnpicklingError(f"a checkpoint of weights does not need {module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        _, dtype, key, *_ = pid
        return self.storages.setdefault(key, _Storage(dtype))


def load_checkpoint(path: Path) -> dict[str, Floats]:
    """Read the floating-point tensors of a state dictionary, by name. Raises ValueError or UnpicklingError."""
    storages: dict[str, _Storage] = {}
    with path.open("rb") as file:
        magic, _, _, state, keys = (_Unpickler(file, storages).load() for _ in range(5))
        if magic != MAGIC:
            raise ValueError(f"{path} is no PyTorch checkpoint of the old format")
        for key in keys:
            (count,) = struct.unpack("<q", file.read(8))
            storages[key].data = file.read(count * storages[key].dtype.itemsize)
    arrays = {name: tensor.array() for name, tensor in state.items()}
    return {name: array for name, array in arrays.items() if array.dtype == np.float32}
