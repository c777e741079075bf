"""Run bundles on the device: NumPy arrays in, NumPy arrays out, in the secure or the normal world."""

from tzml.client.description import ModelDescription, TensorInfo, describe
from tzml.client.libraries import InstalledLibrary, installed_libraries, remove_library
from tzml.client.model import (
    Answer,
    ChunkLoads,
    Enrolment,
    MemoryUse,
    Model,
    ProgramInfo,
    ProgramUse,
    RunError,
    World,
    device_key,
    enroll_device,
    open_model,
)

__all__ = [
    "Answer",
    "ChunkLoads",
    "Enrolment",
    "InstalledLibrary",
    "MemoryUse",
    "Model",
    "ModelDescription",
    "ProgramInfo",
    "ProgramUse",
    "RunError",
    "TensorInfo",
    "World",
    "describe",
    "device_key",
    "enroll_device",
    "installed_libraries",
    "open_model",
    "remove_library",
]
