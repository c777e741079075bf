# SPDX-License-Identifier: Apache-2.0
"""What an image must not have if it is to be given to others (kas/opt/release.yml, docs/image.md).

It is checked twice: when the image's recipe is parsed, of the configuration and of what the image installs; and of
OP-TEE as it was built, whose settings may come from elsewhere.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bb

from . import optee

# SHA-256 of the public half of OP-TEE's keys/default_ta.pem in DER, whose private half everybody has
UPSTREAM_KEY = "cac7bcfaf8674a57e5eaa8ef1a7c9b67af1fd5562a06440d88d5e3c632e88c48"

# Of OP-TEE: a setting, the value that a release needs, and what any other means.
SETTINGS = (
    ("CFG_INSECURE", "n", "OP-TEE may start without a key, a seed and a counter"),
    ("CFG_ENABLE_EMBEDDED_TESTS", "n", "OP-TEE's own tests are in it"),
    ("CFG_TEE_CORE_EMBED_INTERNAL_TESTS", "n", "every program may open OP-TEE's invoke_tests"),
    ("CFG_WITH_STATS", "n", "every program may read OP-TEE's statistics"),
    ("CFG_TA_STATS", "n", "every program may read the TAs' statistics"),
    ("CFG_TEE_CORE_LOG_LEVEL", "0", "aborts print OP-TEE's registers on a console"),
    ("CFG_TEE_TA_LOG_LEVEL", "0", "TAs print on a console"),
    ("CFG_REE_FS_TA_BUFFERED", "y", "TAs are parsed before their signature is checked"),
    ("CFG_REE_FS_ALLOW_RESET", "n", "who deletes the storage starts OP-TEE's counters anew"),
    ("CFG_RPMB_TESTKEY", "n", "the key of the RPMB is upstream's test key"),
)
# What `storage_counter` may be without counting while the machine is off.
NO_COUNTER = ("none", "emulated-rpmb")
# What a setting is in an OP-TEE whose build says nothing of it.
ABSENT = "n"


def refused(d: Any) -> Iterator[str]:
    """What the configuration of an image has that a release must not have."""
    conf = dict(word.split("=", 1) for word in d.getVar("OPTEE_POLICY").split())
    yield from _settings(conf)
    if (d.getVar("OPTEE_HUK") or "zero") == "zero":
        yield 'the hardware unique key is all zeros (OPTEE_HUK = "zero")'
    if (d.getVar("OPTEE_ENTROPY") or "none") == "none":
        yield 'random numbers have no source (OPTEE_ENTROPY = "none")'
    if (counter := d.getVar("OPTEE_COUNTER") or "none") in NO_COUNTER:
        yield f'nothing counts the states of the storage while the machine is off (OPTEE_COUNTER = "{counter}")'
    if d.getVar("ROOT_LOGIN_ON_CONSOLE") != "0":
        yield "root logs in on the console without a password (ROOT_LOGIN_ON_CONSOLE)"
    if d.getVar("TZML_SEALED_ONLY") != "y":
        yield 'the TA runs models that nobody sealed (TZML_SEALED_ONLY = "n")'
    tests = {"optee-test", "tzml-test"} & set((d.getVar("IMAGE_INSTALL") or "").split())
    yield from (f"tests and their TAs are installed ({name})" for name in sorted(tests))
    yield from _key(Path(d.getVar("TA_SIGN_KEY")))


def refused_as_built(conf: dict[str, str]) -> Iterator[str]:
    """What OP-TEE's final configuration has that a release must not have."""
    yield from _settings(conf)
    if optee.huk(conf) == "zero":
        yield "the hardware unique key is all zeros"
    if optee.entropy(conf) == "none" and conf.get("CFG_WITH_SOFTWARE_PRNG") == "y":
        yield "random numbers have no source"
    if (counter := optee.storage_counter(conf)) in NO_COUNTER:
        yield f"nothing counts the states of the storage while the machine is off ({counter})"


def _settings(conf: dict[str, str]) -> Iterator[str]:
    for name, needed, means in SETTINGS:
        if (found := conf.get(name, ABSENT)) != needed:
            yield f"{means} ({name}={found})"


def _key(path: Path) -> Iterator[str]:
    """A TA signing key that others have. There may be no key yet: then the build makes one."""
    if not path.exists():
        return
    if path.stat().st_mode & 0o077:
        yield f"others than its owner may read the TA signing key {path}"
    command = ["openssl", "pkey", "-in", str(path), "-pubout", "-outform", "DER"]
    public = subprocess.run(command, capture_output=True, check=False).stdout
    if hashlib.sha256(public).hexdigest() == UPSTREAM_KEY:
        yield f"the TA signing key {path} is upstream's, which everybody has"


def check(d: Any) -> None:
    """When an image's recipe is parsed: end a release's build with bb.fatal(), in one line that has all of it.

    Earlier, while BitBake reads the configuration, it loses some errors on their way to the user.
    """
    if d.getVar("TZML_RELEASE") == "1":
        _refuse(list(refused(d)))


def check_built(d: Any, conf: dict[str, str]) -> None:
    """After OP-TEE is built: the same of its settings."""
    if d.getVar("TZML_RELEASE") == "1":
        _refuse(list(refused_as_built(conf)))


def _refuse(found: list[str]) -> None:
    if found:
        bb.fatal(f"this is no release: {'; '.join(found)}. Without kas/opt/release.yml it is a development image")
