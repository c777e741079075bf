"""The deploy folder and image.json: what is described is there, and as docs/image.schema.json says."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
from conftest import ROOT
from tzmldebian import apt, fetch, imagejson, tree

from .conftest import Says

SCHEMA = json.loads((ROOT / "docs/image.schema.json").read_text())
MEMORY = {
    "tzdram_base": 0x0E100000,
    "tzdram_size": 0xF00000,
    "core_size": 0xC0000,
    "ta_size": 0xE40000,
    "protected": True,
}
QEMU = {
    "QB_SYSTEM_NAME": "qemu-system-aarch64",
    "QB_MACHINE": "-machine virt,secure=on",
    "QB_CPU": "-cpu cortex-a57",
    "QB_SMP": "-smp 2",
    "QB_MEM": "-m 1024",
    "QB_NETWORK_DEVICE": "-device virtio-net-pci",
    "QB_ROOTFS_OPT": "-drive if=virtio,format=raw,file=@ROOTFS@",
}


@pytest.fixture
def recipe(d: Any, tmp_path: Path) -> Any:
    """Two recipes share the datastore: the firmware, and the image, which describes both."""
    values = {
        "DEPLOYDIR": tmp_path / "new",
        "DEPLOY_DIR_IMAGE": tmp_path / "deploy",
        "DEPLOY_FACTS": tmp_path / "facts.json",
        "DEPLOY_VERSION": "1.0",
        "DEPLOY_ORIGIN": "Debian sid",
        "CONSOLE_PORT": "0",
        "IMAGE_COMPONENTS": "optee-os",
        "KERNEL_CMDLINE": "root=/dev/vda",
        "MACHINE": "qemu",
        "SECURE_CONSOLE_PORT": "1",
        "SERIAL_CONSOLES": "115200;ttyAMA0",
        "TZML_ROOT": ROOT,
    }
    for name, value in {**values, **QEMU}.items():
        d.setVar(name, str(value))
    return d


def publish(d: Any, recipe: str, files: dict[str, str], facts: dict[str, Any]) -> None:
    """Run the do_deploy of `recipe`: role to file name."""
    folder = Path(d.getVar("DEPLOYDIR"))
    folder.mkdir()
    d.setVar("PN", recipe)
    d.setVar("DEPLOY_COMPONENT", recipe)
    d.setVar("DEPLOY_MANIFEST", str(folder.parent / "manifests" / f"{recipe}.json"))
    d.delVar("DEPLOY_ROLE")
    for role, name in files.items():
        d.setVarFlag("DEPLOY_ROLE", role, name)
        if name:
            folder.joinpath(name).write_text(name)
    Path(d.getVar("DEPLOY_FACTS")).write_text(json.dumps(facts))
    imagejson.publish(d)
    folder.rmdir()


def described(d: Any) -> dict[str, Any]:
    imagejson.write(d)
    text = Path(d.getVar("DEPLOY_DIR_IMAGE"), "image.json").read_text()
    return dict(json.loads(text))


def test_image_json_describes_what_was_deployed(recipe: Any) -> None:
    publish(recipe, "optee-os", {"tee-elf": "tee.elf"}, {"secure_memory": MEMORY})
    publish(recipe, "tzml-image", {"rootfs": "rootfs.ext4"}, {})
    image = described(recipe)
    jsonschema.validate(image, SCHEMA)
    folder = Path(recipe.getVar("DEPLOY_DIR_IMAGE"))
    assert [file["role"] for file in image["files"]] == ["rootfs", "tee-elf"]
    for file in image["files"]:
        assert file["size"] == folder.joinpath(file["path"]).stat().st_size
        assert file["sha256"] == tree.sha256(folder / file["path"])
    assert image["secure_memory"] == MEMORY
    assert image["emulator"]["memory_mib"] == 1024
    assert {c["name"]: c["origin"] for c in image["components"]}["optee-os"] == "Debian sid"


def test_components_name_the_source_packages_that_they_are_made_of(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, rootfs = (SimpleNamespace(method=kind()) for kind in (fetch.AptSource, fetch.AptClosure))
    dsc = apt.ArchiveFile("optee-os_4.10.0-2.dsc", 1, "0" * 64)
    tmp_path.joinpath(dsc.name).write_text("Source: optee-os\nVersion: 4.10.0-2\n")
    record = fetch.Record("apt-source://optee-os", [dsc], {"optee-os": "Debian sid"})
    monkeypatch.setattr(fetch.RecordedMethod, "kept", lambda *_: (record, tmp_path))
    for name, ud in (("optee-os", source), ("tzml-image", rootfs)):
        monkeypatch.setattr(fetch, "recorded_urls", lambda _, found=ud: [found])
        publish(recipe, name, {"tee-elf": name}, {"secure_memory": MEMORY})
    found = {component["name"]: component["sources"] for component in described(recipe)["components"]}
    optee = {"name": "optee-os", "version": "4.10.0-2", "release": "sid"}
    assert found == {"optee-os": [optee], "tzml-image": []}


def test_the_measurements_of_ta_and_core_come_together(recipe: Any) -> None:
    core, ta = "c" * 64, "a" * 64
    publish(recipe, "optee-os", {"tee-elf": "tee.elf"}, {"secure_memory": MEMORY, "measurements": {"core": core}})
    publish(recipe, "tzml-image", {"rootfs": "rootfs.ext4"}, {"measurements": {"ta": ta}})
    assert described(recipe)["measurements"] == {"core": core, "ta": ta}


def test_a_board_has_no_emulator(recipe: Any) -> None:
    recipe.delVar("QB_SYSTEM_NAME")
    publish(recipe, "optee-os", {"tee-elf": "tee.elf"}, {"secure_memory": MEMORY})
    publish(recipe, "tzml-image", {"rootfs": "rootfs.ext4"}, {})
    assert described(recipe)["emulator"] is None


def test_what_could_not_be_made_has_no_role_and_is_named_as_missing(recipe: Any) -> None:
    lacking = {"name": "mcuimage.bin", "needed_for": "fip.bin", "published": "there", "git_object_id": "0" * 40}
    publish(recipe, "hikey-firmware", {"firmware": ""}, {"missing": [lacking]})
    publish(recipe, "optee-os", {"tee-elf": "tee.elf"}, {"secure_memory": MEMORY})
    publish(recipe, "tzml-image", {"rootfs": "rootfs.ext4"}, {})
    recipe.setVar("IMAGE_COMPONENTS", "hikey-firmware optee-os")
    image = described(recipe)
    assert image["missing"] == [lacking]
    assert [file["role"] for file in image["files"]] == ["rootfs", "tee-elf"]


def test_what_an_earlier_build_deployed_is_removed(recipe: Any) -> None:
    publish(recipe, "optee-os", {"tee-elf": "old.elf"}, {})
    publish(recipe, "optee-os", {"tee-elf": "new.elf"}, {})
    assert [path.name for path in Path(recipe.getVar("DEPLOY_DIR_IMAGE")).iterdir()] == ["new.elf"]


def test_a_role_without_its_file_names_recipe_role_and_file(recipe: Any, tmp_path: Path, one_error: Says) -> None:
    tmp_path.joinpath("new").mkdir()
    recipe.setVar("PN", "optee-os")
    recipe.setVar("DEPLOY_MANIFEST", str(tmp_path / "manifest.json"))
    recipe.setVarFlag("DEPLOY_ROLE", "tee-elf", "tee.elf")
    with one_error("optee-os", "DEPLOY_ROLE[tee-elf]", '"tee.elf"', "do_deploy did not create"):
        imagejson.publish(recipe)


def test_a_description_the_schema_refuses_is_not_written(recipe: Any, one_error: Says) -> None:
    publish(recipe, "optee-os", {"tee-elf": "tee.elf"}, {"secure_memory": {**MEMORY, "ta_size": -1}})
    publish(recipe, "tzml-image", {"rootfs": "rootfs.ext4"}, {})
    with one_error("image.json: $.secure_memory.ta_size", "-1"):
        imagejson.write(recipe)
    assert not Path(recipe.getVar("DEPLOY_DIR_IMAGE"), "image.json").exists()


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
