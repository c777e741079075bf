"""`tzml bench` measures what it says, and both runtimes agree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import tzml

from tzml.bench.programs import compile_c, source
from tzml.cache import cache_folder
from tzml.cli.bench import chosen, command


def test_both_runtimes_are_measured_and_agree() -> None:
    done = CliRunner().invoke(command, ["digits", "--repeat", "1", "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (result,) = json.loads(done.output)
    assert result["name"] == "digits"
    assert result["difference"] < 1e-5
    assert result["ours"] > 0
    assert result["onnxruntime"] > 0
    assert result["ratio"] == pytest.approx(result["ours"] / result["onnxruntime"])


def test_a_network_without_a_tflite_file_has_a_dash_and_the_way_to_make_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "kernels").symlink_to(cache_folder("kernels"))
    monkeypatch.setenv("TZML_CACHE", str(tmp_path))  # without the TFLite files that there may be
    arguments = ["lstm_keywords", "--repeat", "1", "--markdown"]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    names, _, row = ([cell.strip() for cell in line.split("|")] for line in done.stdout.splitlines())
    assert row[names.index("litert")] == "-"
    assert done.stderr == "LiteRT was not measured; make its TFLite files: tzml zoo convert lstm_keywords\n"


def test_a_name_that_is_nothing_is_one_line() -> None:
    done = tzml("bench", "nothing")
    assert done.returncode == 2
    assert done.stderr.startswith("tzml: nothing is neither a file nor a network in the zoo; the zoo has digits")
    assert done.stderr.count("\n") == 1


def test_the_plugin_compiles() -> None:
    compile_c("gcc", ["-shared", "-fPIC", "-fsyntax-only", source("instructions.c")], source("."))


def test_the_largest_networks_are_measured_only_when_asked_for() -> None:
    left_out = set(chosen(also_large=True)) - set(chosen(also_large=False))
    assert left_out == {"resnet152", "vgg16", "vgg19"}
