"""Run bundles on the device: NumPy arrays in, NumPy arrays out, in the secure or the normal world."""

from tzml.client.model import (
    Answer,
    ChunkLoads,
    Memory,
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
    "Memory",
    "Model",
    "ProgramInfo",
    "RunError",
    "TensorInfo",
    "World",
    "open_model",
]
