"""OP-TEE's figures come from its build, and its TAs are taken apart as they were signed."""

from __future__ import annotations

import json
import struct
import uuid
from pathlib import Path

import pytest
from conftest import ROOT
from tzmldebian import optee

from .conftest import LAYER

PLATFORM = LAYER / "recipes-security/optee-os/files/platform"

TA, SUBKEY, NEXT = uuid.uuid4(), uuid.uuid4(), "next"


def image(kind: int, payload_size: int, rest: bytes) -> bytes:
    header = optee.HEADER.pack(optee.MAGIC, kind, payload_size, 0x70414930, 32, 256)
    return header + b"\0" * (32 + 256) + rest


def ta(elf: bytes) -> bytes:
    return image(optee.BOOTSTRAP_TA, len(elf), TA.bytes + struct.pack("<I", 7) + elf)


def test_a_ta_is_taken_apart(tmp_path: Path) -> None:
    tmp_path.joinpath("a.ta").write_bytes(ta(b"elf"))
    found = optee.SignedTa.read(tmp_path / "a.ta")
    assert found == optee.SignedTa([], TA, 7, b"elf")


def test_a_chain_of_subkeys_is_taken_apart(tmp_path: Path) -> None:
    body = optee.SUBKEY.pack(SUBKEY.bytes, 64, 2, 1) + b"modulus"
    chain = image(optee.SUBKEY_IMAGE, len(body), body + NEXT.encode().ljust(64, b"\0"))
    tmp_path.joinpath("a.ta").write_bytes(chain + ta(b"elf"))
    found = optee.SignedTa.read(tmp_path / "a.ta")
    assert found.subkeys == [optee.Subkey(SUBKEY, 64, 2, 1, NEXT)]
    assert (found.uuid, found.elf) == (TA, b"elf")


@pytest.mark.parametrize("data", [b"\x7fELF" * 20, image(99, 0, b""), b"HSTO"], ids=["ELF", "other type", "cut"])
def test_what_is_no_ta_is_refused(tmp_path: Path, data: bytes) -> None:
    tmp_path.joinpath("a.ta").write_bytes(data)
    with pytest.raises((ValueError, struct.error)):
        optee.SignedTa.read(tmp_path / "a.ta")


def test_settings_are_what_the_build_wrote_down(tmp_path: Path) -> None:
    tmp_path.joinpath("conf.mk").write_text("# auto\nCFG_TZDRAM_START=0x0e100000\nCFG_HEAP=(32 * 1024)\nARCH=arm\n")
    assert optee.settings(tmp_path / "conf.mk") == {
        "CFG_TZDRAM_START": "0x0e100000",
        "CFG_HEAP": "(32 * 1024)",
        "ARCH": "arm",
    }


@pytest.mark.parametrize(("reserved", "size"), [("n", 0), ("y", 0x400000)])
def test_memory_is_set_aside_for_linux_only_where_the_build_says_so(reserved: str, size: int) -> None:
    conf = {"CFG_CORE_DYN_SHM": "y", "CFG_CORE_RESERVED_SHM": reserved, "CFG_SHMEM_SIZE": "0x00400000"}
    assert optee.shared_memory(conf) == {"dynamic": True, "reserved_size": size}


@pytest.mark.parametrize(
    ("conf", "source"),
    [
        ({}, "none"),
        ({"CFG_TZML_SEED_DEVICE_TREE": "n", "CFG_TZML_SEED_BCM2835": "y"}, "bcm2835-generator"),
        ({"CFG_TZML_SEED_DEVICE_TREE": "y"}, "device-tree-seed"),
    ],
)
def test_the_source_of_random_numbers_is_what_was_built(conf: dict[str, str], source: str) -> None:
    assert optee.entropy(conf) == source


def test_each_source_has_one_name_in_optee_the_build_and_the_schema() -> None:
    names = set(json.loads((ROOT / "docs/image.schema.json").read_text())["properties"]["entropy"]["enum"])
    assert names == {"none", *optee.ENTROPY.values()}
    for setting, name in optee.ENTROPY.items():
        source = PLATFORM / f"{setting.removeprefix('CFG_TZML_').lower()}.c"
        assert f'seed_source[] = "{name}";' in source.read_text()


@pytest.mark.parametrize(
    ("conf", "kind"),
    [
        ({}, "zero"),
        ({"CFG_INSECURE": "y"}, "zero"),
        ({"CFG_INSECURE": "y", "CFG_TZML_HUK_BUILD": "y"}, "test"),
        ({"CFG_INSECURE": "n", "CFG_TZML_HUK_FLASH": "y"}, "test"),
        ({"CFG_INSECURE": "n"}, "hardware"),
    ],
)
def test_what_the_hardware_unique_key_is_follows_from_the_build(conf: dict[str, str], kind: str) -> None:
    assert optee.huk(conf) == kind


@pytest.mark.parametrize(
    ("conf", "counter"),
    [
        ({}, "none"),
        ({"CFG_REE_FS_INTEGRITY_RPMB": "y"}, "rpmb"),
        ({"CFG_REE_FS_INTEGRITY_RPMB": "y", "CFG_RPMB_WRITE_KEY": "y"}, "emulated-rpmb"),
        ({"CFG_TZML_COUNTER_FLASH": "y"}, "secure-flash"),
    ],
)
def test_what_counts_the_storages_states_follows_from_the_build(conf: dict[str, str], counter: str) -> None:
    assert optee.storage_counter(conf) == counter
