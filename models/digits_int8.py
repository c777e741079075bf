"""LeNet-5 for handwritten digits in int8, made by digits/quantize.py."""

from .digits import INT8 as MODEL

__all__ = ["MODEL"]
