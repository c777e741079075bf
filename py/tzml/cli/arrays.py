"""Arrays in files: NumPy's .npy for one, .npz for several by name."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.errors import TzmlError
from tzml.files import written

Array = NDArray[Any]


def load_arrays(path: Path) -> Array | dict[str, Array]:
    """Read the array of a .npy file, or all arrays of a .npz file by name. Raises TzmlError."""
    try:
        with path.open("rb") as opened:
            file = opened if opened.seekable() else io.BytesIO(opened.read())
            if not file.read(6).startswith((np.lib.format.MAGIC_PREFIX, b"PK")):
                raise ValueError("it begins as neither of them does")
            file.seek(0)
            found = np.load(file, allow_pickle=False)
            array: Array | dict[str, Array] = dict(found) if isinstance(found, np.lib.npyio.NpzFile) else found
    except (OSError, ValueError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, OSError) and error.strerror and path.exists():
            raise TzmlError(f"cannot read {path}: {error.strerror}", "give a .npy or .npz file") from error
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise TzmlError(
            f"{path} is not an array in NumPy's .npy format, or arrays in .npz: {why}",
            "write it with numpy.save or numpy.savez",
        ) from error
    return array


def load_array(path: Path) -> Array:
    """Read the array of a .npy file. Raises TzmlError."""
    found = load_arrays(path)
    if isinstance(found, dict):
        raise TzmlError(f"{path} has several arrays", "give a .npy file with one")
    return found


def save_arrays(path: Path, arrays: dict[str, Array]) -> None:
    """Write all arrays to a .npz file, or the first one to a .npy file. Raises TzmlError."""
    with written(path) as file:
        if path.suffix != ".npz":
            np.save(file, next(iter(arrays.values())))
            return
        with zipfile.ZipFile(file, "w") as archive:  # numpy.savez takes no array that is named "file"
            for name, array in arrays.items():
                entry = zipfile.ZipInfo(f"{name}.npy")  # without the time: the same bytes again
                with archive.open(entry, "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
