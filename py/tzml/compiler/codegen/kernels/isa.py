"""What the kernels need to know of a processor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Isa:
    """A processor's vector unit.

    `lanes` is float32 numbers a vector, `registers` vector registers. With `by_element`, a multiply can
    take one lane of a register for all lanes (AArch64's FMLA by element); without, that number is
    broadcast from memory, which x86 does for free while it loads.
    """

    name: str
    lanes: int
    registers: int
    by_element: bool


NEON = Isa("neon", lanes=4, registers=32, by_element=True)
SSE = Isa("sse", lanes=4, registers=16, by_element=False)
AVX2 = Isa("avx2", lanes=8, registers=16, by_element=False)
AVX512 = Isa("avx512", lanes=16, registers=32, by_element=False)

IN_ORDER = {"mcpu": "cortex-a55", "mattr": ["-dotprod", "-fullfp16", "-lse", "-rcpc", "-rdm"]}
"""A tuning for ARMv8.0: LLVM orders instructions as for Cortex-A55, without those that it has more.

Its model of Cortex-A53 starts more products at once than there are registers for.
"""

_X86 = {"x86-64-v3": AVX2, "haswell": AVX2, "x86-64-v4": AVX512, "skylake-avx512": AVX512, "znver4": AVX512}


def isa_of(target: dict[str, str]) -> Isa:
    """The vector unit of a TVM target, given as its dictionary."""
    if target["mtriple"].startswith("aarch64"):
        return NEON
    return _X86.get(target.get("mcpu", ""), SSE)
