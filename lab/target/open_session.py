"""Runs on the target: opens a session of OP-TEE with a TA or pseudo TA, as any program of the normal world may.

usage: open_session.py UUID

Prints the TEEC_Result in hexadecimal.
"""

from __future__ import annotations

import ctypes
import sys
import uuid


def open_session(name: uuid.UUID) -> int:
    """What libteec's TEEC_OpenSession() returns. The session is closed again."""
    libteec = ctypes.CDLL("libteec.so.2")
    # TEEC_Context, TEEC_Session and TEEC_UUID of tee_client_api.h; the first two are never looked into
    context, session = ctypes.create_string_buffer(64), ctypes.create_string_buffer(64)
    origin = ctypes.c_uint32()
    result = int(libteec.TEEC_InitializeContext(None, context)) & 0xFFFFFFFF
    if result:
        return result
    octets = ctypes.create_string_buffer(name.bytes_le, 16)
    result = (
        int(libteec.TEEC_OpenSession(context, session, octets, 0, None, None, ctypes.byref(origin))) & 0xFFFFFFFF
    )
    if not result:
        libteec.TEEC_CloseSession(session)
    libteec.TEEC_FinalizeContext(context)
    return result


if __name__ == "__main__":
    print(f"{open_session(uuid.UUID(sys.argv[1])):#010x}")
