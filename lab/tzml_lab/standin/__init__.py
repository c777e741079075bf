"""A program that stands in for a board: QEMU behind a serial line, a power switch, an SD mux or fastboot.

labgrid's part is all real. Tests and drivers do not know the difference.
"""
