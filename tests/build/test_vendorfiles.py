"""Files that the user supplies: taken when they are there, and listed when they are not."""

from __future__ import annotations

import json
import logging
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tzmldebian import vendorfiles

from .conftest import Says


@pytest.fixture
def files(d: Any, tmp_path: Path) -> Path:
    """The user's folder, of which the recipe wants a.bin (known to git) and b.bin."""
    folder = tmp_path / "files"
    folder.mkdir()
    d.setVar("VENDOR_FILES", "a.bin b.bin")
    d.setVar("VENDOR_FILES_VARIABLE", "TZML_FILES")
    d.setVar("VENDOR_FILES_DIR", str(folder))
    d.setVar("DEPLOY_DIR_IMAGE", str(tmp_path))
    for name in ("a.bin", "b.bin"):
        d.setVarFlag("VENDOR_FILE_FOR", name, f"use of {name}")
        d.setVarFlag("VENDOR_FILE_FROM", name, f"place of {name}")
    d.setVarFlag("VENDOR_FILE_GIT", "a.bin", vendorfiles.git_object_id(b"upstream's"))
    return folder


def test_the_object_id_is_gits(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    said = subprocess.run(["git", "hash-object", tmp_path / "file"], capture_output=True, text=True, check=True)
    assert vendorfiles.git_object_id(b"content") == said.stdout.strip()


def test_without_a_folder_all_are_missing(d: Any, files: Path) -> None:
    d.setVar("VENDOR_FILES_DIR", "")
    assert vendorfiles.digests(d) == ""
    assert [entry["name"] for entry in vendorfiles.missing(d)] == ["a.bin", "b.bin"]


def test_a_file_that_appears_or_changes_is_something_new(d: Any, files: Path) -> None:
    seen = {vendorfiles.digests(d)}
    for content in (b"1", b"2"):
        (files / "b.bin").write_bytes(content)
        seen.add(vendorfiles.digests(d))
    assert len(seen) == 3
    assert [entry["name"] for entry in vendorfiles.missing(d)] == ["a.bin"]


def test_the_list_says_what_for_where_from_and_the_checksum_if_there_is_one(d: Any, files: Path) -> None:
    text = vendorfiles.text(vendorfiles.missing(d), "TZML_FILES")
    assert "TZML_FILES=<the folder>" in text
    for name in ("a.bin", "b.bin"):
        assert f"use of {name}" in text
        assert f"place of {name}" in text
    first, second = text.split("  b.bin\n")
    assert vendorfiles.git_object_id(b"upstream's") in first
    assert "git hash-object a.bin" in first
    assert "upstream publishes none" in second


def test_every_build_ends_with_the_list_as_long_as_something_is_missing(
    d: Any, files: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "image.json").write_text(json.dumps({"missing": vendorfiles.missing(d)}))
    for _ in range(2):
        caplog.clear()
        vendorfiles.warn(d)
        [said] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert said.startswith("the image is incomplete without a.bin, b.bin: ")
    caplog.clear()
    (tmp_path / "image.json").write_text(json.dumps({"missing": []}))
    vendorfiles.warn(d)
    assert not caplog.records


def test_another_file_than_upstreams_is_used_with_a_warning(
    d: Any, files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (files / "a.bin").write_bytes(b"upstream's")
    vendorfiles.check(d, "a.bin")
    assert not caplog.records
    (files / "a.bin").write_bytes(b"my own")
    vendorfiles.check(d, "a.bin")
    [said] = [record.getMessage() for record in caplog.records]
    assert all(word in said for word in ("a.bin", "differs from upstream's", vendorfiles.git_object_id(b"my own")))


@pytest.mark.parametrize(("value", "words"), [("~/files", "absolute path"), ("/nowhere", "not a folder")])
def test_a_folder_that_is_none(d: Any, files: Path, value: str, words: str, one_error: Says) -> None:
    d.setVar("VENDOR_FILES_DIR", value)
    with one_error("TZML_FILES", value, words):
        vendorfiles.digests(d)
