"""Machine code for cores that start instructions in order: LLVM's innermost loops are written anew.

LLVM's model of the Cortex-A53 leaves loops of multiply-adds waiting for their loads. What LLVM writes as assembly
is read (`assembly`), loops that only load, multiply and add are recognised (`loops`), ordered by the core's rules
with loads ahead of their use (`registers`, `schedule`), and compared with what LLVM wrote (`check`).
"""
