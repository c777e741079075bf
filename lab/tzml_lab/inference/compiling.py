"""What a test compiles for the machine that it runs on."""

from __future__ import annotations

from typing import Any

import pytest
from labgrid import Target

from tzml.compiler import CompileOptions
from tzml.signing import SigningKey
from tzml_lab.environment import image_of
from tzml_lab.inference.signing_key import signing_key


def needed_key(target: Target) -> SigningKey:
    """The signing key that the target's OP-TEE trusts. Skips the test if it is not on this host."""
    key = signing_key(image_of(target.env.config))
    if key is None:
        pytest.skip("the key that the image was signed with is not here")
    return key


def options_for(target: Target, **options: Any) -> CompileOptions:
    """What compiles for the target's machine, with kernels that its OP-TEE loads. Skips as `needed_key` does."""
    machine = image_of(target.env.config).description.machine
    return CompileOptions(machine, signing_key=needed_key(target), **options)
