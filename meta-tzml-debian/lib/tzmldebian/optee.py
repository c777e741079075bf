# SPDX-License-Identifier: Apache-2.0
"""What image.json and the tests know of an OP-TEE build: read from the build, not from a manual."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import bb
from elftools.elf.elffile import ELFFile

from . import host


def settings(conf_mk: Path) -> dict[str, str]:
    """OP-TEE's final configuration, as its build wrote it down."""
    return dict(re.findall(r"^(\w+)=(.*)$", conf_mk.read_text(), flags=re.MULTILINE))


def memory(conf: dict[str, str], tee_elf: Path) -> dict[str, int]:
    """The secure memory in bytes. OP-TEE's core gets its virtual range, TAs and their stacks what is left."""
    base, size = int(conf["CFG_TZDRAM_START"], 0), int(conf["CFG_TZDRAM_SIZE"], 0)
    with tee_elf.open("rb") as stream:
        symbols = ELFFile(stream).get_section_by_name(".symtab")
        (end,) = symbols.get_symbol_by_name("_end_of_ram")
        core = end["st_value"] - base
    if not 0 < core < size:
        bb.fatal(f"{tee_elf}: the core's memory ends at {end['st_value']:#x}, outside of {base:#x} + {size:#x}")
    test_pool = 0
    if conf.get("CFG_SECURE_DATA_PATH") == "y" and "CFG_TEE_SDP_MEM_BASE" not in conf:
        test_pool = int(conf["CFG_TEE_SDP_MEM_SIZE"], 0)
    return {
        "tzdram_base": base,
        "tzdram_size": size,
        "core_size": core,
        "ta_size": size - core - test_pool,
    }


def deploy(d: Any) -> None:
    """do_deploy of optee-os."""
    image, target = Path(d.getVar("D")), Path(d.getVar("DEPLOYDIR"))
    conf = settings(image / "usr/share/optee-os/conf.mk")
    shutil.copy(image / "usr/share/optee-os/tee.elf", target)
    shutil.copy(d.getVar("TA_SIGN_KEY_PUBLIC"), target / "ta-signing.pub.pem")
    kit = ["tar", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@" + d.getVar("SOURCE_DATE_EPOCH")]
    kit += ["--zstd", "-cf", str(target / "ta-dev-kit.tar.zst"), "-C", str(image / "usr/include/optee"), "export-user_ta"]
    host.run(kit)
    facts = {
        "secure_memory": memory(conf, target / "tee.elf"),
        "optee_settings": {key: value for key, value in sorted(conf.items()) if key.startswith("CFG_")},
    }
    Path(d.getVar("DEPLOY_FACTS")).write_text(json.dumps(facts, indent=1))
