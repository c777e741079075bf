from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jsonschema
import pytest

from lab.conftest import FILES
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


def test_packages_come_from_the_list_in_the_image(deploy: Path, edit: Callable[..., None]) -> None:
    assert load_image(deploy).packages == {}
    (deploy / "packages.json").write_text('{"packages": [{"name": "bash", "version": "5.2", "origin": "Debian"}]}')
    listed = {"role": "package-list", "path": "packages.json", "size": 1, "sha256": "0" * 64}
    edit(files=[*json.loads((deploy / "image.json").read_text())["files"], listed])
    assert load_image(deploy).packages == {"bash": "5.2"}
    (deploy / "packages.json").write_text("[]")
    with pytest.raises(TzmlError, match=r"packages\.json: .*; build it"):
        assert load_image(deploy).packages


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


@pytest.fixture
def another_user(deploy: Path) -> Iterator[Path]:
    """A deploy folder whose private key only its owner can read, looked at by somebody else."""
    with tempfile.TemporaryDirectory(prefix="tzml-image-") as name:  # pytest's own folders are closed to others
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(deploy, folder / "qemu")
        key = folder / "qemu" / FILES["ssh-key"]
        key.chmod(0o600 if os.geteuid() == 0 else 0)
        with somebody_else():
            yield folder / "qemu"


@contextmanager
def somebody_else() -> Iterator[None]:
    """The rest of this test is not root's."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_an_image_that_another_user_built(another_user: Path) -> None:
    key = another_user / FILES["ssh-key"]
    image = load_image(another_user)
    with pytest.raises(TzmlError) as caught:
        image.verify()
    said = str(caught.value)
    assert re.search(rf"^{key} cannot be read: it belongs to \w+, and you are \w+", said)
    assert f"sudo chown -R {caught.value.args[0].split()[-1]} {another_user}" in said
    assert "build" not in said.replace(str(another_user), "")


def test_an_image_in_a_folder_of_another_user(deploy: Path) -> None:
    mode = deploy.parent.stat().st_mode
    deploy.parent.chmod(0 if os.geteuid() else 0o700)
    try:
        with (
            somebody_else(),
            pytest.raises(TzmlError, match=r"image\.json cannot be read: it belongs to .* chown -R"),
        ):
            load_image(deploy)
    finally:
        deploy.parent.chmod(mode)


def test_missing_file(deploy: Path) -> None:
    image = load_image(deploy)
    (deploy / "firmware.bin").unlink()
    with pytest.raises(TzmlError, match=r"firmware\.bin cannot be read: No such file"):
        image.verify()
