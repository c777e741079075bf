"""What QEMU itself lacks: disks that may be written to, a Raspberry Pi's VideoCore, a machine for people."""
