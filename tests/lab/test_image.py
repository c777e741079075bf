from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from tzml.errors import TzmlError
from tzml.image import load_image
from tzml_lab.environment import ROOT


def test_the_description_is_one_that_a_build_writes(deploy: Path) -> None:
    schema = json.loads((ROOT / "docs/image.schema.json").read_text())
    jsonschema.validate(json.loads((deploy / "image.json").read_text()), schema)


def test_files_are_found_by_role(deploy: Path) -> None:
    image = load_image(deploy)
    assert image.path("kernel") == deploy / "Image"
    assert image.components["xtest"] == "4.10.0-1"
    image.verify()


def test_the_digest_names_the_image(deploy: Path, edit: Callable[..., None]) -> None:
    before = load_image(deploy).digest
    assert load_image(deploy).digest == before
    edit(kernel_arguments="quiet")
    assert load_image(deploy).digest != before


def test_no_image(tmp_path: Path) -> None:
    with pytest.raises(TzmlError, match=r"there is no image in .*; build it: kas build kas/qemu\.yml"):
        load_image(tmp_path / "qemu")


@pytest.mark.parametrize("size", [0, 1, 100, -1])
def test_truncated_description(deploy: Path, size: int) -> None:
    path = deploy / "image.json"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(TzmlError, match=r"image\.json: .*; build it: kas build kas/qemu\.yml") as caught:
        load_image(deploy)
    assert "\n" not in str(caught.value)


def test_another_format(deploy: Path, edit: Callable[..., None]) -> None:
    edit(format=2)
    with pytest.raises(TzmlError, match="has format 2; this program knows format 1"):
        load_image(deploy)


@pytest.mark.parametrize("field", ["machine", "files", "components", "kernel_arguments", "secure_memory"])
def test_missing_field(deploy: Path, edit: Callable[..., None], field: str) -> None:
    edit(**{field: None})
    with pytest.raises(TzmlError, match=rf"image\.json: {field}: Field required"):
        load_image(deploy)


def test_path_that_leaves_the_folder(deploy: Path, edit: Callable[..., None]) -> None:
    edit(files=[{"role": "kernel", "path": "../Image", "size": 1, "sha256": "0" * 64}])
    with pytest.raises(TzmlError, match=r"files\.0\.path"):
        load_image(deploy)


def test_missing_role(deploy: Path) -> None:
    image = load_image(deploy)
    with pytest.raises(TzmlError, match="has no sd-card; build it"):
        image.path("sd-card")


def test_missing_role_of_an_image_that_lacks_a_vendors_file(deploy: Path, edit: Callable[..., None]) -> None:
    edit(missing=[{"name": "mcuimage.bin"}, {"name": "l-loader.bin"}])
    with pytest.raises(
        TzmlError, match=r"no loader: it was built without mcuimage\.bin, l-loader\.bin; .*missing\.txt"
    ):
        load_image(deploy).path("loader")


def test_changed_file(deploy: Path) -> None:
    image = load_image(deploy)
    with (deploy / "Image").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(TzmlError, match="Image is not what was built"):
        image.verify()


def test_missing_file(deploy: Path) -> None:
    image = load_image(deploy)
    (deploy / "firmware.bin").unlink()
    with pytest.raises(TzmlError, match=r"firmware\.bin cannot be read: No such file"):
        image.verify()
