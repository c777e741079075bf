"""Examples on either side of a limit, or with one thing wrong that only one check refuses.

Each is there because the runtime could lose a check without another example noticing: tools/mutate says what is
missing. `bundle_examples.Examples` has all of them.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

from bundle_examples import (
    ANSWER,
    BUNDLE,
    HEADER,
    IMAGE,
    MEMORY,
    ONES,
    PROGRAM,
    ROW,
    SCORE,
    WEIGHTS,
    ExampleList,
    Patcher,
    arena,
    content,
    patch,
    seal,
    section_offset,
    state,
    state_streamed,
    stateful,
    streamed,
    two_chunks_a_call,
    two_entries,
    two_libraries,
    unchecked,
    weights,
    with_memory,
    with_program,
)

from tzml.bundle import (
    Bundle,
    Call,
    Chunk,
    Content,
    Direction,
    DType,
    Library,
    Memory,
    Port,
    Program,
    Region,
    SectionType,
    Tensor,
    Worlds,
    container,
)
from tzml.bundle.container import Section
from tzml.bundle.format import align
from tzml.bundle.interface import encode_interface, interface_of
from tzml.bundle.memory import First, encode_memory
from tzml.bundle.plan import encode_plan


class Bounds(ExampleList):
    """In the order of docs/bundle.md."""

    def __init__(self) -> None:
        super().__init__()
        self.good = BUNDLE.encode()
        self.valid()
        self.container()
        self.interface()
        self.flow()
        self.memory()
        self.plan()
        self.secure_memory()
        self.calls()
        self.worlds()

    def valid(self) -> None:
        about = "state is changed between chunks that share a place"
        self.works("state-streamed", about, state_streamed(), 2 * ANSWER)
        self.works("two-libraries", "three programs and two libraries", two_libraries())
        self.works("ports-swapped", "ports in another order than the tensors", swapped(), None)
        self.works("chained", "51 numbers pass through four programs", chained(), 0.0)
        named = with_program(name=IMAGE.name)
        self.works("program-named-as-tensor", "a program and the first tensor have one name", named)
        # the third tensor is the first port, so that a table that is read too far has an offset of the first's name
        ending = with_program(inputs=(Port(2, 64), Port(0, 0)), name="no" + IMAGE.name)
        tensors = (IMAGE, SCORE, replace(IMAGE, name="other"))
        self.works("name-ends-as-tensor", "a program's name ends as a tensor's", replace(ending, tensors=tensors))

    def container(self) -> None:
        good, at = self.good, Patcher(self.good)
        row = HEADER + at.chunk * ROW
        self.add(
            "truncated-format-1", "FORMAT_OLD", "format 1, and ends within the header", patch(good, 8, "I", 1)[:100]
        )
        self.add("truncated-magic", "TRUNCATED", "ends after the magic", good[:8])
        self.add(
            "header-digest-end", "HEADER_DIGEST", "the digest's last byte", patch(good, 255, "B", good[255] ^ 1)
        )
        tag = patch(good, row + 63, "B", good[row + 63] ^ 1)
        self.add("tag-end", "SECTION_DIGEST", "a tag's last byte", seal_header(tag))
        self.add(
            "bundle-size-more",
            "SECTION_TABLE",
            "the file goes on behind its last section",
            seal(patch(good, 24, "Q", len(good) + 64) + bytes(64)),
        )
        self.add(
            "section-count-1025", "LIMIT", "section_count 1025", patch(good, 12, "II", HEADER + 1025 * ROW, 1025)
        )
        full = Memory(192, 1024 * 64, 0, tuple(Chunk(1, 64 * i) for i in range(1019)))
        sections = replace(
            BUNDLE,
            memories=(full,),
            libraries=BUNDLE.libraries,
            chunks=content(*[b"x"] * 1019),
            metadata=b"",
            notes=b"",
            programs=(replace(PROGRAM, calls=(Call(1, (arena(0), arena(128, 4))),)),),
        )
        self.works("sections-1024", "1024 sections", sections, sum(range(16)))
        odd = (Chunk(65, 0), Chunk(64, 128))
        calls = (Call(0, (arena(0), weights(0, 64, 1), arena(64))), PROGRAM.calls[1])
        self.works(
            "odd-size",
            "a section of 65 bytes before another",
            replace(
                with_program(calls=calls),
                memories=(replace(MEMORY, weights_size=192, chunks=odd),),
                chunks=content(bytes(65), WEIGHTS),
            ),
        )

    def interface(self) -> None:
        at = Patcher(self.good)
        program, tensor, output, port = 32, 64, 128, 192
        strings = port + 8

        def add(name: str, about: str, data: bytes, status: str = "INTERFACE_MALFORMED") -> None:
            self.add(name, status, about, data)

        def patched(name: str, about: str, offset: int, form: str, *values: int, status: str = "") -> None:
            add(name, about, at.section(0, offset, form, *values), status or "INTERFACE_MALFORMED")

        self.works("largest", "16 programs, 256 tensors, and 64 inputs and outputs of a program", largest(), 0.0)
        for place, name, most in (
            (8, "programs", 16),
            (12, "tensors", 256),
            (16, "ports", 2048),
            (20, "strings", 512 << 10),
        ):
            patched(f"{most}-{name}", f"{most} {name} in a small section", place, "I", most)
            patched(f"{most + 1}-{name}", f"{most + 1} {name}", place, "I", most + 1, status="LIMIT")
        raw = encode_interface(interface_of(BUNDLE.programs, BUNDLE.tensors))
        ports = patch(raw, 4, "I", len(raw) + 4)
        ports = patch(ports, 16, "I", 3)[: port + 8] + bytes(4) + raw[port + 8 :]
        add("port-over", "a port that no program has", with_section(BUNDLE, SectionType.interface, ports))
        longer = patch(raw + b"x\0", 4, "II", len(raw) + 2, 1)
        add(
            "strings-over",
            "a string that nothing has as its name",
            with_section(BUNDLE, SectionType.interface, patch(longer, 20, "I", len(raw) - strings + 2)),
        )
        add(
            "interface-over",
            "bytes behind the strings",
            with_section(BUNDLE, SectionType.interface, patch(raw + bytes(8), 4, "I", len(raw) + 8)),
        )
        nothing = patch(raw[:32], 4, "I5I", 32, 0, 0, 0, 0, 0)
        add("interface-empty", "no program and no tensor", with_section(BUNDLE, SectionType.interface, nothing))
        cut = patch(raw[:-1], 4, "I", len(raw) - 1)
        cut = patch(cut, 20, "I", len(raw) - 1 - strings)
        add("strings-cut", "the last name without its zero byte", with_section(BUNDLE, SectionType.interface, cut))
        none = replace(PROGRAM, name="")
        add("name-empty", "a name of no bytes, with its zero byte", unchecked(replace(BUNDLE, programs=(none,))))
        patched("name-gap", "a name that begins later than the one before it ends", output, "II", 12, 4)
        patched("program-name-1024", "a name of 1024 bytes past the strings", program + 4, "I", 1024)
        patched("tensor-dtype-next", "the first dtype that does not exist", tensor + 8, "I", max(DType) + 1,
                status="UNSUPPORTED")  # fmt: skip
        patched(
            "tensor-product-1",
            "dimensions whose product overflows to a size of 1",
            tensor + 16,
            "3I6xHQ",
            *[0xFFFFFFFF] * 3,
            0,
            1,
        )
        four = patch(
            patch(self.good, section_offset(self.good, 0) + tensor + 16, "3I", 1 << 30, 1, 1),
            section_offset(self.good, 0) + tensor + 48,
            "Q",
            1 << 32,
        )
        add("tensor-4-gib", "a tensor of 4 GiB, for which no arena has room", seal(four), "PLAN_MALFORMED")
        five = patch(self.good, section_offset(self.good, 0) + tensor + 8, "II3I", DType.uint8, 2, 641, 6700417, 0)
        five = patch(five, section_offset(self.good, 0) + tensor + 48, "Q", (1 << 32) + 1)
        add("tensor-4-gib-1", "a tensor of 4 GiB and a byte", seal(five))
        patched("output-flags", "an output that is an input, too", output + 56, "I", 3)
        patched("output-flags-4", "a flag that does not exist", output + 56, "I", 4)
        patched("port-huge", "an input 2^32-1", port, "I", 0xFFFFFFFF)
        patched("output-huge", "an output 2^32-1", port + 4, "I", 0xFFFFFFFF)
        self.works("dtypes", "a tensor of each dtype, and one of 8 dimensions", dtypes(), ANSWER)

    def flow(self) -> None:
        def add(name: str, about: str, bundle: Bundle) -> None:
            self.add(name, "INTERFACE_MALFORMED", about, unchecked(bundle))

        two = two_entries()
        more = Tensor("more", DType.float32, (1,), Direction.output)
        add(
            "program-without-inputs",
            "a program that takes nothing",
            replace(
                two,
                tensors=(IMAGE, SCORE, more),
                programs=(PROGRAM, replace(two.programs[1], inputs=(), outputs=(Port(2, 128),))),
            ),
        )
        add(
            "program-without-outputs",
            "a program that gives nothing",
            replace(two, programs=(PROGRAM, replace(two.programs[1], outputs=()))),
        )
        unused = replace(IMAGE, name="unused")
        moved = replace(PROGRAM, inputs=(Port(1, 0),), outputs=(Port(2, 128),))
        add(
            "tensor-unused-first",
            "the first tensor is an input that no program takes",
            replace(BUNDLE, tensors=(unused, IMAGE, SCORE), programs=(moved,)),
        )
        add(
            "tensor-unused-between",
            "a tensor without a flag that no program gives",
            replace(BUNDLE, tensors=(IMAGE, SCORE, replace(unused, direction=Direction.between))),
        )
        three = replace(BUNDLE, tensors=(IMAGE, SCORE, replace(more, name="score")), programs=(both_outputs(),))
        add("tensor-names-2", "the second and third tensor have one name", three)
        again = replace(two.programs[1], entry=2)
        add(
            "program-names-2",
            "the second and third program have one name",
            replace(two, programs=(*two.programs, again)),
        )
        product = Tensor("product", DType.float32, (1, 4, 4))
        first = replace(
            PROGRAM, name="first", inputs=(Port(1, 0),), outputs=(Port(0, 64),), calls=PROGRAM.calls[:1]
        )
        second = replace(
            PROGRAM, name="second", inputs=(Port(0, 64),), outputs=(Port(2, 128),), calls=PROGRAM.calls[1:]
        )
        parts = replace(BUNDLE, tensors=(product, IMAGE, SCORE), programs=(first, second))
        self.works("partition-first", "the first tensor passes between the programs", parts)
        add(
            "entries-apart-first",
            "the first tensor passes between entry points",
            replace(parts, programs=(first, second, replace(second, name="third", entry=1))),
        )
        add(
            "passes-in-vain",
            "an entry point that is not the last gives a tensor that nothing takes",
            replace(parts, programs=(first, replace(second, name="third", entry=1))),
        )

    def memory(self) -> None:
        at = Patcher(self.good)

        def add(
            name: str, about: str, offset: int, form: str, *values: int, status: str = "PLAN_MALFORMED"
        ) -> None:
            self.add(name, status, about, at.section(at.memory, offset, form, *values))

        for place, name in enumerate(("arena", "weights", "state")):
            add(f"{name}-4-gib", f"{name} of 4 GiB", 32 + 8 * place, "Q", 1 << 32, status="SECURE_MEMORY")
            add(
                f"{name}-4-gib-1", f"{name} of 4 GiB and a byte", 32 + 8 * place, "Q", (1 << 32) + 1, status="LIMIT"
            )
        for place, name in ((12, "chunks"), (20, "pieces")):
            add(f"1024-{name}", f"1024 {name} in a small section", place, "I", 1024)
            add(f"1025-{name}", f"1025 {name}", place, "I", 1025, status="LIMIT")
        raw = encode_memory(MEMORY, First())
        self.add(
            "memory-over",
            "PLAN_MALFORMED",
            "bytes behind the chunks",
            with_section(BUNDLE, SectionType.memory, patch(raw + bytes(16), 4, "I", len(raw) + 16)),
        )
        turns = Patcher(streamed().encode())
        self.add(
            "chunk-second",
            "PLAN_MALFORMED",
            "the second chunk is past the memory for weights",
            turns.section(1, 64 + 16 + 8, "Q", 64),
        )
        pieces = Patcher(stateful((0, 64)).encode())
        self.add(
            "pieces-overlap",
            "PLAN_MALFORMED",
            "two pieces of state in one place",
            pieces.section(1, 64 + 32 + 8, "Q", 0),
        )
        for name, about, bundle in (
            ("weights-for-all", "four chunks, of which two and two share a place", four_chunks()),
            ("weights-offset", "weights from the middle of a chunk", weights_offset()),
            ("second-memory", "the second of two memories, with chunks and state of its own", second_memory()),
        ):
            self.works(name, about, bundle)

    def plan(self) -> None:
        at = Patcher(self.good)
        place, call = 64, 64 + 2 * 16

        def add(name: str, about: str, data: Bundle | bytes, status: str = "PLAN_MALFORMED") -> None:
            self.add(
                name,
                status,
                about,
                data if isinstance(data, bytes) else unchecked(data),
                status != "PLAN_MALFORMED",
            )

        def patched(
            name: str, about: str, offset: int, form: str, *values: int, status: str = "PLAN_MALFORMED"
        ) -> None:
            self.add(name, status, about, at.section(at.plan, offset, form, *values))

        for offset, name in ((16, "calls"), (20, "arguments")):
            patched(f"{name}-2-20", f"2^20 {name} in a small plan", offset, "I", 1 << 20)
            patched(f"{name}-2-20-1", f"2^20 + 1 {name}", offset, "I", (1 << 20) + 1, status="LIMIT")
        raw = encode_plan(PROGRAM)
        longer = patch(raw, 4, "I", len(raw) + 24)
        add("plan-over", "bytes behind the arguments", with_section(BUNDLE, SectionType.plan, longer + bytes(24)))
        ports = patch(patch(raw, 4, "I", len(raw) + 16), 12, "I", 3)[:call] + raw[place : place + 16] + raw[call:]
        add("place-over", "a place that no port has", with_section(BUNDLE, SectionType.plan, ports))
        self.works(
            "library-15",
            "a plan with the last of 16 libraries",
            replace(with_program(library=15), libraries=tuple(Library(bytes([65 + i]), b"ELF") for i in range(16))),
        )
        byte = replace(SCORE, dtype=DType.uint8)
        add(
            "output-in-weights",
            "an output of one byte in the weights",
            replace(
                BUNDLE, tensors=(IMAGE, byte), programs=(replace(PROGRAM, outputs=(Port(1, 0, Region.weights),)),)
            ),
        )
        in_state = Patcher(stateful().encode())
        add(
            "input-in-the-state", "an input in the state, which has room for it", in_state.section(2, place, "I", 3)
        )
        two_in = three_inputs()
        self.works("three-inputs", "inputs that lie side by side, the last one first", two_in, None)
        for name, about, first, second in (
            ("inputs-overlap-1", "the second input begins within the first", 64, 128),
            ("inputs-overlap-2", "the first input begins within the second", 128, 64),
            ("inputs-overlap-3", "two inputs in one place, which is not the first", 128, 128),
        ):
            ports_ = (Port(0, 0), Port(1, first), Port(2, second))
            add(name, about, replace(two_in, programs=(replace(two_in.programs[0], inputs=ports_),)))
        backwards = two_chunks_a_call()
        (program,) = backwards.programs
        crossed = Call(0, (weights(0, 64, 1), weights(), arena(64)))
        swapped_ = replace(backwards, programs=(replace(program, calls=(crossed, program.calls[1])),))
        self.works("two-chunks-backwards", "a call takes the second chunk before the first", swapped_, 4 * ANSWER)
        add(
            "chunks-meet-backwards",
            "the second chunk before the first, in one place",
            Patcher(swapped_.encode()).section(1, 64 + 16 + 8, "Q", 0),
        )
        third = replace(MEMORY, weights_size=192, chunks=(Chunk(64, 0), Chunk(64, 64), Chunk(64, 64)))
        meet = Call(0, (weights(), weights(0, 64, 1), weights(0, 64, 2)))
        add(
            "chunks-meet-later",
            "the last two of three chunks of a call share a place",
            replace(
                BUNDLE,
                programs=(replace(PROGRAM, calls=(meet,)),),
                memories=(third,),
                chunks=content(WEIGHTS, ONES, ONES),
            ),
        )
        for count, status in ((64, "KERNEL_MISMATCH"), (65, "PLAN_MALFORMED")):
            many = Call(1, (arena(0),) * count)
            add(
                f"call-{count}-arguments", f"a call that has {count} arguments", with_program(calls=(many,)), status
            )
        bad = replace(two_entries().programs[1], inputs=(Port(0, 4),))
        add("second-plan", "an input of the second program at 4", replace(two_entries(), programs=(PROGRAM, bad)))
        self.works("outputs-in-input", "no calls: outputs are parts of the input", outputs_in_input(), 0.0)
        self.works("streamed-first", "chunks that take turns as first arguments", streamed_first())

    def secure_memory(self) -> None:
        for name, about, bundle in (
            (
                "page-filled",
                "tables that fill pages to the last byte, beside a memory of the other world",
                page_filled(0),
            ),
            ("page-begun", "tables of which one byte lies on a page of its own", page_filled(1)),
            ("operands-512", "a plan whose check takes whole pages", operands(512)),
            ("operands-513", "a plan whose check takes a page for 24 bytes", operands(513)),
            ("last-program", "the largest plan of 16 is the last, and the only one in the TEE", last_program(600)),
            ("three-regions", "arena, weights and state", stateful()),
            ("arena-17-mib", "an arena of 4097 pages", with_memory(arena_size=4097 << 12)),
        ):
            at = Patcher(bundle.encode())
            if name in ("page-filled", "page-begun", "operands-512", "operands-513"):
                self.works(name, about, bundle, None)
            elif name == "last-program":
                self.add(name, "SUCCESS", about, bundle.encode(), True)
            short = at.header(64, "Q", bundle.secure_memory - 1)
            self.add(f"{name}-short", "SECURE_MEMORY", f"{about}; secure_memory lacks a byte", short)
        large = replace(BUNDLE, libraries=(Library(b"signed OP-TEE library", bytes(20000)),))
        self.works("large-library-ree", "a library of the other world, larger than all that runs", large)

    def calls(self) -> None:
        first, last = PROGRAM.calls

        def add(name: str, about: str, *calls: Call) -> None:
            self.add(name, "KERNEL_MISMATCH", about, with_program(calls=calls).encode(), True)

        self.works(
            "same-offset",
            "one offset in arena and weights at once",
            with_program(
                inputs=(Port(0, 64),),
                calls=(Call(0, (arena(64), weights(), arena(0))), Call(1, (arena(0), arena(128, 4)))),
            ),
        )
        add(
            "kernel-arity-short",
            "a call without its last argument, and nothing else wrong",
            first,
            last,
            Call(2, (arena(64),)),
        )
        add(
            "kernel-arity-long",
            "a call with an argument too many, and nothing else wrong",
            first,
            last,
            Call(1, (arena(64), arena(128, 4), arena(0))),
        )
        add(
            "kernel-size-first",
            "a first argument too small, and nothing else wrong",
            first,
            last,
            Call(1, (arena(64, 32), arena(128, 4))),
        )
        add(
            "kernel-aliases-itself",
            "a kernel adds a value to itself in place",
            first,
            last,
            Call(2, (arena(0), arena(0))),
        )
        add(
            "kernel-aliases-input",
            "the output lies on the first argument",
            first,
            last,
            Call(0, (arena(64), weights(), arena(64))),
        )
        add(
            "kernel-reads-second",
            "a call reads what nothing wrote, as its second argument",
            Call(1, (arena(0), arena(128, 4))),
            Call(0, (arena(0), arena(64), arena(128))),
        )
        end = with_program(
            inputs=(Port(0, 128),), outputs=(Port(1, 0),), calls=(Call(1, (arena(64), arena(0, 4))),)
        )
        self.add(
            "kernel-reads-first", "KERNEL_MISMATCH", "the very first argument was not written", end.encode(), True
        )
        odd = replace(IMAGE, shape=(25,))
        part = with_program(
            inputs=(Port(0, 0),), outputs=(Port(1, 128),), calls=(Call(1, (arena(64), arena(128, 4))),)
        )
        self.add(
            "kernel-reads-half",
            "KERNEL_MISMATCH",
            "a call reads what an input covers by half",
            replace(part, tensors=(odd, SCORE)).encode(),
            True,
        )
        writes = with_program(calls=(Call(2, (weights(), arena(0))), *PROGRAM.calls))
        self.add(
            "kernel-updates-weights", "KERNEL_MISMATCH", "weights would be changed in place", writes.encode(), True
        )
        second = two_entries()
        bad = replace(second.programs[1], calls=(Call(3, (arena(0), arena(128, 4))),))
        self.add(
            "second-program-kernel",
            "KERNEL_MISSING",
            "the second program calls a kernel that is not there",
            replace(second, programs=(PROGRAM, bad)).encode(),
            True,
        )
        self.add(
            "last-program-kernel",
            "KERNEL_MISSING",
            "the last of 16 programs calls a kernel that is not there",
            last_program(1, kernel=3).encode(),
            True,
        )
        other = replace(two_libraries().programs[2], kernels_digest=bytes(32))
        self.add(
            "kernels-digest-second",
            "KERNELS_CHANGED",
            "two plans of one library name different digests",
            replace(two_libraries(), programs=(*two_libraries().programs[:2], other)).encode(),
            True,
        )

    def worlds(self) -> None:
        """What a world reads, and what it leaves to the other one."""

        def add(name: str, about: str, data: bytes, status: str = "PLAN_MALFORMED") -> None:
            self.add(name, status, about, data, status == "KERNELS_ABSENT")

        plain = replace(MEMORY, weights_size=0, chunks=())
        total = replace(PROGRAM, calls=(Call(1, (arena(0), arena(128, 4))),))
        alone = replace(BUNDLE, programs=(total,), memories=(plain,), chunks=())
        add(
            "memory-for-fewer",
            "a program is for more worlds than its memory",
            unchecked(replace(alone, memories=(replace(plain, worlds=Worlds.tee),))),
        )
        other = replace(total, name="other", entry=1, worlds=Worlds.tee)
        add(
            "memory-for-fewer-first",
            "the first of two programs is for more worlds than their memory",
            unchecked(replace(alone, programs=(total, other), memories=(replace(plain, worlds=Worlds.tee),))),
        )
        apart = replace(
            alone,
            programs=(replace(total, worlds=Worlds.tee), replace(other, worlds=Worlds.ree)),
            memories=(replace(plain, worlds=Worlds.tee), replace(plain, worlds=Worlds.ree)),
        )
        self.works("two-memories", "a memory for each world", apart, sum(range(16)))
        add(
            "two-memories-in-one",
            "the second memory is for both worlds",
            unchecked(replace(apart, memories=(apart.memories[0], plain))),
        )
        ree = Patcher(apart.encode()).section(0, 32 + 12, "I", Worlds.ree)
        add("memory-in-vain", "no program works on the TEE's memory", Patcher(ree).row(3, 8, "B", Worlds.ree))
        flat = replace(apart, tensors=(replace(IMAGE, shape=(16,)), SCORE)).encode()
        ree = Patcher(flat).section(0, 32 + 12, "I", Worlds.ree)
        add(
            "memory-in-vain-flat",
            "the same, and the first tensor has one dimension",
            Patcher(ree).row(3, 8, "B", Worlds.ree),
        )
        add(
            "memory-for-both",
            "the TEE runs no program, although the memory is for both worlds",
            replace(alone, programs=(replace(total, worlds=Worlds.ree),)).encode(),
            "KERNELS_ABSENT",
        )
        add("chunks-mixed", "chunks of two memories take turns", chunks_mixed())
        add(
            "piece-worlds",
            "a piece of state for fewer worlds than its memory",
            Patcher(stateful().encode()).row(7, 8, "B", 1),
        )
        add("chunk-over", "a weights section that no memory has", with_more_chunks())


def swapped() -> Bundle:
    """Takes step, then image; gives image * step + step as sum, and the sum of image * step as score."""
    tensors = (
        IMAGE,
        Tensor("step", DType.float32, (16,), Direction.input),
        SCORE,
        Tensor("sum", DType.float32, (16,), Direction.output),
    )
    calls = (
        Call(0, (arena(64), arena(0), arena(128))),
        Call(1, (arena(128), arena(192, 4))),
        Call(2, (arena(128), arena(0))),
    )
    program = replace(PROGRAM, inputs=(Port(1, 0), Port(0, 64)), outputs=(Port(3, 128), Port(2, 192)), calls=calls)
    return replace(BUNDLE, tensors=tensors, programs=(program,), memories=(Memory(arena_size=256),), chunks=())


def both_outputs() -> Program:
    return replace(PROGRAM, outputs=(*PROGRAM.outputs, Port(2, 128)))


def largest() -> Bundle:
    """Two programs with 64 inputs and outputs, and 14 more; each output lies on an input."""
    number = Tensor("", DType.float32, (1,))

    def side(name: str, direction: Direction) -> list[Tensor]:
        return [replace(number, name=f"{name}{i}", direction=direction) for i in range(64)]

    tensors = (
        *side("a", Direction.input),
        *side("b", Direction.output),
        *side("c", Direction.input),
        *side("d", Direction.output),
    )

    def program(entry: int, inputs: int, outputs: int, count: int) -> Program:
        return replace(
            PROGRAM,
            name=f"p{entry}",
            entry=entry,
            calls=(),
            inputs=tuple(Port(inputs + i, 64 * i) for i in range(count)),
            outputs=tuple(Port(outputs + i, 64 * i) for i in range(count)),
        )

    programs = (
        program(0, 0, 64, 64),
        program(1, 128, 192, 64),
        *(program(2 + i, 128 + i, 192 + 8 * (i % 8), 1) for i in range(14)),
    )
    return replace(BUNDLE, tensors=tensors, programs=programs, memories=(Memory(arena_size=64 * 64),), chunks=())


def chained() -> Bundle:
    """Four programs of one entry point, of which each passes 51 numbers to the next."""
    number = Tensor("", DType.float32, (1,))
    ends = (Direction.input, Direction.between, Direction.between, Direction.between, Direction.output)
    tensors = [
        replace(number, name=f"{stage}-{i}", direction=way) for stage, way in enumerate(ends) for i in range(51)
    ]

    def ports(stage: int) -> tuple[Port, ...]:
        return tuple(Port(51 * stage + i, 64 * i) for i in range(51))

    programs = tuple(
        replace(PROGRAM, name=f"p{stage}", calls=(), inputs=ports(stage), outputs=ports(stage + 1))
        for stage in range(len(ends) - 1)
    )
    memory = Memory(arena_size=51 * 64)
    return replace(BUNDLE, tensors=tuple(tensors), programs=programs, memories=(memory,), chunks=())


def dtypes() -> Bundle:
    """The model, with more inputs that no call takes: one of each dtype."""
    more = [Tensor(dtype.name, dtype, (3,), Direction.input) for dtype in DType]
    image = replace(IMAGE, shape=(1, 1, 1, 1, 1, 1, 4, 4))
    inputs = (Port(0, 0), *(Port(2 + i, 192 + 64 * i) for i in range(len(more))))
    return replace(
        BUNDLE,
        tensors=(image, SCORE, *more),
        programs=(replace(PROGRAM, inputs=inputs),),
        memories=(replace(MEMORY, arena_size=192 + 64 * len(more)),),
    )


def four_chunks() -> Bundle:
    """The input times the third chunk; the others are ones."""
    calls = (
        Call(0, (arena(0), weights(0, 64, 0), arena(64))),
        Call(0, (arena(64), weights(0, 64, 1), arena(128))),
        Call(0, (arena(128), weights(0, 64, 2), arena(64))),
        Call(0, (arena(64), weights(0, 64, 3), arena(128))),
        Call(1, (arena(128), arena(192, 4))),
    )
    chunks = (Chunk(64, 0), Chunk(64, 0), Chunk(64, 64), Chunk(64, 64))
    return replace(
        BUNDLE,
        programs=(replace(PROGRAM, outputs=(Port(1, 192),), calls=calls),),
        memories=(Memory(arena_size=256, weights_size=128, chunks=chunks),),
        chunks=content(ONES, ONES, WEIGHTS, ONES),
    )


def weights_offset() -> Bundle:
    calls = (Call(0, (arena(0), weights(64), arena(64))), PROGRAM.calls[1])
    memory = replace(MEMORY, weights_size=192, chunks=(Chunk(64, 0), Chunk(128, 64)))
    calls = (Call(0, (arena(0), weights(64, 64, 1), arena(64))), PROGRAM.calls[1])
    return replace(with_program(calls=calls), memories=(memory,), chunks=content(bytes(64), bytes(64) + WEIGHTS))


def second_memory() -> Bundle:
    """The TEE's memory comes second: its chunk is number 2, and its piece of state number 1."""
    first = Memory(192, 128, 64, (Chunk(64, 0), Chunk(64, 64)), (Chunk(64, 0),), Worlds.ree)
    second = Memory(192, 64, 64, (Chunk(64, 0),), (Chunk(64, 0),), Worlds.tee)
    calls = (
        Call(0, (arena(0), weights(), arena(64))),
        Call(0, (arena(64), state(), arena(0))),
        Call(1, (arena(0), arena(128, 4))),
    )
    other = replace(PROGRAM, name="other", entry=1, worlds=Worlds.ree)
    return replace(
        BUNDLE,
        programs=(replace(PROGRAM, worlds=Worlds.tee, calls=calls), other),
        memories=(first, second),
        chunks=content(bytes(64), bytes(64), WEIGHTS),
        pieces=content(bytes(64), ONES),
    )


def three_inputs() -> Bundle:
    tensors = (
        IMAGE,
        Tensor("longer", DType.uint8, (128,), Direction.input),
        Tensor("last", DType.uint8, (128,), Direction.input),
        SCORE,
    )
    program = replace(
        PROGRAM,
        inputs=(Port(0, 128), Port(1, 192), Port(2, 0)),
        outputs=(Port(3, 320),),
        calls=(Call(1, (arena(0), arena(320, 4))),),
    )
    return replace(BUNDLE, tensors=tensors, programs=(program,), memories=(Memory(arena_size=384),), chunks=())


def outputs_in_input() -> Bundle:
    """Four outputs of one number each, at places of the input: all ends of operands differ."""
    image = replace(IMAGE, shape=(4, 32))
    outputs = [Tensor(f"part{i}", DType.float32, (1 + i,), Direction.output) for i in range(7)]
    program = replace(PROGRAM, inputs=(Port(0, 0),), outputs=tuple(Port(1 + i, 64 * i) for i in range(7)), calls=())
    return replace(
        BUNDLE, tensors=(image, *outputs), programs=(program,), memories=(Memory(arena_size=512),), chunks=()
    )


def streamed_first() -> Bundle:
    """As `streamed`, but kernels take the chunk first."""
    turns = (Call(0, (weights(), arena(0), arena(64))), Call(0, (weights(0, 64, 1), arena(64), arena(128))))
    bundle = streamed()
    return replace(bundle, programs=(replace(bundle.programs[0], calls=(*turns, bundle.programs[0].calls[-1])),))


def page_filled(more: int) -> Bundle:
    """The TEE's tables and the byte for each of its chunks take whole pages, and `more` bytes."""
    count = 64 + more
    own = Memory(192, 64, 0, tuple(Chunk(64, 0) for _ in range(count)), worlds=Worlds.tee)
    other = Memory(192, 64, 0, tuple(Chunk(64, 0) for _ in range(70)), worlds=Worlds.ree)
    programs = (replace(PROGRAM, worlds=Worlds.tee), replace(PROGRAM, name="other", entry=1, worlds=Worlds.ree))
    bundle = replace(
        BUNDLE, programs=programs, memories=(own, other), chunks=content(WEIGHTS, *[ONES] * (count - 1 + 70))
    )
    kinds = (SectionType.memory, SectionType.plan)
    others = sum(align(len(s.content)) for s in bundle.sections() if s.type in kinds and s.worlds & Worlds.tee)
    interface = len(bundle.sections()[0].content)
    missing = -(interface + others + 64) % 4096
    # longer names fill what is missing
    names = [part * "x" for part in (min(missing, 1000), min(max(missing - 1000, 0), 1000), max(missing - 2000, 0))]
    tensors = (replace(IMAGE, name="image" + names[0]), replace(SCORE, name="score" + names[1]))
    programs = (programs[0], replace(programs[1], name="other" + names[2][:1000]))
    return replace(bundle, tensors=tensors, programs=programs)


def operands(count: int) -> Bundle:
    """A program with so many ports and arguments, which adds up the input again and again."""
    calls = [Call(1, (arena(0), arena(128, 4)))] * ((count - 2) // 2)
    if count % 2:
        calls[-2:] = [Call(0, (arena(0), weights(), arena(64)))]
        calls += [Call(1, (arena(64), arena(128, 4)))]
    return with_program(calls=tuple(calls))


def last_program(calls: int, kernel: int = 1) -> Bundle:
    """Sixteen entry points, of which the TEE runs only the last."""
    memory = Memory(arena_size=192)
    one = replace(PROGRAM, calls=(Call(1, (arena(0), arena(128, 4))),), worlds=Worlds.ree)
    last = replace(
        one, name="p15", entry=15, worlds=Worlds.tee, calls=(Call(kernel, one.calls[0].arguments),) * calls
    )
    return replace(
        BUNDLE,
        programs=(*(replace(one, name=f"p{i}", entry=i) for i in range(15)), last),
        memories=(replace(memory, worlds=Worlds.ree), replace(memory, worlds=Worlds.tee)),
        chunks=(),
    )


def chunks_mixed() -> bytes:
    """Two memories, of which the first has the chunks 0 and 2."""
    first = replace(MEMORY, weights_size=128, chunks=(Chunk(64, 0), Chunk(64, 64)), worlds=Worlds.tee)
    second = replace(MEMORY, worlds=Worlds.ree)
    programs = (replace(PROGRAM, worlds=Worlds.tee), replace(PROGRAM, name="other", entry=1, worlds=Worlds.ree))
    bundle = replace(BUNDLE, programs=programs, memories=(first, second), chunks=content(WEIGHTS, ONES, ONES))
    data = bundle.encode()
    row = next(s for s, section in enumerate(bundle.sections()) if section.type == SectionType.weights)
    data = patch(data, HEADER + (row + 1) * ROW + 8, "B", Worlds.ree)
    data = patch(data, HEADER + (row + 2) * ROW + 8, "B", Worlds.tee)
    return Patcher(data).section(2, 8, "I", 1)


def with_more_chunks() -> bytes:
    """The bundle with a second weights section."""
    return container.encode(
        BUNDLE.header(), [*BUNDLE.sections(), Section(SectionType.weights, Content((WEIGHTS,)), 1)]
    )


def with_section(bundle: Bundle, kind: SectionType, data: bytes) -> bytes:
    """The bundle with other bytes as its first section of that type."""
    sections = bundle.sections()
    at = next(i for i, section in enumerate(sections) if section.type == kind)
    sections[at] = replace(sections[at], content=Content((data,)))
    return container.encode(bundle.header(), sections)


def seal_header(data: bytes) -> bytes:
    """Make only the header's digest right again."""
    (size,) = struct.unpack_from("<I", data, 12)
    return patch(data, 224, "32s", hashlib.sha256(data[:224] + bytes(96) + data[HEADER:size]).digest())
