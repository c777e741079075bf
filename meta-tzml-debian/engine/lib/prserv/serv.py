# SPDX-License-Identifier: GPL-2.0-only
"""There is no PR server in this engine; one that is asked for is refused instead of silently left out."""

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
