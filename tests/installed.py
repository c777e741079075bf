"""What is installed beside tzml, cut down to what tzml's metadata asks for: a missing dependency is missed."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, distribution, packages_distributions
from pathlib import Path

from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# installed without what they ask for: only their data is used
DATA_ONLY = {
    canonicalize_name(Requirement(line).name)
    for line in (ROOT / "requirements-nodeps.in").read_text().splitlines()
    if line and not line.startswith("#")
}


def asked_for(tzml: Distribution, extras: set[str]) -> Iterator[Requirement]:
    """What tzml itself asks for with some extras, and with those that they name."""
    for text in tzml.requires or ():
        requirement = Requirement(text)
        if any(not requirement.marker or requirement.marker.evaluate({"extra": e}) for e in extras | {""}):
            if requirement.name == "tzml":
                yield from asked_for(tzml, requirement.extras - extras)
            else:
                yield requirement


@functools.cache
def providers() -> Mapping[str, list[str]]:
    """The distributions that have a package of that name."""
    return packages_distributions()


def closure(requirements: Iterable[Requirement]) -> dict[str, Distribution]:
    """All distributions that pip would install. Fails for one that is not installed here, or in another version."""
    found: dict[str, Distribution] = {}
    done: set[tuple[str, frozenset[str]]] = set()
    open_ = list(requirements)
    while open_:
        requirement = open_.pop()
        name = canonicalize_name(requirement.name)
        wanted = (name, frozenset(requirement.extras))
        if wanted in done:
            continue
        done.add(wanted)
        found[name] = there = distribution(name)
        assert requirement.specifier.contains(there.version, prereleases=True), f"{requirement}: {there.version}"
        if name not in DATA_ONLY:
            below = map(Requirement, there.requires or ())
            of = requirement.extras | {""}
            open_ += [r for r in below if not r.marker or any(r.marker.evaluate({"extra": e}) for e in of)]
    return found


def link(distributions: dict[str, Distribution], folder: Path) -> Path:
    """A folder for PYTHONPATH with these distributions and no other."""
    folder.mkdir()
    for found in distributions.values():
        for file in found.files or ():
            if ".." in file.parts or file.parts[0] == "__pycache__":
                continue
            # some share a folder, as google.protobuf does: links below it
            place, source = folder / file.parts[0], Path(str(found.locate_file(file.parts[0])))
            if len(file.parts) > 1 and not (source / "__init__.py").exists() and source.suffix != ".dist-info":
                place.mkdir(exist_ok=True)
                place, source = folder / Path(*file.parts[:2]), source / file.parts[1]
            if not os.path.lexists(place):
                place.symlink_to(source)
    return folder
