"""Compiled kernels are kept and shared between models; what is damaged is compiled again."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from onnx import helper
from programs import FORKS
from small_networks import build, network, weights

from tzml.bundle import decode
from tzml.compiler import CompileOptions, compile_model
from tzml.compiler.codegen import kernel_key
from tzml.compiler.codegen.kernel_cache import CompiledKernel, KernelCache
from tzml_zoo.digits import ONNX


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TZML_CACHE", str(tmp_path))
    return tmp_path / "kernels"


def digits() -> bytes:
    return compile_model(ONNX, CompileOptions("host")).encode()


def kernels(bundle: bytes) -> int:
    """How many kernels a bundle has."""
    return len({call.kernel for call in decode(bundle).program.calls})


def test_a_second_compile_takes_its_kernels_from_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = digits()
    entries = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(entries) == kernels(first)
    monkeypatch.setattr("tzml.compiler.codegen.build_kernel.build_kernel", None)
    assert digits() == first
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == entries


def test_it_does_not_matter_for_which_model_a_kernel_was_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two call by other names what they multiply by `w`."""
    model, other = (
        network(
            (1, 48), *(helper.make_node("MatMul", [a, w], [b]) for a, w, b in layers), v=square, w=weights(48, 10)
        )
        for square in [weights(48, 48)]
        for layers in ([("x", "w", "y")], [("x", "v", "h"), ("h", "w", "y")])
    )
    bundles = []
    for name, before in (("alone", []), ("after the other", [other])):
        monkeypatch.setenv("TZML_CACHE", str(tmp_path / name))
        bundles.append([build(tmp_path, data).encode() for data in [*before, model]][-1])
    assert bundles[0] == bundles[1]


SOURCES = Path(kernel_key.__file__).parent.parent


@pytest.fixture
def copied(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the compiler's sources, which entries of the cache are made from."""
    copy = tmp_path / "sources"
    shutil.copytree(SOURCES, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("tzml.compiler.codegen.kernel_key.resources.files", lambda _: copy)
    monkeypatch.setattr(kernel_key, "_compiler", kernel_key._compiler.__wrapped__)
    return copy


@pytest.mark.parametrize("name", ["codegen/build_graph.py", "codegen/kernels/tir.py", "ir/shapes.py"])
def test_a_kernel_of_other_sources_is_not_taken(tmp_path: Path, folder: Path, copied: Path, name: str) -> None:
    layers = helper.make_node("Relu", ["x"], ["a"]), helper.make_node("MaxPool", ["a"], ["y"], kernel_shape=[2, 2])
    data = network((1, 16, 8, 8), *layers)
    first, entries = build(tmp_path, data).encode(), set(folder.iterdir())
    assert build(tmp_path, data).encode() == first
    assert set(folder.iterdir()) == entries
    with (copied / name).open("a") as file:
        file.write("\n")
    assert build(tmp_path, data).encode() == first  # nothing that counts was changed
    assert len(set(folder.iterdir()) - entries) == kernels(first) > 0


def test_a_file_more_or_of_another_name_counts(copied: Path) -> None:
    keys = [kernel_key._compiler()]
    (copied / "codegen" / "more.py").write_text("")
    keys.append(kernel_key._compiler())
    (copied / "codegen" / "more.py").rename(copied / "codegen" / "other.py")
    keys.append(kernel_key._compiler())
    assert len(set(keys)) == 3


def test_what_codegen_uses_of_other_packages_counts_or_decides_nothing() -> None:
    """Who adds an import looks whether it decides machine code; then it belongs to USED."""
    nothing = {"errors", "graph", "progress", "targets"}
    imported = {
        found
        for path in (SOURCES / "codegen").rglob("*.py")
        for found in re.findall(r"^ *(?:from|import) tzml\.compiler\.(?!codegen\b)([\w.]+)", path.read_text(), re.M)
    }
    counted = {name.removesuffix(".py").replace("/", ".") for name in kernel_key.USED}
    assert imported == counted | {f"ir.{name}" for name in nothing}


def test_a_damaged_entry_is_compiled_again(folder: Path) -> None:
    first = digits()
    damaged = sorted(folder.iterdir())[:4]
    damaged[0].write_bytes(b"")
    damaged[1].write_bytes(damaged[1].read_bytes()[:-1])
    damaged[2].write_bytes(damaged[2].read_bytes()[:40] + b"!" + damaged[2].read_bytes()[41:])
    damaged[3].write_bytes(sorted(folder.iterdir())[5].read_bytes())  # whole, but another kernel's
    assert digits() == first
    cache = KernelCache()
    assert all(cache.get(path.name) for path in folder.iterdir())


def test_a_cache_that_cannot_be_written_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TZML_CACHE", str(tmp_path / "file"))
    cache = KernelCache()
    cache.put("key", CompiledKernel(b"code", ()))
    assert cache.get("key") is None


def _keep_in(folder: Path) -> None:
    os.environ["TZML_CACHE"] = str(folder)


def _write_and_read(number: int) -> int:
    cache = KernelCache()
    whole = 0
    for _ in range(50):
        cache.put("key", CompiledKernel(bytes([number]) * 100_000, (number,)))
        found = cache.get("key")
        assert found
        whole += found.object_file == bytes(found.scratch) * 100_000
    return whole


def test_several_writers_leave_whole_entries(folder: Path) -> None:
    with FORKS.Pool(2, _keep_in, [folder.parent]) as pool:
        assert pool.map(_write_and_read, [1, 2]) == [50, 50]
    assert [path.name for path in folder.iterdir()] == ["key"]
