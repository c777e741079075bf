"""A board for those who have none: QEMU behind a serial line, a power switch, an SD mux and fastboot.

Everything of labgrid's is real up to here; tests and drivers do not know the difference.
"""
