"""Environment files by name, and what this host must have for them."""
# mypy: disable-error-code="import-untyped"

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

from labgrid import Environment
from labgrid.config import Config
from labgrid.exceptions import InvalidConfigError
from labgrid.resource import RemotePlace
from labgrid.util.yaml import load

from tzml.errors import TzmlError
from tzml.image import Image, load_image
from tzml_lab.time_limits import scaled

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "lab" / "env"

# What environment files may refer to; labgrid refuses a file with a variable that is not set.
_VARIABLES = {"LG_DEPLOY": ROOT / "build" / "deploy"}

_VARIABLE = re.compile(r"^#   (LG_\w+)(?: = (\S+))?: (.+)$", re.MULTILINE)


def names() -> list[str]:
    """The environments that come with tzml."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find(name: str) -> Path:
    """The file for a name or path: `qemu`, `qemu.yaml`, `../mine.yaml`. Raises TzmlError."""
    for path in (Path(name), FOLDER / name, FOLDER / f"{name}.yaml"):
        if path.is_file():
            return path.resolve()
    raise TzmlError(f"there is no environment {name}", f"give a file, or one of {', '.join(names())}")


def set_variables() -> None:
    """Give the variables of environment files their defaults. Raises TzmlError for a bad LG_TIME_SCALE."""
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, str(value))
    try:
        scaled(1)
    except ValueError as error:
        raise TzmlError(str(error)) from error


def explained_variables(text: str) -> dict[str, tuple[str, str]]:
    """Default ("" without one) and meaning of each variable that an environment file explains.

    They are in comments: `#   LG_NAME = default: meaning` or `#   LG_NAME: meaning`.
    """
    return {name: (default, meaning) for name, default, meaning in _VARIABLE.findall(text)}


def set_own_variables(path: Path) -> None:
    """Give the variables that an environment file explains its defaults. Raises TzmlError for those without."""
    missing = []
    for name, (default, meaning) in explained_variables(path.read_text()).items():
        if name in os.environ or default == "(any)":
            continue
        if default:
            os.environ[name] = default
        else:
            missing.append(f"{name}, {meaning}")
    if missing:
        raise TzmlError(f"{path.name} needs {'; and '.join(missing)}", "set it in the environment")


def wanted_place(path: Path) -> dict[str, str]:
    """The tags of the place that an environment file asks for with the option `place`, if it does."""
    try:
        found: dict[str, str] = load(path.read_text())["options"]["place"]
    except Exception:  # check_syntax says what is wrong with the file
        return {}
    return found


def check_syntax(path: Path) -> None:
    """Whether labgrid can read the file. Raises TzmlError."""
    try:
        Config(str(path))
    except InvalidConfigError as error:
        raise TzmlError(f"{path}: {error.args[0]}") from error


def use_folders(environment: Environment, *, run_folder: Path | None, scratch: Path | None) -> None:
    """Tell the drivers of an environment where to write."""
    for option, folder in (("run_folder", run_folder), ("scratch_folder", scratch)):
        if folder:
            environment.config.set_option(option, str(folder))


def run_folder(config: Config) -> Path | None:
    """Where the consoles of this run are logged, if use_folders() has said so."""
    folder = config.data.get("options", {}).get("run_folder")
    return Path(folder) if folder else None


def image_of(config: Config) -> Image:
    """The image in the environment's path `deploy`; its files become images of the environment, by role.

    Raises TzmlError.
    """
    image = load_image(Path(config.get_path("deploy")).resolve())
    images = config.data.setdefault("images", {})
    for file in image.description.files:
        images.setdefault(file.role, str(image.folder / file.path))
    return image


def check_host(environment: Environment) -> None:
    """Whether this host has what the drivers need: image, QEMU, … Raises TzmlError."""
    for role in environment.config.get_targets():
        for driver in environment.get_target(role).drivers:
            check = getattr(driver, "check", None)
            if check:
                check()


def context(environment: Environment, run_folder: Path) -> dict[str, Any]:
    """What times of this environment depend on; leaves a copy of image.json. Raises TzmlError."""
    image = image_of(environment.config)
    shutil.copy(image.folder / "image.json", run_folder)
    about = image.description
    found: dict[str, Any] = {
        "image": {
            "machine": about.machine,
            "feed": about.feed,
            "image": about.image,
            "sha256": image.digest,
            "components": image.components,
        }
    }
    for role in environment.config.get_targets():
        target = environment.get_target(role)
        for resource in target.resources:
            if isinstance(resource, RemotePlace):
                found["place"] = resource.manager.session.get_place(resource.name).name  # a name may be a pattern
        for driver in target.drivers:
            found |= getattr(driver, "context", dict)()
    return found
