"""The options of TFLite's operators."""

from __future__ import annotations

import importlib
from typing import Any


def option(op: Any, options: str, name: str) -> Any:
    """The value of an option, which is its default where the operator has no options."""
    schema = importlib.import_module("tflite")
    table, place = getattr(schema, options)(), op.BuiltinOptions()
    if op.BuiltinOptionsType() != getattr(schema.BuiltinOptions, options):
        return {"Beta": 1}.get(name, 0)
    table.Init(place.Bytes, place.Pos)
    return getattr(table, name)()
