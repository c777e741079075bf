# SPDX-License-Identifier: Apache-2.0
"""Facts about an OP-TEE build for image.json and the tests, read from the build itself; and signing of TAs."""

from __future__ import annotations

import json
import re
import shutil
import struct
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bb
from elftools.elf.elffile import ELFFile

from . import host, measure


def settings(conf_mk: Path) -> dict[str, str]:
    """OP-TEE's final configuration, as its build wrote it."""
    return dict(re.findall(r"^(\w+)=(.*)$", conf_mk.read_text(), flags=re.MULTILINE))


def memory(conf: dict[str, str], tee_elf: Path) -> dict[str, int]:
    """The secure memory in bytes: its base and size, the size of OP-TEE's core, and what is left for TAs.

    The page tables and thread stacks that the core allocates while it boots also come out of the TAs' part. On the
    target, the statistics PTA has the exact figure.
    """
    base, size = int(conf["CFG_TZDRAM_START"], 0), int(conf["CFG_TZDRAM_SIZE"], 0)
    with tee_elf.open("rb") as stream:
        symbols = ELFFile(stream).get_section_by_name(".symtab")
        start, end = (symbols.get_symbol_by_name(name)[0]["st_value"] for name in ("__text_start", "__end"))
    if not base <= start < end < base + size:
        bb.fatal(f"{tee_elf}: the core is at {start:#x} to {end:#x}, outside of {base:#x} + {size:#x}")
    test_pool = 0
    if conf.get("CFG_SECURE_DATA_PATH") == "y" and "CFG_TEE_SDP_MEM_BASE" not in conf:
        test_pool = int(conf["CFG_TEE_SDP_MEM_SIZE"], 0)
    core = end - base
    return {
        "tzdram_base": base,
        "tzdram_size": size,
        "core_size": core,
        "ta_size": size - core - test_pool,
    }


def shared_memory(conf: dict[str, str]) -> dict[str, Any]:
    """The memory for exchanging data: any page that Linux offers, or bytes reserved for this purpose."""
    reserved = int(conf["CFG_SHMEM_SIZE"], 0) if conf["CFG_CORE_RESERVED_SHM"] == "y" else 0
    return {"dynamic": conf["CFG_CORE_DYN_SHM"] == "y", "reserved_size": reserved}


# The setting of a source, and its name, as it is in the source's file and in OP-TEE's message.
ENTROPY = {"CFG_TZML_SEED_BCM2835": "bcm2835-generator", "CFG_TZML_SEED_DEVICE_TREE": "device-tree-seed"}


def entropy(conf: dict[str, str]) -> str:
    """Where OP-TEE's generator of random numbers gets its first seed; `none` is the time since power-on."""
    return next((name for setting, name in ENTROPY.items() if conf.get(setting) == "y"), "none")


def huk(conf: dict[str, str]) -> str:
    """What OP-TEE's hardware unique key is: `zero`, `test` (somebody who has the build has it), or `hardware`."""
    if "y" in (conf.get("CFG_TZML_HUK_BUILD"), conf.get("CFG_TZML_HUK_FLASH")):
        return "test"
    # without a key of the port's, only an insecure configuration links
    return "hardware" if conf.get("CFG_INSECURE") == "n" else "zero"


def storage_counter(conf: dict[str, str]) -> str:
    """What keeps OP-TEE's storage from being put back to an earlier state.

    `emulated-rpmb` does so until tee-supplicant ends: OP-TEE writes its key into any RPMB that has none, also into
    the one that tee-supplicant emulates in its own memory. The others do, also while the machine is off.
    """
    if conf.get("CFG_TZML_COUNTER_FLASH") == "y":
        return "secure-flash"
    if conf.get("CFG_REE_FS_INTEGRITY_RPMB") != "y":
        return "none"
    return "emulated-rpmb" if conf.get("CFG_RPMB_WRITE_KEY") == "y" else "rpmb"


def built_settings(d: Any) -> dict[str, str]:
    """The settings with which the recipe optee-os was built."""
    return settings(Path(d.getVar("D"), "usr/share/optee-os/conf.mk"))


def deploy(d: Any) -> None:
    """do_deploy of optee-os."""
    conf = built_settings(d)
    image, target = Path(d.getVar("D")), Path(d.getVar("DEPLOYDIR"))
    shutil.copy(image / "usr/share/optee-os/tee.elf", target)
    shutil.copy(d.getVar("TA_SIGN_KEY_PUBLIC"), target / "ta-signing.pub.pem")
    kit = [
        "tar",
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--mtime=@" + d.getVar("SOURCE_DATE_EPOCH"),
    ]
    kit += [
        "--zstd",
        "-cf",
        str(target / "ta-dev-kit.tar.zst"),
        "-C",
        str(image / "usr/include/optee"),
        "export-user_ta",
    ]
    host.run(kit)
    protected = d.getVar("SECURE_MEMORY_PROTECTED") == "1"
    root = {"entropy": entropy(conf), "huk": huk(conf), "storage_counter": storage_counter(conf)}
    # what a release and the device itself (tzml-board) were told of it
    told = {
        "entropy": d.getVar("OPTEE_ENTROPY") or "none",
        "huk": d.getVar("OPTEE_HUK") or "zero",
        "storage_counter": d.getVar("OPTEE_COUNTER") or "none",
    }
    if root != told:
        bb.fatal(f"OP-TEE was built with {root}, but conf/machine says {told} (OPTEE_ENTROPY, _HUK, _COUNTER)")
    facts = {
        **root,
        "measurements": {"core": measure.core(target / "tee.elf")},
        "secure_memory": {**memory(conf, target / "tee.elf"), "protected": protected},
        "shared_memory": shared_memory(conf),
        "optee_settings": {key: value for key, value in sorted(conf.items()) if key.startswith("CFG_")},
    }
    Path(d.getVar("DEPLOY_FACTS")).write_text(json.dumps(facts, indent=1))


def measure_ta(d: Any) -> None:
    """do_image: add the hash of the TA's memory to image.json, if the image has that TA."""
    path = Path(d.getVar("IMAGE_ROOTFS"), "usr/lib/optee_armtz", f"{d.getVar('IMAGE_MEASURED_TA')}.ta")
    facts = {"measurements": {"ta": measure.ta(SignedTa.read(path).elf)}} if path.exists() else {}
    Path(d.getVar("DEPLOY_FACTS")).write_text(json.dumps(facts, indent=1))


# -- Signing TAs again ----------------------------------------------------------------------------------

MAGIC = 0x4F545348  # "HSTO"
HEADER = struct.Struct("<IIIIHH")  # magic, image type, image size, algorithm, hash size, signature size
SUBKEY = struct.Struct("<16sIII")  # UUID, name size, version, greatest depth below it
BOOTSTRAP_TA, SUBKEY_IMAGE = 1, 3
SUBKEY_BITS = 2048


@dataclass(frozen=True)
class Subkey:
    """A link in the chain of keys from the root key to a TA."""

    uuid: uuid.UUID
    name_size: int
    version: int
    max_depth: int
    next_name: str  # name of the next link or the TA in this one's name space; empty if it has the same UUID


@dataclass(frozen=True)
class SignedTa:
    """The parts of a .ta file."""

    subkeys: list[Subkey]
    uuid: uuid.UUID
    version: int
    elf: bytes

    @classmethod
    def read(cls, path: Path) -> SignedTa:
        data, offset, subkeys = path.read_bytes(), 0, []
        while True:
            magic, kind, size, _, hash_size, signature_size = HEADER.unpack_from(data, offset)
            if magic != MAGIC or kind not in (BOOTSTRAP_TA, SUBKEY_IMAGE):
                raise ValueError(f"at {offset}: not the header of a TA or subkey (type {kind})")
            offset += HEADER.size + hash_size + signature_size
            if kind == BOOTSTRAP_TA:
                return cls(
                    subkeys,
                    uuid.UUID(bytes=data[offset : offset + 16]),
                    int.from_bytes(data[offset + 16 : offset + 20], "little"),
                    data[offset + 20 : offset + 20 + size],
                )
            identity, name_size, version, max_depth = SUBKEY.unpack_from(data, offset)
            offset += size
            name = data[offset : offset + name_size].rstrip(b"\0").decode()
            offset += name_size
            subkeys.append(Subkey(uuid.UUID(bytes=identity), name_size, version, max_depth, name))


def sign_again(d: Any) -> None:
    """do_compile of optee-test: sign every TA with this build's key, through chains like its original ones."""
    sources, build = Path(d.getVar("S"), "usr/lib/optee_armtz"), Path(d.getVar("B"))
    kit = Path(d.getVar("STAGING_INCDIR"), "optee/export-user_ta/scripts/sign_encrypt.py")
    tool = [d.getVar("PYTHON"), str(kit)]
    for path in sorted(sources.glob("*.ta")):
        try:
            ta = SignedTa.read(path)
        except (ValueError, struct.error) as error:
            bb.fatal(f"{path.name} cannot be signed again: {error}")
        _sign(tool, ta, Path(d.getVar("TA_SIGN_KEY")), build)


def _sign(tool: list[str], ta: SignedTa, root_key: Path, build: Path) -> None:
    with tempfile.TemporaryDirectory(dir=build) as name:
        work = Path(name)
        key, chain, next_name = root_key, None, ""
        for depth, subkey in enumerate(ta.subkeys):
            # the private half of the new key is needed only here
            new_key, new_chain = work / f"{depth}.pem", work / f"{depth}.bin"
            host.run(["openssl", "genrsa", "-out", str(new_key), str(SUBKEY_BITS)])
            command = [*tool, "sign-subkey", "--key", str(key), *_below(chain, next_name)]
            command += ["--uuid", str(subkey.uuid), "--in", str(new_key), "--out", str(new_chain)]
            command += ["--max-depth", str(subkey.max_depth), "--name-size", str(subkey.name_size)]
            host.run([*command, "--subkey-version", str(subkey.version)])
            key, chain, next_name = new_key, new_chain, subkey.next_name
        elf = work / "elf"
        elf.write_bytes(ta.elf)
        command = [*tool, "sign-enc", "--key", str(key), *_below(chain, next_name), "--uuid", str(ta.uuid)]
        command += ["--ta-version", str(ta.version), "--in", str(elf), "--out", str(build / f"{ta.uuid}.ta")]
        host.run(command)


def _below(chain: Path | None, name: str) -> list[str]:
    return (["--subkey", str(chain)] if chain else []) + (["--name", name] if name else [])
