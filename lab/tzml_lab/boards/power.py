"""Ask the power switch about a board that does not answer."""

from __future__ import annotations

from typing import Any

from labgrid.driver import NetworkPowerDriver
from labgrid.protocol import PowerProtocol

from tzml_lab.time_limits import time_limit


def power_was_cut(target: Any) -> bool:
    """Whether the board has no power. Raises TargetError."""
    power = target.get_driver(PowerProtocol, activate=False)
    if not isinstance(power, NetworkPowerDriver):  # a person or an emulator is not asked
        return False
    with time_limit(30, "the power switch"):
        return not power.get()
