"""Data from installed packages."""

from importlib import metadata
from pathlib import Path


def package_file(distribution: str, path: str) -> Path:
    """The path of a file in an installed package. The package, with its dependencies, is not imported."""
    return Path(str(metadata.distribution(distribution).locate_file(path)))


def photographs() -> dict[str, Path]:
    """The two photographs that scikit-learn ships: a pagoda and a dahlia, 640x427 pixels each."""
    return {
        name: package_file("scikit-learn", f"sklearn/datasets/images/{name}.jpg") for name in ("china", "flower")
    }
