"""From a model file to a bundle. Every call of TVM is in this package (it is pinned and moves fast)."""

from tzml.compiler.compile import CompileOptions, compile_model, compile_stages, compile_structure, model_structure
from tzml.compiler.frontends import InputSpec
from tzml.compiler.ir.targets import TARGETS

__all__ = [
    "TARGETS",
    "CompileOptions",
    "InputSpec",
    "compile_model",
    "compile_stages",
    "compile_structure",
    "model_structure",
]
