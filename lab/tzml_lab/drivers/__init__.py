"""labgrid drivers, resources and the strategy: `imports: [tzml_lab.drivers]` in an environment registers all."""

from __future__ import annotations

from tzml_lab.drivers import (
    qemu,
    raspberry_pi,
    sd_card,
    sd_mux_file,
    secure_console,
    serial_line,
    shell,
    ssh,
    strategy,
)

__all__ = [
    "qemu",
    "raspberry_pi",
    "sd_card",
    "sd_mux_file",
    "secure_console",
    "serial_line",
    "shell",
    "ssh",
    "strategy",
]
