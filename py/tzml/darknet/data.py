"""Data sets as Darknet describes them: a .data or .dataset file names lists of images, and lists of names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tzml.errors import TzmlError

_LARGEST = 64 << 20


@dataclass(frozen=True)
class DarknetData:
    """A data set: its files by the names that the text gives them (train, valid, labels, names), and options."""

    file: Path
    options: dict[str, str]

    def labels(self) -> list[str]:
        """The texts of which a path has the one of its class in it. Raises TzmlError."""
        return self._list("labels", "names")

    def names(self) -> list[str]:
        """The names of the classes, for people. Raises TzmlError."""
        return self._list("names", "labels")

    def images(self, part: str) -> list[tuple[Path, int]]:
        """The images of `train` or `valid`, each with its class. Raises TzmlError."""
        labels = self.labels()
        return [(self._find(line), self._class_of(line, labels)) for line in self._list(part)]

    def _list(self, *keys: str) -> list[str]:
        for key in keys:
            if key in self.options:
                lines = [line.strip() for line in _read(self._find(self.options[key])).splitlines()]
                found = [line for line in lines if line]
                if not found:
                    raise TzmlError(f"{self.options[key]} is empty", f"correct {key}= in {self.file}")
                return found
        raise TzmlError(f"{self.file} has no {keys[0]}=", "add it: the path of a text file with one entry a line")

    def _find(self, name: str) -> Path:
        """A file that is named in one of the texts: from here, or beside or above the data set's file.

        The beginning of an absolute path may be another machine's: what is left of it is looked for, with a folder.
        """
        path = Path(name)
        parts = path.parts[1:] if path.is_absolute() else path.parts
        ends = [path, *(Path(*parts[start:]) for start in range(len(parts) - 1))] if path.is_absolute() else [path]
        for end in ends:
            for folder in (Path(), *self.file.resolve().parents):
                if (folder / end).is_file():
                    return folder / end
        raise TzmlError(
            f"{self.file} needs {name}, which is neither below this folder nor below one that has the file in it",
            "change to the folder that the paths are written from, or correct them",
        )

    def _class_of(self, line: str, labels: list[str]) -> int:
        """The class of an image: the one whose label is in its path, as Darknet looks for it."""
        found = [number for number, label in enumerate(labels) if label in line]
        if len(found) != 1:
            said = ", ".join(labels[number] for number in found[:4]) or "none"
            raise TzmlError(
                f"the path {line} has the labels of {len(found)} classes in it ({said}), and needs one",
                f"correct labels= in {self.file}, or rename the image",
            )
        return found[0]


def read_data(path: Path) -> DarknetData:
    """Read a .data or .dataset file. Raises TzmlError."""
    options = {}
    for number, text in enumerate(_read(path).splitlines(), 1):
        line = text.strip()
        if not line or line[0] in "#;":
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not name:
            raise TzmlError(
                f"{path}, line {number}: {line[:60]!r} is not option=value", "give a .data file of Darknet"
            )
        options[name] = value
    found = DarknetData(path, options)
    if "classes" in options and options["classes"] != str(len(found.labels())):
        raise TzmlError(
            f"{path} says classes={options['classes']}, and has {len(found.labels())} labels", "correct it"
        )
    return found


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise TzmlError(f"{path} has {path.stat().st_size:,} bytes, too many for a list", "give another file")
        return path.read_text()
    except OSError as error:
        raise TzmlError(f"cannot read {path}: {error.strerror}", "check the path") from error
    except UnicodeDecodeError as error:
        raise TzmlError(f"{path} is no text", "give a text file of Darknet") from error
