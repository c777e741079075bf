"""A64 instructions, read from the text that LLVM and objdump write: which registers, and what kind of work.

Syntax: Arm, "Arm Architecture Reference Manual for A-profile", C1.2. Only what kernels and the runtimes they are
compared with contain is told apart; `Instruction.is_known` is false for everything else.
"""

from __future__ import annotations

import enum
import functools
import re
from dataclasses import dataclass

FLAGS = "flags"
STACK = "sp"


class Work(enum.IntEnum):
    """What an instruction occupies in the core."""

    ALU = enum.auto()
    MULTIPLY = enum.auto()
    BRANCH = enum.auto()
    VECTOR_128 = enum.auto()
    VECTOR_64 = enum.auto()
    DIVIDE = enum.auto()
    INSERT = enum.auto()
    TO_GENERAL = enum.auto()
    LOAD_X = enum.auto()
    LOAD_XX = enum.auto()
    LOAD_D = enum.auto()
    LOAD_DD = enum.auto()
    LOAD_Q = enum.auto()
    LOAD_QQ = enum.auto()
    LOAD_REPEATED = enum.auto()
    LOAD_LANE = enum.auto()
    LOAD_STRUCTURE = enum.auto()
    STORE_X = enum.auto()
    STORE_V = enum.auto()
    STORE_QQ = enum.auto()
    STORE_STRUCTURE = enum.auto()
    PREFETCH = enum.auto()


@dataclass(frozen=True)
class Instruction:
    """`reads` and `writes` name registers x0 to x30, sp, v0 to v31 and FLAGS; the zero register is none.

    `accumulator` is the register that a multiply-accumulate adds to; it is among both. `updated` is the address
    register that a load or store changes. `size` is the number of 64-bit beats of a LOAD_STRUCTURE or
    STORE_STRUCTURE.
    """

    text: str
    mnemonic: str
    operands: tuple[str, ...]
    kind: Work
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    accumulator: str | None = None
    updated: str | None = None
    size: int = 1
    is_known: bool = True


_REGISTER = re.compile(r"\b(?:[xw](\d+)|(w?sp)|[qdshbv](\d+))\b")
_LAST_COMMENT = re.compile(r"\s*(?://|\s;).*$")
_ELEMENT = re.compile(r"v\d+\.[bhsd]\[\d+\]$")

_SETS_FLAGS = {"adds", "subs", "ands", "bics", "negs", "adcs", "sbcs", "cmp", "cmn", "tst", "ccmp", "ccmn"}
_SETS_FLAGS |= {"fcmp", "fcmpe", "fccmp", "fccmpe"}
_WRITES_FLAGS_ONLY = {"cmp", "cmn", "tst", "ccmp", "ccmn", "fcmp", "fcmpe", "fccmp", "fccmpe"}
_READS_FLAGS = {"csel", "csinc", "csinv", "csneg", "cset", "csetm", "cinc", "cinv", "cneg", "ccmp", "ccmn", "adc"}
_READS_FLAGS |= {"sbc", "adcs", "sbcs", "fcsel", "fccmp", "fccmpe"}
_INTEGER = {"add", "sub", "adds", "subs", "and", "ands", "bic", "bics", "orr", "orn", "eor", "eon", "mov", "mvn"}
_INTEGER |= {"movz", "movn", "movk", "neg", "negs", "lsl", "lsr", "asr", "ror", "ubfx", "sbfx", "ubfiz", "sbfiz"}
_INTEGER |= {"bfi", "bfxil", "extr", "sxtw", "sxth", "sxtb", "uxtw", "uxth", "uxtb", "adr", "adrp", "clz", "rev"}
_INTEGER |= {"rbit", "adc", "sbc", "adcs", "sbcs", "csel", "csinc", "csinv", "csneg", "cset", "csetm", "cinc"}
_INTEGER |= {"cinv", "cneg", "cmp", "cmn", "tst", "ccmp", "ccmn", "nop"}
_MULTIPLIES = {"mul", "madd", "msub", "mneg", "smull", "umull", "smaddl", "umaddl", "smsubl", "umsubl", "smulh"}
_MULTIPLIES |= {"umulh", "sdiv", "udiv"}
_MERGES = {"movk", "bfi", "bfxil"}
"""Of general registers: what they do not write of their first operand stays."""
_ACCUMULATES = {"fmla", "fmls", "mla", "mls", "smlal", "smlal2", "umlal", "umlal2", "smlsl", "smlsl2", "sadalp"}
_ACCUMULATES |= {"uadalp", "sdot", "udot", "bit", "bif", "bsl", "saba", "uaba", "sabal", "uabal", "fmlal"}
_ACCUMULATES |= {"ssra", "usra", "srsra", "ursra", "sli", "sri", "tbx"}
_NARROWS_INTO_HIGH = {"xtn2", "sqxtn2", "uqxtn2", "sqxtun2", "fcvtn2", "shrn2", "rshrn2", "sqrshrn2", "sqshrn2"}
_NARROWS_INTO_HIGH |= {"addhn2", "subhn2", "raddhn2", "rsubhn2", "uqshrn2", "uqrshrn2", "sqshrun2", "sqrshrun2"}
_VECTOR = {"fadd", "fsub", "fmul", "fmin", "fmax", "fminnm", "fmaxnm", "fneg", "fabs", "frintn", "frintm", "frintp"}
_VECTOR |= {"frintz", "fcvtns", "fcvtzs", "fcvtzu", "scvtf", "ucvtf", "fcvtn", "fcvtl", "fcvtl2", "movi", "mvni"}
_VECTOR |= {"dup", "zip1", "zip2", "uzp1", "uzp2", "trn1", "trn2", "ext", "rev64", "rev32", "smull2"}
_VECTOR |= {"smax", "smin"}
_VECTOR |= {"umax", "umin", "sxtl", "sxtl2", "uxtl", "uxtl2", "sshll", "sshll2", "ushll", "ushll2", "shl", "sshr"}
_VECTOR |= {"ushr", "xtn", "sqxtn", "sqxtun", "uqxtn", "fcmgt", "fcmge", "fcmeq", "cmgt", "cmge", "cmeq", "fmadd"}
_VECTOR |= {"fmsub", "fnmadd", "fnmsub", "fcsel", "fcmp", "fcmpe", "faddp", "addp", "addv", "fmaxv", "fminv"}
_VECTOR |= {"fdiv", "fsqrt", "fmov", "umull2", "saddw", "saddw2", "saddl", "saddl2", "ssubl", "ssubl2", "not"}
_VECTOR |= {"fcvtms", "fcvtmu", "fcvtps", "fcvtpu", "fcvtas", "fcvtau", "fcvtnu", "fcvt", "frinti", "frinta"}
_VECTOR |= {"frintx", "fnmul", "fabd", "fmulx", "facge", "facgt", "fcmle", "fcmlt", "fccmp", "fccmpe", "fmaxp"}
_VECTOR |= {"fminp", "fmaxnmp", "fminnmp", "fmaxnmv", "fminnmv", "frecpe", "frecps", "frsqrte", "frsqrts", "abs"}
_VECTOR |= {"neg", "cls", "cnt", "rev16", "cmlt", "cmle", "cmhi", "cmhs", "cmtst", "shrn", "rshrn", "addhn"}
_VECTOR |= {"subhn", "raddhn", "rsubhn", "saddlp", "uaddlp", "saddlv", "uaddlv", "uaddl", "uaddl2", "uaddw"}
_VECTOR |= {"uaddw2", "usubl", "usubl2", "usubw", "usubw2", "ssubw", "ssubw2", "sabd", "uabd", "sabdl", "sabdl2"}
_VECTOR |= {"uabdl", "uabdl2", "smaxp", "sminp", "umaxp", "uminp", "smaxv", "sminv", "umaxv", "uminv", "sshl"}
_VECTOR |= {"ushl", "srshl", "urshl", "srshr", "urshr", "shadd", "uhadd", "srhadd", "urhadd", "shsub", "uhsub"}
_VECTOR |= {"sqadd", "uqadd", "sqsub", "uqsub", "sqabs", "sqneg", "sqshl", "uqshl", "sqrshl", "uqrshl"}
_VECTOR |= {"sqdmulh", "sqrdmulh", "sqshrn", "uqshrn", "sqrshrn", "uqrshrn", "sqshrun", "sqrshrun", "shll"}
_VECTOR |= {"shll2", "tbl", "pmul"}
_LOADS = {"ldr", "ldur", "ldp", "ldnp", "ldrb", "ldrh", "ldurb", "ldurh", "ldrsb", "ldrsh", "ldrsw", "ldursw"}
_LOADS |= {"ldpsw", "ldursb", "ldursh"}
_STORES = {"str", "stur", "stp", "stnp", "strb", "strh", "sturb", "sturh"}
_ORDERED = {"ldar", "ldxr", "ldaxr", "stlr", "stxr", "stlxr"}
_BRANCHES = {"b", "bl", "br", "blr", "ret", "cbz", "cbnz", "tbz", "tbnz"}


@functools.cache
def parse(text: str) -> Instruction:
    """One instruction, with or without the comments of a disassembler."""
    text = " ".join(_LAST_COMMENT.sub("", text.strip()).split())
    mnemonic, _, rest = text.partition(" ")
    operands = tuple(_split(re.sub(r"\s*<[^>]*>$", "", rest)))
    if mnemonic in _BRANCHES or mnemonic.startswith("b."):
        return _branch(text, mnemonic, operands)
    if mnemonic in _LOADS | _STORES | _ORDERED:
        return _plain_access(text, mnemonic, operands)
    if re.fullmatch(r"(ld|st)[1-4]r?", mnemonic):
        return _structure(text, mnemonic, operands)
    if mnemonic in ("prfm", "prfum"):
        return Instruction(text, mnemonic, operands, Work.PREFETCH, registers(rest), ())
    return _operation(text, mnemonic, operands)


def registers(text: str) -> tuple[str, ...]:
    """The registers that are named in a text, in their order, repeated ones too."""
    found = []
    for match in _REGISTER.finditer(text):
        general, stack, vector = match.groups()
        found.append(STACK if stack else f"x{general}" if general else f"v{vector}")
    return tuple(found)


def _split(rest: str) -> list[str]:
    """Operands: commas inside of brackets and braces do not count."""
    parts, depth = [""], 0
    for letter in rest:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def _branch(text: str, mnemonic: str, operands: tuple[str, ...]) -> Instruction:
    reads: tuple[str, ...] = ()
    if mnemonic.startswith("b."):
        reads = (FLAGS,)
    elif mnemonic in ("cbz", "cbnz", "tbz", "tbnz", "br", "blr"):
        reads = registers(operands[0])
    return Instruction(text, mnemonic, operands, Work.BRANCH, reads, (), is_known=mnemonic not in ("bl", "blr"))


def _plain_access(text: str, mnemonic: str, operands: tuple[str, ...]) -> Instruction:
    at = next((i for i, operand in enumerate(operands) if operand.startswith("[")), len(operands))
    data, address = operands[:at], operands[at:]
    moved, base = registers(" ".join(data)), registers(" ".join(address[:1]))
    updated = base[0] if base and (len(address) > 1 or address[0].endswith("!")) else None
    is_pair = len(moved) == 2 and mnemonic.endswith(("p", "psw"))
    letter = data[0][0] if data else "x"
    is_load = mnemonic.startswith("ld")
    if letter == "q":
        kinds = (
            (Work.LOAD_QQ if is_pair else Work.LOAD_Q) if is_load else Work.STORE_QQ if is_pair else Work.STORE_V
        )
    elif letter in "dshb":
        kinds = (Work.LOAD_DD if is_pair else Work.LOAD_D) if is_load else Work.STORE_V
    else:
        kinds = (Work.LOAD_XX if is_pair else Work.LOAD_X) if is_load else Work.STORE_X
    changed = (updated,) if updated else ()
    known = bool(address) and mnemonic not in _ORDERED
    if is_load:
        return Instruction(text, mnemonic, operands, kinds, base, moved + changed, None, updated, is_known=known)
    return Instruction(text, mnemonic, operands, kinds, moved + base, changed, None, updated, is_known=known)


def _structure(text: str, mnemonic: str, operands: tuple[str, ...]) -> Instruction:
    vectors, base = registers(operands[0]), registers(operands[1])
    updated = base[0] if len(operands) > 2 else None
    changed = (updated,) if updated else ()
    more = registers(" ".join(operands[2:]))
    beats = len(vectors) * (2 if re.search(r"\.(4s|2d|16b|8h)\b", operands[0]) else 1)
    if mnemonic.startswith("st"):
        reads = vectors + base + more
        return Instruction(
            text, mnemonic, operands, Work.STORE_STRUCTURE, reads, changed, None, updated, len(vectors)
        )
    if mnemonic.endswith("r"):
        kind, reads = Work.LOAD_REPEATED, base + more
    elif operands[0].endswith("]"):
        kind, reads = Work.LOAD_LANE, base + more + vectors
    else:
        kind, reads = Work.LOAD_STRUCTURE, base + more
    return Instruction(text, mnemonic, operands, kind, reads, vectors + changed, None, updated, beats)


def _operation(text: str, mnemonic: str, operands: tuple[str, ...]) -> Instruction:
    named = [registers(operand) for operand in operands]
    first = named[0] if named else ()
    rest = tuple(register for found in named[1:] for register in found)
    is_vector = any(register.startswith("v") for found in named for register in found)
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    if mnemonic in _WRITES_FLAGS_ONLY:
        reads, writes = first + rest, ()
    else:
        reads, writes = rest, first
    if mnemonic in _READS_FLAGS:
        reads += (FLAGS,)
    if mnemonic in _SETS_FLAGS:
        writes += (FLAGS,)
    if not is_vector:
        kind = Work.MULTIPLY if mnemonic in _MULTIPLIES else Work.ALU
        if mnemonic in _MERGES:
            reads += first
        known = mnemonic in _INTEGER | _MULTIPLIES
        return Instruction(text, mnemonic, operands, kind, reads, writes, is_known=known)
    if mnemonic == "ins" or (mnemonic in ("mov", "fmov") and _ELEMENT.match(operands[0])):
        return Instruction(text, mnemonic, operands, Work.INSERT, reads + first, writes)
    if first and not first[0].startswith("v") and mnemonic in ("fmov", "mov", "umov", "smov"):
        return Instruction(text, mnemonic, operands, Work.TO_GENERAL, reads, writes)
    accumulator = first[0] if mnemonic in _ACCUMULATES else None
    merges_a_constant = mnemonic in ("orr", "bic") and operands[1].startswith("#")
    if mnemonic in _ACCUMULATES | _NARROWS_INTO_HIGH or merges_a_constant:
        reads += first
    if mnemonic in ("fdiv", "fsqrt"):
        kind = Work.DIVIDE
    else:
        kind = Work.VECTOR_128 if re.search(r"\.(4s|2d|16b|8h)\b", text) else Work.VECTOR_64
    known = mnemonic in _VECTOR | _ACCUMULATES | _NARROWS_INTO_HIGH | _INTEGER | _MULTIPLIES
    return Instruction(text, mnemonic, operands, kind, reads, writes, accumulator, is_known=known)
