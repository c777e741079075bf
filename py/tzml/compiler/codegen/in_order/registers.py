"""The order of a loop's products, and the registers that hold what is loaded for them.

Products with one weight stand together. Each load has a register from some products before its first use (its lead)
to its last, so that an iteration ends as it began: a colouring of circular arcs (Hendren et al., "A Register
Allocation Framework Based on Hierarchical Cyclic Interval Graphs", 1992).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tzml.compiler.codegen.in_order.loops import Operand, Product, VectorLoad


def _place(operand: Operand) -> tuple[str, int]:
    return (operand.base, operand.offset) if isinstance(operand, VectorLoad) else (operand.register, 0)


def in_order_of_weights(products: Sequence[Product]) -> list[Product]:
    """All products with one left operand together, as far as the order of each sum lets them."""
    waiting: dict[str, list[Product]] = {}
    for product in products:
        waiting.setdefault(product.sum, []).append(product)
    found: list[Product] = []
    while waiting:
        sums = min(waiting, key=lambda name: (_place(waiting[name][0].left), _place(waiting[name][0].right)))
        found.append(waiting[sums].pop(0))
        if not waiting[sums]:
            del waiting[sums]
    return found


@dataclass(eq=False)
class Arc:
    """A load, with the first and the last product that uses it. It may begin from the product `start` on."""

    load: VectorLoad
    first: int
    last: int
    start: int
    register: str = ""


def arcs_of(products: Sequence[Product], lead: int) -> list[Arc]:
    found: dict[VectorLoad, Arc] = {}
    for i, product in enumerate(products):
        for operand in (product.left, product.right):
            if isinstance(operand, VectorLoad):
                arc = found.setdefault(operand, Arc(operand, i, i, i - lead))
                arc.last = i
    return sorted(found.values(), key=lambda arc: (arc.first, arc.load.base, arc.load.offset))


def give_registers(arcs: list[Arc], registers: Sequence[str], period: int) -> bool:
    """Give each load a register that is free from its start to its last use, in each iteration."""
    ordered = sorted(arcs, key=lambda arc: (arc.start >= 0, arc.start, arc.first))
    held: dict[str, list[Arc]] = {register: [] for register in registers}
    for arc in ordered:
        free = [r for r, others in held.items() if not any(_overlap(arc, other, period) for other in others)]
        if not free:
            return False
        arc.register = min(free, key=lambda r: _preference(held[r], arc))
        held[arc.register].append(arc)
    return True


def _preference(held: Sequence[Arc], arc: Arc) -> tuple[int, int]:
    """Least for one that nothing held yet, then for one that held the like, then for that free the longest."""
    if not held:
        return 0, 0
    latest = max(held, key=lambda other: other.last)
    return (1 if latest.load.base == arc.load.base else 2), latest.last


def _overlap(one: Arc, other: Arc, period: int) -> bool:
    """Whether two are held at once in some iteration: from behind `start` up to `last`, modulo the period."""
    shifts = (-period, 0, period)
    return any(one.start + shift < other.last and other.start < one.last + shift for shift in shifts)
