"""Check what an environment needs: its file, variables, image, programs, and the devices of its board."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from labgrid.config import Config
from labgrid.exceptions import InvalidConfigError

from tzml.boards import huk_warning, memory_warning
from tzml.errors import TzmlError
from tzml.image import Image, load_image
from tzml_lab.doctor.check import Check, program
from tzml_lab.doctor.devices import check_resource
from tzml_lab.environment import EnvironmentFile

# Programs that drivers call, and the Debian packages that have them
PROGRAMS = {
    "EmulatedRaspberryPiDriver": (
        *(("mcopy", "mtools"), ("dtc", "device-tree-compiler"), ("fdtput", "device-tree-compiler")),
        ("fdtoverlay", "device-tree-compiler"),
    ),
    "AndroidFastbootDriver": (("fastboot", "fastboot"),),
    "SDCardDriver": (("bmaptool", "bmap-tools"),),
    "USBSDMuxDriver": (("usbsdmux", "usbsdmux"),),
    "USBStorageDriver": (("bmaptool", "bmap-tools"),),
    "ConsoleTrustSSHDriver": (("ssh", "openssh-client"),),
    "SSHDriver": (("ssh", "openssh-client"),),
}
EMULATORS = {"EmulatedRaspberryPiDriver", "TrustZoneQEMUDriver"}


def check_environment(path: Path) -> Iterator[Check]:
    """Check everything that an environment file refers to, without starting any of it."""
    try:
        file = EnvironmentFile.read(path)
    except TzmlError as error:
        yield Check(path.name, False, str(error.args[0]), f"mend {path}")
        return
    missing = list(_missing_variables(file))
    yield from missing
    if missing:  # labgrid does not read the file without them
        return
    try:
        config = Config(str(path))
    except InvalidConfigError as error:
        yield Check(path.name, False, str(error.args[0]), f"mend {path}")
        return
    yield Check(path.name, True, str(path))
    image = yield from _image(config)
    if image:
        yield from _partitions(config, image)
    for target in config.get_targets().values():
        resources = dict(_entries(target.get("resources", [])))
        drivers = dict(_entries(target.get("drivers", [])))
        yield from _programs(drivers, config, image)
        for name, arguments in resources.items():
            yield from check_resource(name, arguments, config.data.get("options", {}))


def _missing_variables(file: EnvironmentFile) -> Iterator[Check]:
    """Find variables that must be set and are not. The file's options explain them, and say which have defaults."""
    for name in file.used_variables:
        variable = file.options.variables.get(name)
        if name in os.environ or name == "BASE":  # which is labgrid's own
            continue
        if name.startswith("LG_STANDIN"):  # the lab sets those itself
            os.environ[name] = ""
        elif variable and (variable.optional or variable.default is not None):
            os.environ[name] = variable.default or ""
        else:
            yield Check(name, False, "not set", f"export {name}=…{f'  # {variable.meaning}' if variable else ''}")


def _entries(part: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Class and arguments: labgrid takes a list of mappings, or one mapping."""
    for entry in part if isinstance(part, list) else [part]:
        for name, arguments in entry.items():
            yield name, {key: value for key, value in (arguments or {}).items() if key != "cls"}


def _image(config: Config) -> Generator[Check, None, Image | None]:
    if "standin" in config.data.get("options", {}):  # has the image of another environment
        return None
    try:
        image: Image = load_image(Path(config.get_path("deploy")).resolve())
        image.verify()
    except (TzmlError, KeyError) as error:
        remedy = (
            error.remedy.removeprefix("build it: ") if isinstance(error, TzmlError) else "add the path `deploy`"
        )
        yield Check("image", False, str(error.args[0]), remedy)
        return None
    yield Check("image", True, f"{image.folder}, as it was built")
    warning = memory_warning(image.description.machine, image.description.secure_memory.protected)
    if warning:
        yield Check("secrets", False, warning, needed=False)
    if warning := huk_warning(image.description.huk):
        yield Check("sealed models", False, warning, needed=False)
    return image


def _partitions(config: Config, image: Image) -> Iterator[Check]:
    """Whether the image has a file for each partition that is flashed."""
    for target in config.get_targets().values():
        for name, arguments in _entries(target.get("drivers", [])):
            for partition, role in arguments.get("flash_images", {}).items() if "Fastboot" in name else ():
                try:
                    image.path(role)
                except TzmlError as error:
                    yield Check(f"file for {partition}", False, str(error.args[0]), str(error.remedy))


def _programs(drivers: Mapping[str, Any], config: Config, image: Image | None) -> Iterator[Check]:
    wanted = {entry for driver in drivers for entry in PROGRAMS.get(driver, ())}
    if not EMULATORS.isdisjoint(drivers):
        emulator = image.description.emulator if image else None
        wanted |= {(emulator.program if emulator else "qemu-system-aarch64", "qemu-system-arm")}
        wanted |= {("qemu-img", "qemu-utils"), ("setpriv", "util-linux")}
    for name, package in sorted(wanted):
        own = config.get_tool(name)  # the environment may have its own
        yield program(own if shutil.which(own) else name, package)
