"""LLVM's assembly of a kernel with its loops of products written anew."""

from __future__ import annotations

import logging

from tzml.compiler.codegen.in_order.assembly import function_of, read_lines
from tzml.compiler.codegen.in_order.check import NotTheSame, check_loop
from tzml.compiler.codegen.in_order.liveness import Liveness
from tzml.compiler.codegen.in_order.loops import find_loops
from tzml.compiler.codegen.in_order.schedule import rewrite
from tzml.cortex_a53.pipeline import cycles_of_loop

_log = logging.getLogger(__name__)


def for_in_order_core(assembly: str, symbol: str) -> str:
    """The same function; a loop that would not be faster by the core's rules stays as it is.

    So does one that was found not to compute what LLVM's does, with a warning: that is a fault of this package.
    """
    lines = read_lines(assembly)
    where = function_of(lines, symbol)
    function = lines[where.start : where.stop]
    liveness = Liveness(function)
    text = [line.text for line in function]
    for number, loop in enumerate(reversed(list(find_loops(function, liveness)))):
        original = [line.instruction for line in function[loop.begin + 1 : loop.end] if line.instruction]
        found = rewrite(loop)
        label = function[loop.begin].label
        if found is None or label is None or found.cycles >= cycles_of_loop(original, warm_up=2, repeat=2):
            continue
        needed, behind = liveness.live(loop.begin), liveness.live(loop.end)
        try:
            check_loop(original, found.before, found.first, found.rest, found.last, needed, behind)
        except NotTheSame as fault:
            _log.warning("%s, %s stays as LLVM wrote it: %s", symbol, label, fault)
            continue
        text[loop.begin : loop.end] = found.lines(label, number)
    kept = [line.text for line in lines]
    return "\n".join([*kept[: where.start], *text, *kept[where.stop :], ""])
