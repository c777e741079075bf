"""Operators of constants, computed with NumPy while the model is compiled.

TVM can do this too, but compiles each operator first; a model has thousands of them, mostly reshapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax

from tzml.compiler.ir.operators import operator
from tzml.compiler.ir.rewrite import constant

Array = NDArray[Any]

LIMIT = 1 << 30
"""Bytes that a folded constant may take: a broadcast should not blow up a bundle."""


def fold(call: Any, arguments: Sequence[Any]) -> Array | None:
    """The value of a call whose tensor arguments are all constants; None if it cannot be had here.

    Its dtype is NumPy's, which may not be the call's.
    """
    row = operator(call)
    if row is None or row.fold is None or any(isinstance(argument, relax.Var) for argument in arguments):
        return None
    given = arguments if row.operands else getattr(arguments[0], "fields", [])
    operands = [value for value in map(constant, given) if value is not None]
    return compute(call, operands) if operands and len(operands) == (row.operands or len(given)) else None


def compute(call: Any, operands: Sequence[Array]) -> Array | None:
    """What an operator makes of arrays, perhaps a view of them; None if it cannot be had here."""
    row = operator(call)
    if row is None or row.fold is None:
        return None
    try:
        with np.errstate(all="ignore"):
            result = np.asarray(row.fold(call, operands))
    except (ValueError, IndexError, TypeError, AttributeError, OverflowError):
        return None
    return result if result.nbytes <= LIMIT else None
