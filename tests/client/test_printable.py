"""A bundle's text comes from somebody else: what a terminal would obey does not reach it."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import tzml

from tzml.bundle import Bundle
from tzml.compiler import CompileOptions, compile_model
from tzml.printable import printable
from tzml_zoo.digits import ONNX

ESCAPE = "\x1b]0;owned\x07\x1b[2J\x9b31m"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return compile_model(ONNX, CompileOptions("host"))


def is_safe(text: str) -> bool:
    return not any(unicodedata.category(c) == "Cc" for c in text if c != "\n")


def test_inspect_escapes_the_name_and_the_layers(bundle: Bundle, tmp_path: Path) -> None:
    notes = json.loads(bundle.notes)
    hostile = json.loads(json.dumps(notes).replace('"conv', f'"{json.dumps(ESCAPE)[1:-1]}conv'))
    metadata = json.dumps({**json.loads(bundle.metadata or b"{}"), "name": ESCAPE}).encode()
    path = tmp_path / "model.tzm"
    replace(bundle, metadata=metadata, notes=json.dumps(hostile).encode()).write(path)
    done = tzml("inspect", path)
    assert done.returncode == 0, done.stderr
    assert r"\x1b]0;owned\x07\x1b[2J\x9b31m" in done.stdout
    assert is_safe(done.stdout)


@pytest.mark.usefixtures("libtzml")
def test_run_escapes_labels_and_errors(bundle: Bundle, tmp_path: Path) -> None:
    path, sample = tmp_path / "model.tzm", tmp_path / "x.npy"
    (info,) = bundle.inputs()
    (output,) = bundle.outputs()
    np.save(sample, np.zeros(info.shape, np.float32))
    run = ("run", path, "--world", "ree", "--input", sample)
    replace(bundle, metadata=json.dumps({"labels": {output.name: [ESCAPE] * 10}}).encode()).write(path)
    done = tzml(*run)
    assert done.returncode == 0, done.stderr
    assert r"\x1b[2J" in done.stdout
    assert is_safe(done.stdout)
    replace(bundle, metadata=json.dumps({"images": {ESCAPE: {}}}).encode()).write(path)
    done = tzml(*run)
    assert done.returncode == 2
    assert r"\x1b[2J" in done.stderr
    assert is_safe(done.stderr)


def test_what_no_terminal_obeys_stays_as_it_is() -> None:
    text = "Größe 1 µm\t数字 🙂\n"
    assert printable(text) == text
    assert printable("a\r\u202eb") == "a\\r\\u202eb"
