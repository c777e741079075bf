"""The memory planner never puts two living buffers in one place."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tzml.bundle import Access, DType
from tzml.bundle.format import ALIGNMENT
from tzml.compiler.graph import Buffer, Call, Graph, Kernel, Port
from tzml.compiler.memory import CHUNK_SIZE, lay_out


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """A chain of calls, each of which reads earlier values and constants and writes a new one."""
    sizes = st.integers(1, 5000)
    values = [Buffer(draw(sizes)) for _ in range(draw(st.integers(1, 3)))]
    inputs = tuple(Port(f"in{i}", DType.uint8, (v.size,), v) for i, v in enumerate(values))
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
        calls.append(Call(Kernel(f"k{number}", arguments), buffers))
        values.append(written)
    outputs = (Port("out", DType.uint8, (values[-1].size,), values[-1]),)
    return Graph(inputs, outputs, tuple(calls), b"")


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
        return all(owner.get(at) is buffer for at in range(place.offset, place.offset + buffer.size))

    for port in graph.inputs:
        write(port.buffer)
    for call in graph.calls:
        *read, written = call.buffers
        write(written)
        assert all(still_there(buffer) for buffer in read if buffer.data is None)
    assert all(still_there(port.buffer) for port in graph.outputs)


@given(graphs())
def test_constants_lie_in_the_chunks_as_they_are(graph: Graph) -> None:
    layout = lay_out(graph)
    for buffer, place in layout.places.items():
        if buffer.data is not None:
            assert layout.chunks[place.chunk][place.offset : place.offset + place.size] == buffer.data


def test_chunks_end_where_they_are_full() -> None:
    constants = [Buffer(size, bytes([i]) * size) for i, size in enumerate([100_000, 200_000, 600_000, 10])]
    written = Buffer(4)
    kernel = Kernel("k", (*((b.size, Access.read) for b in constants), (4, Access.write)))
    port = Port("x", DType.uint8, (4,), written)
    layout = lay_out(Graph((), (port,), (Call(kernel, (*constants, written)),), b""))
    assert [len(chunk) for chunk in layout.chunks] == [100_000, 200_000, 600_000, 10]
    assert CHUNK_SIZE < 300_000
