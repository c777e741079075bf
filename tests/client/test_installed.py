"""What `make -C host install` installs is all that a C or C++ program needs."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import BUILD, ROOT, make

from tzml.client import World, open_model


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """libtzml, installed in a folder of its own."""
    folder = tmp_path_factory.mktemp("prefix")
    make("host", "install", f"O={BUILD / 'host'}", "TEE=n", f"prefix={folder}")
    return folder


def flags(prefix: Path) -> list[str]:
    """What pkg-config says for tzml."""
    environment = {**os.environ, "PKG_CONFIG_LIBDIR": str(prefix / "lib" / "pkgconfig")}
    done = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "tzml"], env=environment, capture_output=True, text=True, check=True
    )
    return shlex.split(done.stdout)


def test_the_example_compiles_and_runs(prefix: Path, digits_for_host: Path, tmp_path: Path, libtzml: Path) -> None:
    program = tmp_path / "example"
    warnings = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run(["gcc", *warnings, ROOT / "docs/example.c", *flags(prefix), "-o", program], check=True)
    image = np.random.default_rng(1).random((1, 1, 28, 28), np.float32)
    environment = {"LD_LIBRARY_PATH": str(prefix / "lib")}
    done = subprocess.run([program, digits_for_host], env=environment, input=image.tobytes(), capture_output=True,
                          check=True)  # fmt: skip
    with open_model(digits_for_host, World.ree) as model:
        (probabilities,) = model.run(image).outputs["probabilities"]
    lines = [line.split() for line in done.stdout.decode().splitlines()]
    assert [int(digit) for digit, _ in lines] == list(range(10))
    assert [float(number) for _, number in lines] == pytest.approx(probabilities, abs=1e-4)
    wrong = subprocess.run([program, ROOT / "README.md"], env=environment, input=image.tobytes(),
                           capture_output=True, text=False, check=False)  # fmt: skip
    assert wrong.returncode == 1
    assert b"the file is not a tzml bundle" in wrong.stderr


def test_the_example_has_about_twenty_lines() -> None:
    assert len((ROOT / "docs/example.c").read_text().splitlines()) <= 25


def test_a_c_plus_plus_program_links(prefix: Path, tmp_path: Path) -> None:
    source = tmp_path / "program.cc"
    source.write_text(
        '#include <tzml.h>\nint main() { return tzml_open("", TZML_WORLD_REE, nullptr) == TZML_SUCCESS; }\n'
    )
    subprocess.run(["clang", "-Wall", "-Werror", source, *flags(prefix), "-o", tmp_path / "program"], check=True)


def test_only_what_the_header_declares_is_exported(prefix: Path) -> None:
    command: list[str | Path] = ["nm", "-D", "--defined-only", prefix / "lib/libtzml.so.1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    exported = {line.split()[2].partition("@")[0] for line in done.stdout.splitlines()} - {"TZML_1"}
    header = (prefix / "include/tzml.h").read_text()
    assert exported == {name for name in exported if f"{name}(" in header}
    assert {"tzml_open", "tzml_open_fd", "tzml_open_memory", "tzml_reset", "tzml_select"} <= exported
