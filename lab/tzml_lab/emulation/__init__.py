"""What QEMU lacks of a machine: disks to write to, the VideoCore of a Raspberry Pi, a terminal for people."""
