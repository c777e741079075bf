"""Environment files: find one by name, read it, and check that this host has what it needs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from labgrid import Environment, Target
from labgrid.config import Config
from labgrid.exceptions import InvalidConfigError
from labgrid.resource import RemotePlace
from pydantic import BaseModel, ConfigDict, ValidationError
from yaml import YAMLError

from tzml.boards import Board, find_board
from tzml.errors import TzmlError
from tzml.image import Image, load_image
from tzml_lab import folders
from tzml_lab.labgrid_internals import place_name, read_yaml
from tzml_lab.time_limits import scaled

ROOT = folders.ROOT
FOLDER = folders.DATA / "env"

_EXAMPLES = "see lab/env for examples"

# The variables that every environment file may refer to. labgrid refuses a file when a variable is not set.
_VARIABLES = {"LG_DEPLOY": ROOT / "build" / "deploy"}


class _Option(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Variable(_Option):
    """A variable that an environment file refers to.

    Args:
        meaning: what it must be set to, in words
        default: its value when it is not set; None: it must be set
        optional: the lab can do without

    """

    meaning: str
    default: str | None = None
    optional: bool = False


class _StandInOption(_Option):
    board: str


class _Options(BaseModel):
    """The options of an environment file that the lab reads itself."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    variables: dict[str, Variable] = {}
    standin: _StandInOption | None = None
    place: dict[str, str] | None = None


@dataclass(frozen=True)
class EnvironmentFile:
    """An environment file that labgrid has not read yet. labgrid refuses it while a variable is not set.

    Args:
        path: the file
        data: its content, with a string.Template wherever it refers to variables

    """

    path: Path
    data: dict[str, Any]
    options: _Options

    @classmethod
    def read(cls, path: Path) -> EnvironmentFile:
        """Read the file. Raises TzmlError."""
        try:
            data = read_yaml(path.read_text())
        except (OSError, UnicodeDecodeError, YAMLError) as error:
            raise TzmlError(f"{path}: {' '.join(str(error).split())}") from error
        if not isinstance(data, dict):
            raise TzmlError(f"{path} is {'empty' if data is None else 'a list or text'}", _EXAMPLES)
        try:
            options = _Options.model_validate(data.get("options") or {})
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(["options", *map(str, first["loc"])])
            raise TzmlError(f"{path}: {place}: {first['msg']}", _EXAMPLES) from error
        return cls(path, data, options)

    @property
    def standin(self) -> Board | None:
        """The board that needs a stand-in. Raises TzmlError when there is no stand-in for it."""
        if not self.options.standin:
            return None
        board = find_board(self.options.standin.board)
        if not board.standin:
            raise TzmlError(f"{self.path}: nothing stands in for the board {board.name}")
        return board

    @property
    def images(self) -> list[str]:
        """The machines whose images a run needs: the board's, and what a stand-in boots. Raises TzmlError."""
        board = self.standin
        if board and board.standin:
            return list(dict.fromkeys((board.name, board.standin.image)))
        deploy = (self.data.get("paths") or {}).get("deploy", "")
        name = Path(deploy.template if isinstance(deploy, Template) else str(deploy)).name
        if not name or "$" in name:
            raise TzmlError(f"{self.path}: paths.deploy does not end with a machine's name", _EXAMPLES)
        return [name]

    @property
    def used_variables(self) -> list[str]:
        """The names of all variables that the file refers to."""
        return sorted({name for template in _templates(self.data) for name in template.get_identifiers()})

    def set_variables(self) -> None:
        """Set the file's variables to their defaults. Raises TzmlError for unset variables without a default."""
        missing = []
        for name, variable in self.options.variables.items():
            if name in os.environ or variable.optional:
                continue
            if variable.default is not None:
                os.environ[name] = variable.default
            else:
                missing.append(f"{name}, {variable.meaning}")
        if missing:
            raise TzmlError(f"{self.path.name} needs {'; and '.join(missing)}", "set it in the environment")

    def check_syntax(self) -> None:
        """Let labgrid read the file with the variables as they are. Raises TzmlError when it cannot."""
        try:
            Config(str(self.path))
        except InvalidConfigError as error:
            raise TzmlError(f"{self.path}: {error.args[0]}") from error


def _templates(data: Any) -> Iterator[Template]:
    if isinstance(data, Template):
        yield data
    elif isinstance(data, dict | list):
        for part in data.values() if isinstance(data, dict) else data:
            yield from _templates(part)


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
    """Set the variables of all environment files to their defaults. Raises TzmlError for a bad LG_TIME_SCALE."""
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, str(value))
    try:
        scaled(1)
    except ValueError as error:
        raise TzmlError(str(error)) from error


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
    try:
        place = config.get_path("deploy")
    except KeyError as error:
        raise TzmlError(f"{config.filename} has no path `deploy`, where the image is", _EXAMPLES) from error
    image = load_image(Path(place).resolve())
    images = config.data.setdefault("images", {})
    for file in image.description.files:
        images.setdefault(file.role, str(image.folder / file.path))
    return image


def fit_to_image(environment: Environment) -> None:
    """Leave out of an environment what its image has nothing for, and add the image's features to those of tests.

    Without an SSH server, commands and files go over the console. Where nobody logs in on the console, they go over
    SSH alone. Without the file for a disk, the machine has none. Where the root file system is on none, what is
    written to it is gone when the machine is off. Raises TzmlError.
    """
    image = image_of(environment.config)
    features = image.description.features
    console = image.description.login.user is not None
    if not console and not features.ssh:
        raise TzmlError(f"the image in {image.folder} lets nobody in, neither on its console nor over SSH")
    for target in environment.config.get_targets().values():
        names = {*target.get("features", []), *features.names}
        disk = any(image.has(role) for role in ("rootfs", "sdcard", "system"))
        if disk and any(word.startswith("root=") for word in image.description.kernel_arguments.split()):
            names.add("disk")
        if console:
            names.add("console-login")
        if image.description.release:
            names.add("release")
        target["features"] = sorted(names if features.ssh else names - {"network"})
        if not features.ssh:
            target["drivers"] = [_without_network(driver) for driver in target["drivers"] if not _is_ssh(driver)]
            target["resources"] = [found for found in target.get("resources", []) if "NetworkService" not in found]
        if not console:
            target["drivers"] = [_without_console(driver) for driver in target["drivers"] if not _is_shell(driver)]
        for driver in target["drivers"]:
            for options in driver.values():
                for option in ("rootdisk", "initrd"):
                    if options.get(option) not in environment.config.data["images"]:
                        options.pop(option, None)


def _is_ssh(driver: dict[str, Any]) -> bool:
    return "ConsoleTrustSSHDriver" in driver


def _without_network(driver: dict[str, Any]) -> dict[str, Any]:
    """A shell on the console that also copies files, in place of one that leaves that to SSH."""
    renamed = {"ImageShellDriver": "DiagnosingShellDriver"}
    return {renamed.get(name, name): options for name, options in driver.items()}


def _is_shell(driver: dict[str, Any]) -> bool:
    return not driver.keys().isdisjoint({"ImageShellDriver", "DiagnosingShellDriver"})


def _without_console(driver: dict[str, Any]) -> dict[str, Any]:
    """SSH that asks no shell on the console for the machine's key."""
    renamed = {"ConsoleTrustSSHDriver": "FirstUseSSHDriver"}
    return {renamed.get(name, name): options for name, options in driver.items()}


def main_target(environment: Environment) -> Target:
    """The target `main`. Raises TzmlError if the environment has none."""
    target = environment.get_target()
    if target is None:
        raise TzmlError(f"{environment.config_file} has no target `main`", _EXAMPLES)
    return target


def check_host(environment: Environment) -> None:
    """Check that this host has what the drivers need: image, QEMU and so on. Raises TzmlError."""
    for role in environment.config.get_targets():
        for driver in environment.get_target(role).drivers:
            check = getattr(driver, "check", None)
            if check:
                check()


def context(environment: Environment, run_folder: Path) -> dict[str, Any]:
    """Everything that the times of a run depend on. Copies image.json to the run's folder. Raises TzmlError."""
    image = image_of(environment.config)
    shutil.copy(image.folder / "image.json", run_folder)
    about = image.description
    found: dict[str, Any] = {
        "image": {
            "machine": about.machine,
            "feed": about.feed,
            "image": about.image,
            "sha256": image.digest,
            "memory_protected": about.secure_memory.protected,
            "huk": about.huk,
            "components": image.components,
            "packages": image.packages,
        }
    }
    for role in environment.config.get_targets():
        target = environment.get_target(role)
        for resource in target.resources:
            if isinstance(resource, RemotePlace):
                found["place"] = place_name(resource)
        for driver in target.drivers:
            found |= getattr(driver, "context", dict)()
    return found
