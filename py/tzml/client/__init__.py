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
    Usage,
    World,
    open_model,
)
from tzml.client.stage import DeviceStage, open_stage
from tzml.client.trainer import LossError, Trainer, TrainingScore
from tzml.client.training import Checkpoints, Plan, Position, Training

__all__ = [
    "Answer",
    "Checkpoints",
    "ChunkLoads",
    "DeviceStage",
    "InstalledLibrary",
    "LossError",
    "MemoryUse",
    "Model",
    "ModelDescription",
    "Plan",
    "Position",
    "ProgramInfo",
    "ProgramUse",
    "RunError",
    "TensorInfo",
    "Trainer",
    "Training",
    "TrainingScore",
    "Usage",
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
