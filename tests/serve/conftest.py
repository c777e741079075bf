"""Models for tzml-serve: the specification's examples, with kernels that wait when they are told to."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import bundle_examples
import pytest
from conftest import BUILD, ROOT, once

from .server import Server, for_host, program


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with plain.tzm and stateful.tzm, whose kernels wait at a gate."""

    def write(folder: Path) -> None:
        library, source = folder / "kernels.so", ROOT / "tests" / "serve" / "slow_kernels.c"
        command: list[str | Path] = [
            "gcc",
            "-std=gnu11",
            "-D_GNU_SOURCE",
            "-O2",
            "-fPIC",
            "-shared",
            "-o",
            library,
            source,
        ]
        subprocess.run(
            [*command, f"-I{ROOT}/runtime/include", f"-I{ROOT}/runtime", f"-I{ROOT}/tests/c"], check=True
        )
        (folder / "plain.tzm").write_bytes(for_host(bundle_examples.BUNDLE, library))
        (folder / "stateful.tzm").write_bytes(for_host(bundle_examples.stateful(), library))

    return once(tmp_path_factory, "served-models", write)


@pytest.fixture(scope="session", autouse=True)
def _compiled() -> Path:
    BUILD.mkdir(parents=True, exist_ok=True)
    return program()


@pytest.fixture(scope="module")
def server(models: Path, digits_for_host: Path) -> Iterator[Server]:
    """A server with three models, for tests that leave it as it was."""
    arguments = (digits_for_host, models / "plain.tzm", f"counter={models / 'stateful.tzm'}")
    with Server("--samples", "8", "--sequences", "3", *arguments) as running:
        yield running
