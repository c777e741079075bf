"""What a task writes is whole or not there, and a sysroot has only what its dependencies staged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tzmldebian import staging, tree

from .conftest import Says


def test_a_file_whose_writing_fails_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    tree.write_atomically(path, "old")

    def write() -> None:
        with tree.written_atomically(path) as new:
            new.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_tree_is_replaced_whole(tmp_path: Path) -> None:
    for name in ("old/stale", "new/fresh"):
        tree.write_atomically(tmp_path / name, name)
    tmp_path.joinpath("new/link").symlink_to("fresh")
    tree.replace_tree(tmp_path / "new", tmp_path / "old")
    assert sorted(p.name for p in tmp_path.joinpath("old").iterdir()) == ["fresh", "link"]
    assert tmp_path.joinpath("old/link").readlink() == Path("fresh")


@pytest.fixture
def recipe(d: Any, tmp_path: Path) -> Any:
    values = {
        "COMPONENTS_DIR": tmp_path / "components",
        "D": tmp_path / "image",
        "MACHINE_ARCH": "qemu",
        "PN": "app",
        "RECIPE_SYSROOT": tmp_path / "sysroot",
        "SYSROOT_DESTDIR": tmp_path / "staged",
        "SYSROOT_DIRS": "/usr/include /usr/lib",
        "SYSROOT_DIRS_IGNORE": "/usr/lib/modules",
        "TUNE_PKGARCH": "arm64",
    }
    for name, value in values.items():
        d.setVar(name, str(value))
    tmp_path.joinpath("sysroot").mkdir()
    return d


def depends_on(d: Any, *recipes: str) -> None:
    d.setVar("BB_TASKDEPDATA", {n: (name, "do_populate_sysroot") for n, name in enumerate((*recipes, "app"))})


def test_only_the_folders_for_others_are_staged(recipe: Any, tmp_path: Path) -> None:
    for name in ("include/app.h", "lib/libapp.so", "lib/modules/app.ko", "bin/app"):
        tree.write_atomically(tmp_path / "image/usr" / name, "")
    staging.stage(recipe)
    files = sorted(str(p.relative_to(tmp_path / "staged")) for p in tmp_path.glob("staged/**/*") if p.is_file())
    assert files == ["usr/include/app.h", "usr/lib/libapp.so"]


def test_a_sysroot_is_what_the_dependencies_staged(recipe: Any, tmp_path: Path) -> None:
    for name in (
        "arm64/glibc/usr/include/stdio.h",
        "qemu/optee-os/usr/include/tee.h",
        "arm64/other/usr/include/o.h",
    ):
        tree.write_atomically(tmp_path / "components" / name, "")
    depends_on(recipe, "glibc", "optee-os")
    staging.collect(recipe)
    assert sorted(p.name for p in tmp_path.glob("sysroot/usr/include/*")) == ["stdio.h", "tee.h"]
    assert tmp_path.joinpath("sysroot/lib").readlink() == Path("usr/lib")


def test_a_dependency_that_staged_nothing_is_named(recipe: Any, one_error: Says) -> None:
    depends_on(recipe, "glibc")
    with one_error("glibc has staged nothing", "bitbake -c clean glibc"):
        staging.collect(recipe)


def test_two_dependencies_with_the_same_file_are_an_error(recipe: Any, tmp_path: Path, one_error: Says) -> None:
    for name in ("glibc", "musl"):
        tree.write_atomically(tmp_path / f"components/arm64/{name}/usr/include/stdio.h", name)
    depends_on(recipe, "glibc", "musl")
    with one_error("two dependencies stage", "usr/include/stdio.h", "remove one of them from DEPENDS"):
        staging.collect(recipe)
