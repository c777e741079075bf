"""The memory planner never puts two living buffers in one place."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tzml.bundle import Access, Chunk, DType, Region
from tzml.bundle.format import ALIGNMENT, align
from tzml.compiler.ir.graph import Buffer, Graph, GraphCall, GraphPort, Kernel
from tzml.compiler.planning.chunks import CHUNK_SIZE
from tzml.compiler.planning.memory import lay_out


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """A chain of calls, each of which reads earlier values and constants and writes a new one."""
    sizes = st.integers(1, 5000) | st.integers(1, 50).map(lambda n: n * ALIGNMENT)
    values = [Buffer(draw(sizes)) for _ in range(draw(st.integers(1, 3)))]
    inputs = tuple(GraphPort(f"in{i}", DType.uint8, (v.size,), v) for i, v in enumerate(values))
    constants = [
        Buffer(len(data), data)
        for data in draw(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=6))
    ]
    calls = []
    for number in range(draw(st.integers(1, 12))):
        read = draw(st.lists(st.sampled_from(values + constants), max_size=4, unique=True))
        written = Buffer(draw(sizes))
        buffers = (*read, written)
        access = [Access.read] * len(read) + [Access.write]
        arguments = tuple((b.size, a) for b, a in zip(buffers, access, strict=True))
        calls.append(GraphCall(Kernel(f"k{number}", arguments), buffers))
        values.append(written)
    # some values are parts of a larger one, as a concatenation leaves them, and that is read at the end
    alone = [value for value in values if value.size % ALIGNMENT == 0 or value is values[-1]]
    parts = draw(st.lists(st.sampled_from(alone), unique=True, max_size=3)) if alone else []
    parts.sort(key=lambda value: value.size % ALIGNMENT != 0)
    if len(parts) > 1:
        whole = Buffer(sum(part.size for part in parts), parts=tuple(parts))
        written = Buffer(draw(sizes))
        kernel = Kernel("whole", ((whole.size, Access.read), (written.size, Access.write)))
        calls.append(GraphCall(kernel, (whole, written)))
        values.append(written)
    outputs = (GraphPort("out", DType.uint8, (values[-1].size,), values[-1]),)
    return Graph(inputs, outputs, tuple(calls), {})


@given(graphs())
def test_a_value_keeps_its_bytes_until_its_last_use(graph: Graph) -> None:
    layout = lay_out(graph)
    owner: dict[int, Buffer] = {}  # arena byte to the value that was written there last

    def write(buffer: Buffer) -> None:
        place = layout.places[buffer]
        assert place.offset % ALIGNMENT == 0
        assert place.offset + buffer.size <= layout.arena_size
        owner.update(dict.fromkeys(range(place.offset, place.offset + buffer.size), buffer))

    def still_there(buffer: Buffer) -> bool:
        place = layout.places[buffer]
        return all(
            owner.get(at) is piece
            for start, piece in buffer.pieces()
            for at in range(place.offset + start, place.offset + start + piece.size)
        )

    for port in graph.inputs:
        write(port.buffer)
    for call in graph.calls:
        *read, written = call.buffers
        write(written)
        assert all(still_there(buffer) for buffer in read if buffer.data is None)
    assert all(still_there(port.buffer) for port in graph.outputs)


@given(graphs(), st.integers(0, 4000), st.integers(1, 600))
def test_a_call_finds_its_constants_however_little_room_there_is(graph: Graph, budget: int, size: int) -> None:
    layout = lay_out(graph, budget, size)
    loaded: dict[int, Chunk] = {}  # what is in memory

    for call, arguments in zip(graph.calls, layout.arguments, strict=True):
        taken = {argument.chunk for argument in arguments if argument.region == Region.weights}
        for number in taken - set(loaded):
            place = layout.chunks[number]
            loaded = {other: chunk for other, chunk in loaded.items() if not chunk.overlaps(place)}
            loaded[number] = place
        assert taken <= set(loaded)
        for buffer, argument in zip(call.buffers, arguments, strict=True):
            if buffer.data is not None:
                content = layout.contents[argument.chunk].tobytes()
                assert content[argument.offset : argument.offset + argument.size] == buffer.data
    largest = max((align(len(content)) for content in layout.contents), default=0)
    assert layout.weights_size <= max(budget, largest)


def constants_in_turn(*sizes: int) -> Graph:
    """A graph of one call for each constant."""
    value = Buffer(4)
    port = GraphPort("x", DType.uint8, (4,), value)
    calls = []
    for number, size in enumerate(sizes):
        constant, written = Buffer(size, bytes([number]) * size), Buffer(4)
        kernel = Kernel(f"k{number}", ((4, Access.read), (size, Access.read), (4, Access.write)))
        calls.append(GraphCall(kernel, (value, constant, written)))
        value = written
    return Graph((port,), (GraphPort("y", DType.uint8, (4,), value),), tuple(calls), {})


def test_chunks_end_where_they_are_full() -> None:
    layout = lay_out(constants_in_turn(100_000, 200_000, 600_000, 10, 20))
    assert [len(content) for content in layout.contents] == [100_000, 200_000, 600_000, 64 + 20]
    assert layout.streamed == ()
    assert CHUNK_SIZE < 300_000


def test_as_few_bytes_as_possible_are_streamed() -> None:
    graph = constants_in_turn(64_000, 1_000_000, 64_000, 500_000, 64_000)

    def streamed(budget: int) -> list[int]:
        return [chunk.size for chunk in lay_out(graph, budget, chunk_size=1).streamed]

    assert lay_out(graph, chunk_size=1).weights_size == 1_692_032
    # the large ones have places of their own, or the window would have to be as large as they
    assert streamed(1_600_000) == [64_000, 64_000, 64_000]
    assert streamed(1_250_000) == [1_000_000, 500_000]
    assert streamed(1_000_000) == [64_000, 1_000_000, 64_000, 500_000, 64_000]
