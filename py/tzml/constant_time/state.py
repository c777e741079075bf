"""What registers and the stack hold while machine code is followed: no values, only what depends on what."""

from __future__ import annotations

from collections.abc import Iterable

from tzml.cortex_a53.instruction import FLAGS, STACK

PUBLIC, ARGUMENTS, CODE, TENSOR, SOMEWHERE, SECRET = "public", "arguments", "code", "tensor", "stack", "secret"
"""A number that no input decides; an address in the list of a kernel's arguments, in the library, in a tensor, or
at an unknown place of the stack; what depends on a tensor's numbers. A known place of the stack is a `Place`."""

Place = tuple[int, int]
"""An address on the stack: which area (each realignment of the stack begins one), and bytes from its start."""
Kind = str | Place

GRAIN = 4  # bytes of the stack that are told apart

_RANK = {kind: rank for rank, kind in enumerate((PUBLIC, ARGUMENTS, CODE, TENSOR, SOMEWHERE, SECRET))}
_OF_THE_CALLER = [f"x{i}" for i in range(19, 31)]


class MachineState:
    """What registers and the stack hold before an instruction.

    A place of the stack that nobody wrote is secret, but for what the caller put there: a kernel's ninth argument
    and those behind it are addresses of tensors.
    """

    __slots__ = ("registers", "stack")

    def __init__(self, registers: dict[str, Kind], stack: dict[Place, Kind]) -> None:
        self.registers, self.stack = registers, stack

    @staticmethod
    def of_a_call() -> MachineState:
        """Before tzml_kernel_call(number, arguments). What kernels before it left in registers is secret."""
        registers: dict[str, Kind] = dict.fromkeys([*(f"x{i}" for i in range(19)), FLAGS], SECRET)
        registers |= dict.fromkeys([f"v{i}" for i in range(32)], SECRET)
        registers |= dict.fromkeys(_OF_THE_CALLER, PUBLIC)
        return MachineState(registers | {"x0": PUBLIC, "x1": ARGUMENTS, STACK: (0, 0)}, {})

    def copy(self) -> MachineState:
        return MachineState(self.registers.copy(), self.stack.copy())

    def key(self) -> object:
        """Equal for equal states."""
        return frozenset(self.registers.items()), frozenset(self.stack.items())

    def join(self, other: MachineState) -> bool:
        """Take in what another path brings. Returns whether that changed anything."""
        changed = False
        for register, kind in other.registers.items():
            old = self.registers[register]
            if old != kind and (new := _join(old, kind)) != old:
                self.registers[register] = new
                changed = True
        for place in self.stack.keys() | other.stack.keys():
            old, kind = self.at(place), other.at(place)
            if old != kind and (new := _join(old, kind)) != old:
                self.stack[place] = new
                changed = True
        return changed

    def at(self, place: Place) -> Kind:
        """What one grain of the stack holds."""
        kind = self.stack.get(place)
        if kind is None:
            return TENSOR if place[0] == 0 and place[1] >= 0 else SECRET
        return kind

    def load(self, place: Place, size: int) -> Kind:
        """What so many bytes of the stack hold."""
        first, *others = [self.at((place[0], start)) for start in _grains(place[1], size)]
        for kind in others:
            first = _join(first, kind)
        return first

    def store(self, place: Place, size: int, kind: Kind) -> None:
        """Bytes that fill no grain leave what was in it, too."""
        for start in _grains(place[1], size):
            grain = place[0], start
            is_whole = place[1] <= start and start + GRAIN <= place[1] + size
            self.stack[grain] = kind if is_whole else _join(self.at(grain), kind)

    def store_somewhere(self, kind: Kind) -> None:
        """Anything on the stack may have changed to `kind`."""
        for place, old in self.stack.items():
            self.stack[place] = _join(old, kind)


def combine(kinds: Iterable[Kind]) -> Kind:
    """What is computed from several: an address and a number are an address of the same kind."""
    found: str = PUBLIC
    for kind in kinds:
        name = SOMEWHERE if isinstance(kind, tuple) else kind
        if _RANK[name] > _RANK[found]:
            found = name
    return found


def _join(one: Kind, other: Kind) -> Kind:
    return one if one == other else combine((one, other))


def _grains(start: int, size: int) -> range:
    return range(start // GRAIN * GRAIN, start + size, GRAIN)
