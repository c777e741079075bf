"""What feeds write about licences becomes SPDX expressions, or a reference that keeps the words."""

from __future__ import annotations

import importlib.util

import pytest
from conftest import ROOT

spec = importlib.util.spec_from_file_location("licences", ROOT / "tools/licences.py")
assert spec
assert spec.loader
licences = importlib.util.module_from_spec(spec)
spec.loader.exec_module(licences)
both, expression = licences.both, licences.expression


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GPL-2+", "GPL-2.0-or-later"),
        ("GPL-2", "GPL-2.0-only"),
        ("LGPL-2.1+", "LGPL-2.1-or-later"),
        ("Expat", "MIT"),
        ("BSD-3-clause", "BSD-3-Clause"),
        ("GPL-2+ or Artistic", "GPL-2.0-or-later OR Artistic-1.0-Perl"),
        ("GPL-2.0+, LGPL-2.1+ (libraries)", "GPL-2.0-or-later AND LGPL-2.1-or-later"),
        ("GPL-2.0-only & MIT", "GPL-2.0-only AND MIT"),
        ("(MIT | ISC) & Zlib", "(MIT OR ISC) AND Zlib"),
        ("Apache-2.0", "Apache-2.0"),
        ("Perl", "(Artistic-1.0-Perl OR GPL-1.0-or-later)"),
    ],
)
def test_known_licences_have_spdx_names(text: str, expected: str) -> None:
    assert expression(text) == (expected, {})


@pytest.mark.parametrize("name", ["bzip2-1.0.4", "GPL-2+ with OpenSSL exception", "public-domain", "((", "a/b c"])
def test_other_licences_keep_their_name(name: str) -> None:
    found, references = expression(name)
    assert found.startswith("LicenseRef-")
    assert list(references.values()) == [name]


def test_the_known_part_is_not_lost() -> None:
    assert expression("GPL-2.0, bzip2-1.0.4") == (
        "GPL-2.0-only AND LicenseRef-bzip2-1.0.4",
        {"LicenseRef-bzip2-1.0.4": "bzip2-1.0.4"},
    )


def test_all_of_several_hold() -> None:
    assert both(["Expat", "GPL-2+ or Artistic"])[0] == "MIT AND (GPL-2.0-or-later OR Artistic-1.0-Perl)"
    assert both([]) == ("NOASSERTION", {})
