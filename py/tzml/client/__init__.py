"""Run bundles on the device: NumPy arrays in, NumPy arrays out, in the secure or the normal world."""

from tzml.client.description import ModelDescription, TensorInfo, describe
from tzml.client.device import attest_device, device_key, enroll_device
from tzml.client.libraries import InstalledLibrary, installed_libraries, remove_library
from tzml.client.model import (
    Answer,
    ChunkLoads,
    MemoryUse,
    Model,
    ProgramInfo,
    ProgramUse,
    RunError,
    World,
    open_model,
)
from tzml.client.stage import DeviceStage, open_stage
from tzml.client.trainer import LossError, Trainer, TrainingScore

__all__ = [
    "Answer",
    "ChunkLoads",
    "DeviceStage",
    "InstalledLibrary",
    "LossError",
    "MemoryUse",
    "Model",
    "ModelDescription",
    "ProgramInfo",
    "ProgramUse",
    "RunError",
    "TensorInfo",
    "Trainer",
    "TrainingScore",
    "World",
    "attest_device",
    "describe",
    "device_key",
    "enroll_device",
    "installed_libraries",
    "open_model",
    "open_stage",
    "remove_library",
]
