"""Run bundles on the device: NumPy arrays in, NumPy arrays out, in the secure or the normal world."""

from tzml.client.libraries import InstalledLibrary, installed_libraries, remove_library
from tzml.client.model import (
    Answer,
    ChunkLoads,
    MemoryUse,
    Model,
    ProgramInfo,
    RunError,
    TensorInfo,
    World,
    open_model,
)

__all__ = [
    "Answer",
    "ChunkLoads",
    "InstalledLibrary",
    "MemoryUse",
    "Model",
    "ProgramInfo",
    "RunError",
    "TensorInfo",
    "World",
    "installed_libraries",
    "open_model",
    "remove_library",
]
