"""The engine is used with BitBake's library, so its licence is BitBake's; the rest is Apache-2.0."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

from conftest import ROOT

from .conftest import ENGINE, LAYER

GPL = "SPDX-License-Identifier: GPL-2.0-only"


def tracked(folder: Path) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z", "--", folder], cwd=ROOT, capture_output=True, check=True)
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def test_every_file_of_the_engine_is_gpl() -> None:
    files = [path for path in tracked(ENGINE) if path.name != "LICENSE"]
    assert files
    assert [path for path in files if GPL not in path.read_text()] == []


def test_the_engine_comes_with_the_text_of_its_licence() -> None:
    text = " ".join((ENGINE / "LICENSE").read_text().split())
    assert text.startswith("GNU GENERAL PUBLIC LICENSE Version 2, June 1991")
    # to its last section, 12, not only its beginning
    assert "SUCH HOLDER OR OTHER PARTY HAS BEEN ADVISED OF THE POSSIBILITY OF SUCH DAMAGES" in text


def test_nothing_else_is_gpl() -> None:
    outside = [p for p in tracked(LAYER) if not p.is_relative_to(ENGINE) and p.suffix in {".py", ".bb", ".bbclass"}]
    assert outside
    assert [path for path in outside if GPL in path.read_text()] == []


def test_recipes_have_the_digest_of_the_products_licence() -> None:
    stated = re.search(r"file://LICENSE;md5=(\w+)", (ROOT / "meta-tzml/recipes-tzml/tzml-source.inc").read_text())
    assert stated
    found = hashlib.md5((ROOT / "LICENSE").read_bytes(), usedforsecurity=False).hexdigest()
    assert stated[1] == found
