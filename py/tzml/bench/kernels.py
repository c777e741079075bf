"""A bundle's kernels, called by run_plan.c as the plan says."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.bench.programs import CROSS_LIBC, Cost, compile_c, run, run_emulated, source
from tzml.bundle import Bundle, Region, Target, Tensor
from tzml.bundle.format import align

_LIBRARY = "tzml-kernels"  # its soname


class Kernels:
    """A bundle with one program, unpacked to `folder` and ready to run on `data`, an array for each input."""

    def __init__(self, bundle: Bundle, cc: str, folder: Path, data: Sequence[NDArray[Any]]) -> None:
        self.bundle, self.folder = bundle, folder
        program = bundle.program
        (folder / _LIBRARY).write_bytes(bundle.libraries[0].ree)
        arena = bytearray(bundle.memory.arena_size)
        places = []
        for port, array in zip(program.inputs, data, strict=True):
            arena[port.offset : port.offset + array.nbytes] = array.tobytes()
            places.append([port.offset, array.nbytes])
        (folder / "arena.bin").write_bytes(arena)
        np.array(places, np.uint64).tofile(folder / "inputs.bin")
        starts = self._write_weights()
        words = [len(program.calls)]
        for call in program.calls:
            words += [call.kernel, len(call.arguments)]
            for argument in call.arguments:
                weights = argument.region == Region.weights
                words += [argument.offset + (starts[argument.chunk] if weights else 0), int(weights)]
        np.array(words, np.uint64).tofile(folder / "plan.bin")
        (folder / "run_plan.o").write_bytes(_program(cc))
        compile_c(cc, ["run_plan.o", f"./{_LIBRARY}", "-Wl,-rpath,.", "-o", "run_plan"], folder)

    def _write_weights(self) -> list[int]:
        """Write all chunks one after another, as if there were enough memory. Returns where each begins."""
        starts, size = [], 0
        with (self.folder / "weights.bin").open("wb") as file:
            for chunk in self.bundle.chunks:
                starts.append(size)
                file.writelines(chunk.parts)
                file.write(bytes(align(len(chunk)) - len(chunk)))
                size += align(len(chunk))
        return starts

    def measure(self, repeat: int, *, estimated: bool = False) -> Cost:
        """The minimum CPU time of `repeat` inferences, or the instructions of one.

        With `estimated`, of AArch64 kernels, also cycles and DRAM.
        """
        if self.bundle.target == Target.aarch64:
            return run_emulated(["./run_plan", "1"], self.folder, CROSS_LIBC, estimated=estimated)
        return run(["./run_plan", str(repeat)], self.folder)

    def result(self) -> NDArray[Any]:
        """The first output, once something was measured."""
        output, offset = self.bundle.outputs()[0], self.bundle.program.outputs[0].offset
        arena = np.fromfile(self.folder / "result.bin", np.uint8)
        kind = np.dtype(output.dtype.name)
        size = int(np.prod(output.shape)) * kind.itemsize
        return arena[offset : offset + size].view(kind).reshape(output.shape)


def random_inputs(tensors: Iterable[Tensor]) -> list[NDArray[Any]]:
    """An array for each tensor, the same each time: normal ones, or all that 8 bits or unsigned ones can be."""
    random, found = np.random.default_rng(0), []
    for tensor in tensors:
        dtype = np.dtype(tensor.dtype.name)
        if dtype.kind == "u" or dtype == np.int8:
            about = np.iinfo(dtype)
            found.append(random.integers(about.min, about.max, tensor.shape, dtype, endpoint=True))
        else:
            found.append(random.standard_normal(tensor.shape).astype(dtype))
    return found


@functools.cache
def _program(cc: str) -> bytes:
    """run_plan.c as an object file; it only remains to link it with a library."""
    with tempfile.TemporaryDirectory() as folder:
        compile_c(cc, ["-c", source("run_plan.c"), f"-I{source('.')}", "-o", "run_plan.o"], Path(folder))
        return (Path(folder) / "run_plan.o").read_bytes()
