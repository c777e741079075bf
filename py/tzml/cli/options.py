"""Options that several commands share."""

from __future__ import annotations

import re

import click


def parse_size(_: click.Context, __: click.Parameter, value: str) -> int:
    """Parse a number of bytes, optionally with the suffix K or M. Raises BadParameter."""
    match = re.fullmatch(r"([1-9]\d*)([KM]?)", value)
    if not match:
        raise click.BadParameter(f"{value!r} is not a number of bytes, as in 8M, 512K or 8388608")
    return int(match[1]) << {"": 0, "K": 10, "M": 20}[match[2]]
