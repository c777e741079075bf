"""Files that are written whole or not at all, whatever is at their path.

Nothing and a regular file are replaced in one step: a new file is written beside the place and renamed, so that
nobody sees half of it, and a failure leaves what was there. The file that was there passes on its mode, its owner
and its extended attributes. Symbolic links are followed. Everything else (a device, a pipe, standard output) stays
what it is and is written into, once the content is complete.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tzml.errors import TzmlError

STDOUT = Path("/dev/stdout")
"""What `-` stands for on a command line."""

_PART = ".tzml-part-"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# a folder where no file can be made, or one where the new file could not have the old one's owner
_NO_NEIGHBOUR = (errno.EACCES, errno.EPERM, errno.EROFS)


def check_output(path: Path, inputs: Iterable[Path] = (), remedy: str = "give another file") -> None:
    """Raise TzmlError unless a file can be written to `path`; call it before work that takes long.

    Nothing at the path is changed. None of `inputs` may be the file that would be replaced.
    """
    try:
        place = _Place.of(path)
        if not place.straight:
            new = place.neighbour()
            os.close(new.descriptor)
            new.path.unlink()
        for other in inputs:
            if place.there and stat.S_ISREG(place.there.st_mode) and _same(other, place.there):
                raise TzmlError(f"cannot write {path}: it is an input of this command", remedy)
    except OSError as error:
        raise _cannot_write(path, error, remedy) from error


@contextmanager
def written(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A file to write `path` with: it can seek, and takes its place if the block ends without an exception.

    Unless `durable` is false, its content is on the disk before it takes the place. Raises TzmlError.
    """
    try:
        place = _Place.of(path)
        with _spooled(place) if place.straight else _replaced(place, durable) as file:
            yield file
    except OSError as error:
        if error.filename is None or _is_ours(Path(os.fsdecode(error.filename)), path):
            raise _cannot_write(path, error) from error
        raise  # of another file, which the block read


def write_file(path: Path, content: bytes | str, *, durable: bool = True) -> None:
    """Write bytes, or text in UTF-8. Raises TzmlError."""
    with written(path, durable=durable) as file:
        # of a file's name that is no text, the bytes are escaped
        file.write(content.encode(errors="backslashreplace") if isinstance(content, str) else content)


def write_kept(path: Path, content: bytes) -> None:
    """Write a regular file that will be there after a power cut, with its name. Raises TzmlError."""
    if path.exists() and not path.is_file():
        raise TzmlError(f"cannot write {path}: it is no regular file, and would not be kept", "give another file")
    write_file(path, content)
    try:
        folder = os.open(Path(os.path.realpath(path)).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise _cannot_write(path, error) from error


def read_file(path: Path) -> bytes:
    """The content of a file. Raises TzmlError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise TzmlError(f"cannot read {path}: {error.strerror or error}", "check the path") from error


def write_secret(path: Path, data: bytes) -> None:
    """Write a new file that only its owner may read. Raises TzmlError if there is one, or it cannot be written."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise TzmlError(f"{path} exists, and is not written over", "remove it, or choose another name") from error
    except OSError as error:
        raise TzmlError(f"cannot write {path}: {error.strerror}", "check the folder and its room") from error
    with os.fdopen(handle, "wb") as file:
        file.write(data)


def files_below(folder: Path) -> Iterator[Path]:
    """The files in a folder and its subfolders, in order."""
    yield from sorted(file for file in folder.rglob("*") if file.is_file())


def is_stdout(path: Path) -> bool:
    """Whether `path` is a pipe or a file that standard output goes to: messages have no place there."""
    try:
        there = path.stat()
        return not stat.S_ISCHR(there.st_mode) and os.path.samestat(there, os.fstat(1))
    except OSError:
        return False


@dataclass(frozen=True)
class _New:
    path: Path
    descriptor: int


@dataclass(frozen=True)
class _Place:
    """Where a file goes: the path without links, what is there, and whether it is written into as it is."""

    path: Path
    there: os.stat_result | None
    straight: bool

    @classmethod
    def of(cls, path: Path) -> _Place:
        """Raises OSError if nothing can be written there."""
        try:
            there = path.stat()
        except FileNotFoundError:
            target = Path(os.path.realpath(path))  # of a link that leads to no file yet
            if not target.parent.is_dir():
                raise FileNotFoundError(errno.ENOENT, f"there is no folder {target.parent}") from None
            return cls(target, None, straight=False)
        if stat.S_ISDIR(there.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if stat.S_ISSOCK(there.st_mode):
            raise OSError(errno.ENXIO, "it is a socket")
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if not stat.S_ISREG(there.st_mode) or _descriptor(there) is not None:
            return cls(path, there, straight=True)
        place = cls(Path(os.path.realpath(path)), there, straight=False)
        try:
            new = place.neighbour()
        except OSError as error:
            if error.errno not in _NO_NEIGHBOUR:
                raise
            return cls(place.path, there, straight=True)
        os.close(new.descriptor)
        new.path.unlink()
        return place

    def neighbour(self) -> _New:
        """A new file in the same folder, with the mode and owner that the file has to have. Raises OSError."""
        # not longer for a long name, and never readable for more people than the old one was
        path = self.path.with_name(f"{_PART}{secrets.token_hex(6)}")
        mode = 0o600 if self.there else 0o666
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            if self.there:
                self._pass_on(self.there, descriptor)
        except OSError:
            os.close(descriptor)
            path.unlink()
            raise
        return _New(path, descriptor)

    def _pass_on(self, there: os.stat_result, descriptor: int) -> None:
        new = os.fstat(descriptor)
        if (new.st_uid, new.st_gid) != (there.st_uid, there.st_gid):
            os.fchown(descriptor, there.st_uid, there.st_gid)
        with suppress(OSError):  # a file system without them, or one that is not ours to set
            for name in os.listxattr(self.path):
                os.setxattr(descriptor, name, os.getxattr(self.path, name))
        os.fchmod(descriptor, stat.S_IMODE(there.st_mode))


@contextmanager
def _replaced(place: _Place, durable: bool) -> Iterator[BinaryIO]:
    new = place.neighbour()
    try:
        with os.fdopen(new.descriptor, "w+b") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
            try:
                new.path.replace(place.path)
            except OSError as error:
                if error.errno != errno.EBUSY:  # a file that is mounted, as containers do it
                    raise
                _copy_into(file, place.path)
    finally:
        with suppress(OSError):
            new.path.unlink()


@contextmanager
def _spooled(place: _Place) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as file:
        yield file
        _copy_into(file, place.path, place.there)


def _copy_into(file: BinaryIO, path: Path, there: os.stat_result | None = None) -> None:
    """Write the whole content of `file` into what is at `path`."""
    file.seek(0)
    # an own descriptor is written to where it is: opened again, a file would be written from its beginning
    own = _descriptor(there) if there else None
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC) if own is None else os.dup(own)
    with os.fdopen(descriptor, "wb") as target:
        if own is None and stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.ftruncate(descriptor, 0)
        shutil.copyfileobj(file, target)


def _descriptor(there: os.stat_result) -> int | None:
    """Standard output or error of this process, if it is this file."""
    for descriptor in (1, 2):
        with suppress(OSError):
            if os.path.samestat(there, os.fstat(descriptor)):
                return descriptor
    return None


def _same(path: Path, there: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), there)
    except OSError:
        return False


def _is_ours(file: Path, path: Path) -> bool:
    return file.name.startswith(_PART) or file in (path, Path(os.path.realpath(path)))


def _cannot_write(path: Path, error: OSError, remedy: str = "give another file") -> TzmlError:
    if error.errno in _FULL:
        remedy = "free some space"
    name = "standard output" if path == STDOUT else path
    return TzmlError(f"cannot write {name}: {error.strerror or error}", remedy)
