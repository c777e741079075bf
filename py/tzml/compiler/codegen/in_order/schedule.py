"""A loop of products, written anew for the Cortex-A53.

128 bits are loaded as two times 64, of which one waits in a general register until INS puts it in place: as pairs
of instructions that start together, that costs one cycle beside the products instead of two. What the first
products of an iteration need is loaded during the last ones of the iteration before, once it is known that there is
another:

    loads for the first iteration
    again:  products and their loads
            to `last`, unless there is another iteration
            products, and loads for the next iteration
            to `again`
    last:   the same products without loads

So nothing is loaded that LLVM's loop would not load. Instructions are chosen cycle by cycle.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from tzml.compiler.codegen.in_order.loops import Loop, Operand, Product, VectorLoad
from tzml.compiler.codegen.in_order.registers import Arc, arcs_of, give_registers, in_order_of_weights
from tzml.cortex_a53.instruction import Instruction, parse
from tzml.cortex_a53.pipeline import cycles_of_loop
from tzml.cortex_a53.rules import latency

_TRIALS = ((7, 8, 2), (5, 0, 2), (10, 0, 2), (6, 0, 1), (1, 4, 2))
"""What is tried, of which the fastest is taken; each was the best for some loops of MobileNetV2.

The lead of loads in products; until which product of the next iteration more is loaded ahead, if its register is
free; and how many loads may wait for INS before another one starts without one beside it.
"""
_MOST_CYCLES = 100
"""For each product: a loop that takes more would take forever."""
_UNSCALED = range(-256, 256)
_CARRIED = 2
"""Loads that may wait for INS from one iteration to the next."""
_LEAST_GENERAL = 3
"""General registers that are left for halves of what is loaded, where an address needs one."""
_OPPOSITE = {"eq": "ne", "ne": "eq", "hs": "lo", "lo": "hs", "hi": "ls", "ls": "hi", "ge": "lt", "lt": "ge",
             "gt": "le", "le": "gt", "mi": "pl", "pl": "mi", "vs": "vc", "vc": "vs", "cs": "cc", "cc": "cs",
             "cbz": "cbnz", "cbnz": "cbz", "tbz": "tbnz", "tbnz": "tbz"}  # fmt: skip


@dataclass(frozen=True)
class Rewritten:
    """Assembly: `before` for the first iteration, `first` and `rest` for each with another one behind it.

    `first` and `last` are for the last iteration. Without `rest`, `first` is the whole iteration, with its branch.
    `cycles` is an estimate of an iteration.
    """

    before: list[str]
    first: list[str]
    rest: list[str]
    last: list[str]
    cycles: float

    def lines(self, label: str, number: int) -> list[str]:
        """Assembly in place of the loop from `label` to its branch."""
        again, end = f".Lagain{number}", f".Llast{number}"
        text = [f"{label}:", *self.before, f"\t.p2align 4, , 8\n{again}:"]
        for instruction in self.first:
            text.append(instruction.replace(AGAIN, again).replace(LAST, end))
        if self.rest:
            text += [*self.rest, f"b {again}", f"{end}:", *self.last]
        return text


AGAIN, LAST = ".Lagain", ".Llast"


def rewrite(loop: Loop) -> Rewritten | None:
    """The loop in another order; None if it has too few registers or addresses that do not fit an instruction."""
    if not loop.general:
        return None
    products = in_order_of_weights(loop.products)
    found: list[Rewritten] = []
    for lead, further, waiting in _TRIALS:
        arcs = arcs_of(products, lead)
        if not give_registers(arcs, loop.vectors, len(products)):
            continue
        with contextlib.suppress(_DoesNotFit):
            found.append(_Emitter(loop, products, arcs, further, waiting).emit())
    return min(found, key=lambda rewritten: rewritten.cycles, default=None)


class _DoesNotFit(Exception):  # noqa: N818 - the loop stays as it is
    pass


@dataclass
class _Emitter:
    loop: Loop
    products: list[Product]
    arcs: list[Arc]
    further: int
    waiting: int
    cycle: int = 0
    next_product: int = 0
    ready: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.arcs_by_load = {arc.load: arc for arc in self.arcs}
        firsts = {arc.register: arc for arc in reversed(self.arcs)}
        self.ahead = [
            arc for arc in self.arcs if arc.start < 0 or (arc.start < self.further and firsts[arc.register] is arc)
        ]
        self.own = [arc for arc in self.arcs if arc not in self.ahead]
        self.scalars = list(self.loop.scalars)
        self.before = [f"sub sp, sp, #{self.loop.stack}"] if self.loop.saved else []
        self.before += [f"str {register}, [sp, #{offset}]" for register, offset in self.loop.saved.items()]
        self.pointers: dict[VectorLoad, tuple[str, int]] = {}
        self.free = list(self.loop.general)
        self.lower: list[tuple[Arc, bool]] = []  # waits for its lower half; whether of the next iteration
        self.upper: list[tuple[Arc, bool]] = []  # the same for its upper half
        # both halves are loaded: the general register, and from when on
        self.inserts: list[tuple[Arc, str, int]] = []
        self.begun: dict[int, int] = {}  # when the lower half was loaded
        self.fetched: dict[int, tuple[str, int]] = {}  # where the upper half is, and when it was loaded
        self.text: list[str] = []
        self._point()
        # the last of what is loaded ahead: INS is left to the next iteration, in registers of their own
        count = min(_CARRIED, len(self.ahead), len(self.free) - _LEAST_GENERAL)
        self.carried = {id(arc): self.free.pop() for arc in self.ahead[len(self.ahead) - max(count, 0) :]}

    def _point(self) -> None:
        """Give every load a register for its address: that of LLVM, or one of its own where offsets do not fit."""
        for base in sorted({arc.load.base for arc in self.arcs}):
            offsets = sorted({arc.load.offset for arc in self.arcs if arc.load.base == base})
            if all(_fits(offset) and _fits(offset + 8) for offset in offsets):
                self.pointers |= {VectorLoad(base, offset): (base, 0) for offset in offsets}
                continue
            steps = [i for i in self.loop.scalars if base in i.writes]
            start, own = 0, ""
            for offset in offsets:
                if not own or not (_fits(offset - start) and _fits(offset - start + 8)):
                    if len(self.free) < _LEAST_GENERAL:
                        raise _DoesNotFit
                    start, own = offset, self.free.pop()
                    self.before += _add(own, base, start)
                    self.scalars += [_step_as(step, base, own) for step in steps]
                self.pointers[VectorLoad(base, offset)] = own, start

    def emit(self) -> Rewritten:
        before = [*self.before, *(text for arc in self.ahead for text in self._load_at_once(arc))]
        self.inserts = [(arc, self.carried[id(arc)], 0) for arc in self.ahead if id(arc) in self.carried]
        after = [f"ldr {register}, [sp, #{offset}]" for register, offset in self.loop.saved.items()]
        after += [f"add sp, sp, #{self.loop.stack}"] if self.loop.saved else []
        self.lower = [(arc, False) for arc in self.own]
        self.upper = list(self.lower)
        branch = self.loop.branch
        while self.scalars or self.lower or self.upper or self.inserts:
            self._cycle()
        if not self.ahead:
            while self.next_product < len(self.products):
                self._cycle()
            first = [*self.text, _to(branch, AGAIN, opposite=False)]
            return Rewritten(before, first + after, [], [], _cycles(first))
        first = [*self.text, _to(branch, LAST, opposite=True)]
        last = [self._multiply(product) for product in self.products[self.next_product :]]
        self.text = []
        self.lower = [(arc, True) for arc in self.ahead]
        self.upper = list(self.lower)
        while self.lower or self.upper or self.inserts or self.next_product < len(self.products):
            self._cycle()
        return Rewritten(before, first, self.text, last + after, _cycles([*first, *self.text, "b 0"]))

    def _load_at_once(self, arc: Arc) -> list[str]:
        upper = self.carried.get(id(arc))
        if upper:
            lower = f"ldr {_d(arc.register)}, {self._address(arc.load, 0, 8)}"
            return [lower, f"ldr {upper}, {self._address(arc.load, 8, 8)}"]
        try:
            return [f"ldr {_q(arc.register)}, {self._address(arc.load, 0, 16)}"]
        except _DoesNotFit:
            upper = self.free[0]
            return [
                f"ldr {_d(arc.register)}, {self._address(arc.load, 0, 8)}",
                f"ldr {upper}, {self._address(arc.load, 8, 8)}",
                f"mov {arc.register}.d[1], {upper}",
            ]

    def _cycle(self) -> None:
        """The instructions of one cycle: at least one, or none where everything waits."""
        for attempt in (self._load_and_insert, self._product_and_more, self._insert, self._load, self._other):
            if attempt():
                return
        self.cycle += 1
        if self.cycle > _MOST_CYCLES * len(self.products):
            raise AssertionError("a loop waits for itself")

    # what may start in a cycle

    def _load_and_insert(self) -> bool:
        pending = len(self.inserts) + len(self.begun)
        if not self._can_load() or (pending >= self.waiting and not self._can_insert()):
            return False
        self._load_lower()
        if self._can_insert():
            self._put_in_place()
        self.cycle += 1
        return True

    def _product_and_more(self) -> bool:
        if not self._can_multiply():
            return False
        product = self.products[self.next_product]
        self.text.append(self._multiply(product))
        self.ready[product.sum] = self.cycle + 4
        self.next_product += 1
        if not self._fetch_upper():
            self._move_on()
        self.cycle += 1
        return True

    def _insert(self) -> bool:
        if not self._can_insert():
            return False
        self._put_in_place()
        if self._can_insert():
            self._put_in_place()
        self.cycle += 1
        return True

    def _load(self) -> bool:
        if not self._can_load():
            return False
        self._load_lower()
        self.cycle += 1
        return True

    def _other(self) -> bool:
        done = self._fetch_upper() or self._move_on()
        self.cycle += done
        return done

    # conditions and instructions

    def _can_multiply(self) -> bool:
        if self.next_product == len(self.products):
            return False
        product = self.products[self.next_product]
        return all(self._when(operand) <= self.cycle for operand in (product.left, product.right)) and (
            self.ready.get(product.sum, 0) <= self.cycle
        )

    def _when(self, operand: Operand) -> float:
        """When an operand is there; never, as long as it is not loaded."""
        if not isinstance(operand, VectorLoad):
            return 0
        arc = self.arcs_by_load[operand]
        is_there = arc in self.ahead and id(arc) not in self.carried
        return self.ready.get(f"load {id(arc)}", 0 if is_there else float("inf"))

    def _can_load(self) -> bool:
        if not self.lower:
            return False
        arc, is_next = self.lower[0]
        before = (o for o in self.arcs if o.register == arc.register and (is_next or o.last < arc.first))
        return all(other.last < self.next_product for other in before)

    def _load_lower(self) -> None:
        arc, _ = self.lower.pop(0)
        self.text.append(f"ldr {_d(arc.register)}, {self._address(arc.load, 0, 8)}")
        self.begun[id(arc)] = self.cycle
        self._join(arc)

    def _fetch_upper(self) -> bool:
        if not self.upper or not (self.free or id(self.upper[0][0]) in self.carried):
            return False
        arc, _ = self.upper.pop(0)
        register = self.carried.get(id(arc)) or self.free.pop(0)
        self.text.append(f"ldr {register}, {self._address(arc.load, 8, 8)}")
        self.fetched[id(arc)] = register, self.cycle
        self._join(arc)
        return True

    def _join(self, arc: Arc) -> None:
        if id(arc) in self.begun and id(arc) in self.fetched:
            register, cycle = self.fetched.pop(id(arc))
            ready = max(cycle + _latency("ldr x0, [x1]"), self.begun.pop(id(arc)) + _latency("ldr d0, [x1]"))
            if id(arc) not in self.carried:
                self.inserts.append((arc, register, ready))

    def _can_insert(self) -> bool:
        return bool(self.inserts) and self.inserts[0][2] <= self.cycle

    def _put_in_place(self) -> None:
        arc, register, _ = self.inserts.pop(0)
        self.text.append(f"mov {arc.register}.d[1], {register}")
        self.ready[f"load {id(arc)}"] = self.cycle + _latency("mov v0.d[1], x0")
        if id(arc) not in self.carried:
            self.free.append(register)

    def _move_on(self) -> bool:
        """The next instruction on general registers, once no load of this iteration needs the address before it."""
        if not self.scalars:
            return False
        waiting = {self.pointers[arc.load][0] for arc, is_next in (*self.lower, *self.upper) if not is_next}
        for i, instruction in enumerate(self.scalars):
            if waiting & set(instruction.writes):
                continue
            if any(_conflict(instruction, other) for other in self.scalars[:i]):
                continue
            del self.scalars[i]
            self.text.append(instruction.text)
            return True
        return False

    def _multiply(self, product: Product) -> str:
        left, right = (_register(operand, self.arcs_by_load) for operand in (product.left, product.right))
        return f"{product.mnemonic} {product.sum}.4s, {left}.4s, {right}{product.suffix}"

    def _address(self, load: VectorLoad, more: int, size: int) -> str:
        """Of a load of this iteration before its address moved on, or of the next one behind that."""
        pointer, start = self.pointers[load]
        offset = load.offset + more - start
        if not _fits(offset, size):
            raise _DoesNotFit
        return f"[{pointer}, #{offset}]"


def _fits(offset: int, size: int = 8) -> bool:
    """Whether a load of that many bytes can have the offset."""
    return offset in _UNSCALED or (0 <= offset < 4096 * size and offset % size == 0)


def _add(register: str, base: str, amount: int) -> list[str]:
    """Instructions that make `base` and a constant the address in `register`. Raises _DoesNotFit."""
    operation, high, low = ("add" if amount >= 0 else "sub"), abs(amount) >> 12, abs(amount) & 4095
    if high > 4095:
        raise _DoesNotFit
    return [
        f"{operation} {register}, {base}, #{low}",
        *([f"{operation} {register}, {register}, #{high}, lsl #12"] if high else []),
    ]


def _step_as(step: Instruction, base: str, own: str) -> Instruction:
    """What moves `base` on does the same to another register. Raises _DoesNotFit if it is no addition to it."""
    operation = step.mnemonic.removesuffix("s")
    if operation not in ("add", "sub") or step.operands[:2] != (base, base) or base in step.operands[2:]:
        raise _DoesNotFit
    return parse(f"{operation} {own}, {own}, {', '.join(step.operands[2:])}")


def _conflict(one: Instruction, other: Instruction) -> bool:
    """Whether one must stay behind the other."""
    return bool(set(one.writes) & {*other.reads, *other.writes} or set(one.reads) & set(other.writes))


def _register(operand: Operand, arcs: dict[VectorLoad, Arc]) -> str:
    return arcs[operand].register if isinstance(operand, VectorLoad) else operand.register


def _latency(text: str) -> int:
    instruction = parse(text)
    return latency(instruction, instruction.writes[0], to_accumulator=False)


def _cycles(texts: Sequence[str]) -> float:
    return cycles_of_loop([parse(text) for text in texts], warm_up=2, repeat=2)


def _to(branch: Instruction, label: str, *, opposite: bool) -> str:
    """The branch to another label, or the one that is taken where it is not."""
    mnemonic, _, condition = branch.mnemonic.partition(".")
    if opposite:
        mnemonic, condition = (mnemonic, _OPPOSITE[condition]) if condition else (_OPPOSITE[mnemonic], "")
    operands = [*branch.operands[:-1], label]
    return f"{mnemonic}{'.' if condition else ''}{condition} {', '.join(operands)}"


def _d(register: str) -> str:
    return f"d{register[1:]}"


def _q(register: str) -> str:
    return f"q{register[1:]}"
