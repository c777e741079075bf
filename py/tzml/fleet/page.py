"""The state of a fleet as a page, in HTML without scripts. Needs the extra `report`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tzml.fleet.status import DeviceStatus


def status_page(statuses: Sequence[DeviceStatus]) -> str:
    """The page; what devices say is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("status.html.jinja").render(
        statuses=statuses,
        ready=sum(status.state == "ready" for status in statuses),
        time=time.strftime("%Y-%m-%d %H:%M:%S %Z"),
    )
