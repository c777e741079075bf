"""LeNet-5 on handwritten digits in int8: digits/quantize.py."""

from .digits import INT8 as MODEL

__all__ = ["MODEL"]
