"""Programs that run on this host beside the lab: how they end with it, and a port that one can listen on."""

from __future__ import annotations

from labgrid.util.helper import get_free_port

WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")
"""What comes before a command that the kernel kills when the process that started it ends, also by SIGKILL."""


def free_port() -> int:
    """A TCP port of this host that nobody listens on."""
    port: int = get_free_port()
    return port
