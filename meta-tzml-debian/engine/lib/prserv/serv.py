# SPDX-License-Identifier: GPL-2.0-only
"""The engine has no PR server. A request for one is refused, not silently ignored."""

from __future__ import annotations

import bb


class PRServiceConfigError(Exception):
    """PRSERV_HOST asks for a service that does not exist here."""


def auto_start(d: bb.data_smart.DataSmart) -> None:
    if host := d.getVar("PRSERV_HOST"):
        bb.error(f'PRSERV_HOST is "{host}", but this BitBake engine has no PR service: unset it')
        raise PRServiceConfigError


def auto_shutdown() -> None:
    pass
