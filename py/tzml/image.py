"""A built image: the deploy folder that image.json describes (docs/image.md)."""

from __future__ import annotations

import hashlib
import os
import pwd
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from tzml.errors import TzmlError

FORMAT = 1
PACKAGES = "package-list"  # the role of the file that lists them


class ImageError(TzmlError):
    """There is no image, or it is not what was built. `kas build` makes it again."""


class ImageFile(BaseModel):
    """A file in the deploy folder: its role for the machine that boots, and its expected content."""

    role: str
    # below the folder: no part of it begins with a dot
    path: str = Field(pattern=r"^[A-Za-z0-9_+-][A-Za-z0-9._+-]*(/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)*$")
    size: int
    sha256: str


class Component(BaseModel):
    """A part from which the image was made."""

    name: str
    version: str


class _PackageList(BaseModel):
    packages: list[Component]


class Emulator(BaseModel):
    """The machine that QEMU has to emulate."""

    program: str
    machine: str
    cpu: str
    cpus: int
    memory_mib: int
    network_device: str
    disk_interface: str


class Login(BaseModel):
    """Who logs in on the console (None: nobody does), and the prompts there, as text."""

    user: str | None
    login_prompt: str
    prompt: str


class Features(BaseModel):
    """What an image has besides OP-TEE and the product: tests choose themselves by it.

    Args:
        init: "systemd" or "busybox"
        package_manager: "apt", "opkg" or None
        python: Python with `tzml run`; without it, there is `tzml-run`
        ssh: a server that lets the image's key in
        xtest: OP-TEE's test suite

    """

    # of images from before they said so, which all were Debian's
    init: str = "systemd"
    package_manager: str | None = "apt"
    python: bool = True
    ssh: bool = True
    xtest: bool = True

    @property
    def names(self) -> set[str]:
        """The features by the names that tests ask for: "systemd", "apt", "python", "ssh", "xtest"."""
        there = {name for name in ("python", "ssh", "xtest") if getattr(self, name)}
        return there | {self.init} | ({self.package_manager} if self.package_manager else set())


class SecureMemory(BaseModel):
    """Bytes that OP-TEE has, what of it TAs can have, and whether hardware keeps the normal world out of it."""

    tzdram_size: int
    ta_size: int
    protected: bool


class MissingFile(BaseModel):
    """A file that no archive ships and that was missing from the build."""

    name: str


class Description(BaseModel):
    """What image.json says, as far as booting and testing need it."""

    format: int
    machine: str
    feed: str
    image: str
    files: list[ImageFile]
    components: list[Component]
    kernel_arguments: str
    kernel_release: str
    login: Login
    release: bool = False
    features: Features = Features()
    emulator: Emulator | None
    # an image that does not say it has none of them
    entropy: str = "none"
    huk: str = "zero"
    storage_counter: str = "none"
    secure_memory: SecureMemory
    missing: list[MissingFile] = []


class Image:
    """A deploy folder with its image.json.

    Args:
        folder: the deploy folder
        description: what image.json says
        digest: SHA-256 of image.json, which has the digests of all files: it names the whole image

    """

    def __init__(self, folder: Path, description: Description, digest: str) -> None:
        self.folder = folder
        self.description = description
        self.digest = digest

    @property
    def components(self) -> dict[str, str]:
        """The version of each component, by name."""
        return {component.name: component.version for component in self.description.components}

    @property
    def packages(self) -> dict[str, str]:
        """The version of each installed package; none if the image has no list of them. Raises TzmlError."""
        if not self.has(PACKAGES):
            return {}
        path = self.path(PACKAGES)
        try:
            found = _PackageList.model_validate_json(path.read_bytes())
        except OSError as error:
            raise _unreadable(path, self.folder, error) from error
        except ValidationError as error:
            raise ImageError(f"{path}: {error.errors()[0]['msg']}", rebuild(self.folder)) from error
        return {package.name: package.version for package in found.packages}

    def path(self, role: str) -> Path:
        """The path of the file with that role. Raises ImageError."""
        return self.folder / self._file(role).path

    def sha256(self, role: str) -> str:
        """The expected SHA-256 of the file with that role. Raises ImageError."""
        return self._file(role).sha256

    def has(self, role: str) -> bool:
        """Whether there is a file with that role."""
        return any(file.role == role for file in self.description.files)

    def _file(self, role: str) -> ImageFile:
        for file in self.description.files:
            if file.role == role:
                return file
        without = ", ".join(file.name for file in self.description.missing)
        if without:
            what = f"the image in {self.folder} has no {role}: it was built without {without}"
            raise ImageError(what, f"{self.folder / 'missing.txt'} says where they are published")
        raise ImageError(f"the image in {self.folder} has no {role}", rebuild(self.folder))

    def verify(self) -> None:
        """Compare every file with its digest. Raises ImageError for the first difference, TzmlError if one is
        another user's.
        """
        for file in self.description.files:
            path = self.folder / file.path
            try:
                with path.open("rb") as stream:
                    found = hashlib.file_digest(stream, "sha256").hexdigest()
            except OSError as error:
                raise _unreadable(path, self.folder, error) from error
            if found != file.sha256:
                raise ImageError(
                    f"{path} is not what was built: its SHA-256 differs from image.json's", rebuild(self.folder)
                )


def _unreadable(path: Path, folder: Path, error: OSError) -> TzmlError:
    """The error for a file of an image. One that another user built is no worse for that: nothing need be built."""
    if not isinstance(error, PermissionError):
        return ImageError(f"{path} cannot be read: {error.strerror}", rebuild(folder))
    user = _name(os.geteuid())
    # what keeps this user out may be a folder above it
    stat = next(place for place in (path, *path.parents) if _enters(place.parent)).stat()
    return TzmlError(
        f"{path} cannot be read: it belongs to {_name(stat.st_uid)}, and you are {user}",
        f"do this as {_name(stat.st_uid)}, or take over the image: sudo chown -R {user} {folder}",
    )


def _enters(folder: Path) -> bool:
    return os.access(folder, os.X_OK, effective_ids=True)


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:  # as in many containers
        return f"user {user}"


def rebuild(folder: Path) -> str:
    """The remedy for an image that is missing or damaged."""
    return f"build it: kas build kas/{folder.name}.yml"


def load_image(folder: Path) -> Image:
    """Read the image.json of a deploy folder. Raises ImageError, and TzmlError if it is another user's."""
    path = folder / "image.json"
    try:
        text = path.read_bytes()
    except FileNotFoundError as error:
        raise ImageError(f"there is no image in {folder}", rebuild(folder)) from error
    except OSError as error:
        raise _unreadable(path, folder, error) from error
    try:
        description = Description.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ImageError(f"{path}: {f'{place}: ' if place else ''}{first['msg']}", rebuild(folder)) from error
    if description.format != FORMAT:
        raise ImageError(
            f"{path} has format {description.format}; this program knows format {FORMAT}",
            f"use the tzml it was built with, or {rebuild(folder)}",
        )
    return Image(folder, description, hashlib.sha256(text).hexdigest())
