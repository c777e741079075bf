# SPDX-License-Identifier: GPL-2.0-only
"""The parts of BitBake's hash equivalence server that bb.siggen and bb.cooker import. PyPI's package lacks it.

This engine has no hash equivalence: BB_SIGNATURE_HANDLER is "basichash" and BB_HASHSERVE stays unset.
"""

from __future__ import annotations

import re
from typing import NoReturn

from . import client as client  # bb.siggen imports the submodule too


def is_valid_unihash(unihash: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{40,64}", unihash) is not None


def _refuse(*_arguments: object, **_options: object) -> NoReturn:
    raise ImportError("this BitBake engine has no hash equivalence: unset BB_HASHSERVE and BB_HASHSERVE_UPSTREAM")


create_client = create_server = _refuse
