"""The layout of a model's memory, call by call, as numbers and as a picture (SVG)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from tzml.bundle import Bundle, Chunk, Memory, Program, Region
from tzml.bundle.streaming import loads_by_call


@dataclass(frozen=True)
class Held:
    """A block of the arena or a chunk of weights that is in memory from call `first` to call `last`.

    `start` and `size` are in bytes; `what` describes it.
    """

    first: int
    last: int
    start: int
    size: int
    what: str


@dataclass(frozen=True)
class MemoryMap:
    """Descriptions of the calls, and the contents of the arena and of the memory for weights.

    `loads` has, for each call, the chunks that it loads in every inference after the first.
    """

    calls: tuple[str, ...]
    arena: tuple[Held, ...]
    weights: tuple[Held, ...]
    loads: tuple[tuple[int, ...], ...]

    def arena_during(self, call: int) -> int:
        """Bytes of the arena that are in use during this call."""
        return sum(held.size for held in self.arena if held.first <= call <= held.last)


def memory_map(bundle: Bundle, number: int = 0) -> MemoryMap:
    """The memory map of a program. If the compiler's notes are missing, calls are named by their kernels."""
    program = bundle.programs[number]
    memory = bundle.memory_of(program)
    about = json.loads(bundle.notes or b"{}").get("programs", {}).get(program.name, {})
    names = about.get("calls", [])
    if len(names) != len(program.calls):
        names = [f"kernel {call.kernel}" for call in program.calls]
    arena = [Held(f, t, start, size, _value(f, names)) for f, t, start, size in about.get("arena", [])]
    loads = loads_by_call(program, memory)
    weights = tuple(_chunks(program, memory, loads))
    return MemoryMap(tuple(names), tuple(arena), weights, tuple(map(tuple, loads)))


def _value(first: int, names: list[str]) -> str:
    return "input" if first < 0 else f"result of {first}: {names[first]}"


def _chunks(program: Program, memory: Memory, loads: list[list[int]]) -> Iterator[Held]:
    """Each chunk, from the call that loads it to the last call that uses it; from first to last if it stays."""
    chunks = memory.chunks
    moved = {number for numbers in loads for number in numbers}
    last = len(program.calls) - 1
    for number, chunk in enumerate(chunks):
        if number not in moved:
            yield Held(0, last, chunk.offset, chunk.size, f"chunk {number}, stays")
    held: dict[int, tuple[int, int]] = {}  # first and last call
    for index, (call, missing) in enumerate(zip(program.calls, loads, strict=True)):
        taken = {a.chunk for a in call.arguments if a.region == Region.weights}
        for number in missing:
            for other in [o for o in held if chunks[o].overlaps(chunks[number])]:
                yield _loaded(chunks[other], other, held.pop(other))
        for number in taken & moved:
            held[number] = (held[number][0] if number in held else index, index)
    for number, calls in held.items():
        yield _loaded(chunks[number], number, calls)


def _loaded(chunk: Chunk, number: int, calls: tuple[int, int]) -> Held:
    return Held(*calls, chunk.offset, chunk.size, f"chunk {number}, loaded for call {calls[0]}")


# The picture

# in the picture's pixels: its width, the room at its sides and above, and between two regions
_WIDTH, _LEFT, _RIGHT, _TOP, _GAP = 1200, 90, 24, 144, 40
# the arena's height; that of the memory for weights is to scale with it, but within limits
_HEIGHT, _LEAST_HEIGHT = 360, 60
# calls that can be named below without one name covering the next, and the height for that; otherwise for numbers
_NAMED, _NAMES_HEIGHT, _NUMBERS_HEIGHT = 80, 215, 24
_NUMBERED = 40  # calls that are numbered at most, where there are too many for names
_COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#76b7b2", "#edc948", "#e15759", "#9c755f")
_STAYS, _STREAMED = "#bab0ac", "#4e79a7"
_LEGEND = (
    ("#f28e2b", "a result in the arena, labelled with its call (the colours only tell neighbours apart)"),
    (_STAYS, "weights that stay"),
    (_STREAMED, "weights loaded in each inference"),
)


def picture(bundle: Bundle, title: str, number: int = 0) -> str:
    """A program's map as SVG: calls from left to right, addresses from top to bottom, details as tooltips."""
    memory = memory_map(bundle, number)
    sizes = bundle.memory_of(bundle.programs[number])
    arena_height = _HEIGHT
    weights_height = 0
    if sizes.weights_size:
        weights_height = min(_HEIGHT, max(_LEAST_HEIGHT, arena_height * sizes.weights_size // sizes.arena_size))
    labels = _NAMES_HEIGHT if len(memory.calls) <= _NAMED else _NUMBERS_HEIGHT
    height = _TOP + arena_height + (_GAP + weights_height if weights_height else 0) + labels
    step = (_WIDTH - _LEFT - _RIGHT) / max(1, len(memory.calls))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="12" fill="#222">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="24" font-size="16" font-weight="600">{escape(title)}</text>',
        f'<text x="{_LEFT}" y="46" fill="#555">secure memory {_size(bundle.secure_memory)} · '
        f"arena {_size(sizes.arena_size)} · memory for weights {_size(sizes.weights_size)} · "
        f"weights {_size(sum(chunk.size for chunk in sizes.chunks))}, of which "
        f"{_size(sum(sizes.chunks[n].size for numbers in memory.loads for n in numbers))} "
        "are loaded in each inference</text>",
    ]
    lines += [*_shares(bundle, sizes), *_legend()]
    colours = [_COLOURS[max(0, held.first + 1) % len(_COLOURS)] for held in memory.arena]
    lines += _panel("arena", sizes.arena_size, _TOP, arena_height, step, memory.arena, colours)
    bottom = _TOP + arena_height
    if weights_height:
        colours = [_STAYS if "stays" in held.what else _STREAMED for held in memory.weights]
        lines += _panel("weights", sizes.weights_size, bottom + _GAP, weights_height, step, memory.weights, colours)
        bottom += _GAP + weights_height
    lines += _call_labels(memory.calls, bottom, step)
    return "\n".join([*lines, "</svg>", ""])


def _shares(bundle: Bundle, sizes: Memory) -> list[str]:
    """A bar of the secure memory that the model takes, with what takes it."""
    parts = [("arena", sizes.arena_size, "#59a14f"), ("memory for weights", sizes.weights_size, _STREAMED)]
    parts += [("state", sizes.state_size, "#b07aa1")]
    rest = bundle.mapped_memory - sum(size for _, size, _ in parts)
    parts += [("header and tables", max(0, rest), _STAYS), ("TA and its kernels", bundle.code_memory, "#e15759")]
    width, x = _WIDTH - _LEFT - _RIGHT, float(_LEFT)
    lines = [f'<text x="{_LEFT - 8}" y="78" text-anchor="end" font-weight="600">secure</text>']
    total = sum(size for _, size, _ in parts) or 1
    for name, size, colour in parts:
        if not size:
            continue
        part = width * size / total
        label = f"{name} {_size(size)}, {size / total:.0%}"
        lines.append(
            f'<rect x="{x:.2f}" y="62" width="{part:.2f}" height="24" fill="{colour}" stroke="#fff">'
            f"<title>{label}</title></rect>"
        )
        shown = next((text for text in (label, name) if 6.5 * len(text) < part), "")
        lines.append(f'<text x="{x + 5:.2f}" y="78" fill="#fff" font-size="11">{shown}</text>')
        x += part
    return lines


def _legend() -> list[str]:
    lines, x = [], float(_LEFT)
    for colour, what in _LEGEND:
        lines.append(f'<rect x="{x:.0f}" y="102" width="12" height="12" fill="{colour}" fill-opacity="0.85"/>')
        lines.append(f'<text x="{x + 18:.0f}" y="112" font-size="11" fill="#333">{what}</text>')
        x += 40 + 5.8 * len(what)
    axis = "calls of kernels, from left to right; addresses in bytes, from top to bottom"
    lines.append(f'<text x="{_LEFT}" y="134" font-size="11" fill="#555">{axis}</text>')
    return lines


def _label(held: Held, x: float, y: float, width: float, height: float) -> list[str]:
    """What a box is, in few words, if they fit into it."""
    text = held.what.partition(",")[0].partition(":")[0].removeprefix("result of ")
    if 6.5 * len(text) + 4 > width or height < 13:
        return []
    return [f'<text x="{x + 3:.2f}" y="{y + 11:.2f}" fill="#111" font-size="11">{escape(text)}</text>']


def _panel(
    name: str, size: int, top: int, height: int, step: float, helds: tuple[Held, ...], colours: list[str]
) -> list[str]:
    """One region of memory: a frame, its scale, and a box for everything in it."""
    width = _WIDTH - _LEFT - _RIGHT
    lines = [
        f'<rect x="{_LEFT}" y="{top}" width="{width}" height="{height}" fill="#f4f4f4" stroke="#999"/>',
        f'<text x="{_LEFT - 8}" y="{top + 10}" text-anchor="end" fill="#555">0</text>',
        f'<text x="{_LEFT - 8}" y="{top + height}" text-anchor="end" fill="#555">{_size(size)}</text>',
        f'<text x="{_LEFT - 8}" y="{top + height / 2}" text-anchor="end" font-weight="600">{name}</text>',
    ]
    for held, colour in zip(helds, colours, strict=True):
        first, last = max(0, held.first), min(held.last + 1, round(width / step))
        lines.append(
            f'<rect x="{_LEFT + first * step:.2f}" y="{top + height * held.start / size:.2f}" '
            f'width="{max(0.5, (last - first) * step):.2f}" height="{max(0.5, height * held.size / size):.2f}" '
            f'fill="{colour}" fill-opacity="0.85" stroke="#fff" stroke-width="0.5">'
            f"<title>{escape(held.what)}, {held.size:,} bytes at {held.start:,}</title></rect>"
        )
        x, y = _LEFT + first * step, top + height * held.start / size
        lines += _label(held, x, y, (last - first) * step, height * held.size / size)
    return lines


def _call_labels(calls: tuple[str, ...], top: int, step: float) -> list[str]:
    """The name of each call, written from top to bottom; only numbers if there are too many calls."""
    lines = [f'<text x="{_LEFT - 8}" y="{top + 16}" text-anchor="end" font-weight="600">call</text>']
    every = 1 if len(calls) <= _NAMED else -(-len(calls) // _NUMBERED)
    for index, call in enumerate(calls):
        x = _LEFT + (index + 0.5) * step
        if every > 1:
            if index % every == 0:
                lines.append(f'<text x="{x:.2f}" y="{top + 16}" text-anchor="middle" fill="#555">{index}</text>')
            continue
        name = call if len(call) <= 30 else call[:29] + "…"
        lines.append(
            f'<text transform="translate({x + 4:.2f} {top + 8}) rotate(90)" font-size="11" fill="#333">'
            f"{index} {escape(name)}<title>{escape(call)}</title></text>"
        )
    return lines


def _size(size: int) -> str:
    """A size in binary units."""
    for unit, factor in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.2f} {unit}"
    return f"{size} bytes"
