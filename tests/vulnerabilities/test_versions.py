"""Versions come in the order in which dpkg, and upstream, see them."""

from __future__ import annotations

import shutil
import subprocess
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tzml.vulnerabilities.versions import comparable, compare_debian, compare_upstream, upstream_of

DEBIAN = (
    "0", "1.0~rc1-1", "1.0-1", "1.0-1+b2", "1.0-1+deb13u1", "1.0-2", "1.0a-1", "1.0+dfsg-1", "1.0.1-1",
    "1.2-1~bpo12+1", "1.2-1", "1.10-1", "1:0.5-1", "2:0~20240101-3",
)  # fmt: skip
UPSTREAM = ("1.0-alpha2", "1.0-beta1", "1.0rc1", "1.0-rc2", "1.0", "1.0k", "1.0.1", "1.0.1k", "1.2", "1.10")


def sign(number: int) -> int:
    return (number > 0) - (number < 0)


def dpkg(one: str, other: str) -> int:
    for number, relation in ((-1, "lt"), (0, "eq"), (1, "gt")):
        if subprocess.run(["dpkg", "--compare-versions", one, relation, other], check=False).returncode == 0:
            return number
    raise AssertionError(f"dpkg does not compare {one} with {other}")


@pytest.mark.parametrize(("one", "other"), [*combinations(DEBIAN, 2)])
def test_debians_versions_are_in_order(one: str, other: str) -> None:
    assert compare_debian(one, other) < 0 < compare_debian(other, one)
    assert compare_debian(one, one) == 0


@pytest.mark.skipif(not shutil.which("dpkg"), reason="dpkg is not installed")
@settings(max_examples=40, deadline=None)
@given(
    st.from_regex(r"\A([0-9]:)?[0-9][0-9a-c.+~]{0,5}(-[0-9a-c+~]{1,3})?\Z"),
    st.from_regex(r"\A([0-9]:)?[0-9][0-9a-c.+~]{0,5}(-[0-9a-c+~]{1,3})?\Z"),
)
def test_dpkg_agrees(one: str, other: str) -> None:
    assert sign(compare_debian(one, other)) == dpkg(one, other)


@pytest.mark.parametrize(("one", "other"), [*combinations(UPSTREAM, 2)])
def test_upstreams_versions_are_in_order(one: str, other: str) -> None:
    assert compare_upstream(one, other) < 0 < compare_upstream(other, one)


def test_how_a_number_is_written_makes_no_difference() -> None:
    assert compare_upstream("v2.12.0", "2.12") == 0
    assert compare_upstream("2025.01", "2025.1") == 0
    assert compare_upstream("4_10_0", "4.10.0") == 0


def test_what_is_no_number_is_not_compared() -> None:
    assert comparable("1.0")
    assert not comparable("caa36c53f796beb25d9b9f58b1b7a492e9987e15")
    assert not comparable("unknown")


def test_debians_version_has_upstreams_in_it() -> None:
    assert upstream_of("1:1.37.0-6+b1") == "1.37.0"
    assert upstream_of("2.12.1+dfsg-1") == "2.12.1"
    assert upstream_of("6.12.118-1") == "6.12.118"
    assert upstream_of("2026.04~rc2+dfsg-1") == "2026.04rc2"
