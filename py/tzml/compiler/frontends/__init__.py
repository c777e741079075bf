"""One function for each model format: file in, Relax module out."""

from tzml.compiler.frontends.onnx import import_onnx

__all__ = ["import_onnx"]
