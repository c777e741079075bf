"""Commands for scripts and shells: JSON, arrays by name, completion, help that is not cut."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import tzml
from onnx import TensorProto, helper, save
from programs import run_module

from tzml.cli import tzml as tzml_command
from tzml.compiler import CompileOptions, compile_model
from tzml_zoo import models


@pytest.fixture(scope="module")
def two_by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with two inputs and two outputs: their sum, and "file", the double of the first one."""
    folder = tmp_path_factory.mktemp("two")
    info = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("image", "mask", "sum", "file")
    ]
    nodes = [
        helper.make_node("Add", ["image", "mask"], ["sum"]),
        helper.make_node("Add", ["image", "image"], ["file"]),
    ]
    graph = helper.make_graph(nodes, "two", info[:2], info[2:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), folder / "two.onnx")
    compile_model(folder / "two.onnx", CompileOptions("host")).write(folder / "two.tzm")
    return folder / "two.tzm"


@pytest.mark.usefixtures("libtzml")
def test_npz_brings_all_inputs_and_takes_all_outputs(two_by_two: Path, tmp_path: Path) -> None:
    image, mask = np.arange(4, dtype=np.float32)[None], np.ones((1, 4), np.float32)
    np.savez(tmp_path / "x.npz", mask=mask, image=image)
    run = ("run", two_by_two, "--world", "ree")
    done = tzml(*run, "--input", tmp_path / "x.npz", "-o", tmp_path / "y.npz")
    assert (done.returncode, done.stderr) == (0, "")
    with np.load(tmp_path / "y.npz") as found:
        assert set(found) == {"sum", "file"}
        np.testing.assert_array_equal(found["sum"], image + mask)
        np.testing.assert_array_equal(found["file"], 2 * image)
    first = tzml(*run, "--input", tmp_path / "x.npz", "-o", tmp_path / "y.npy")
    assert first.returncode == 0
    assert "has only sum; give a .npz file for all 2 outputs" in first.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), image + mask)


@pytest.mark.usefixtures("libtzml")
def test_a_wrong_name_is_named_with_a_similar_one(two_by_two: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 4), np.float32))
    np.savez(tmp_path / "x.npz", image=np.zeros(4), maks=np.zeros(4))
    x = tmp_path / "x.npy"
    for inputs, message in (
        ((f"imgae={x}", f"mask={x}"), "the model has no input imgae; did you mean image? it has image, mask"),
        ((f"IMAGE={x}",), "the model has no input IMAGE; did you mean image?"),
        ((tmp_path / "x.npz",), "the model has no input maks; did you mean mask?"),
        ((f"image={x}", f"image={x}"), "the input image is given twice"),
        ((f"image={tmp_path / 'x.npz'}",), "the arrays in"),
        ((f"image={x}",), "no array was given for mask: float32[1, 4]"),
    ):
        done = tzml("run", two_by_two, "--world", "ree", *(word for i in inputs for word in ("--input", i)))
        assert done.returncode == 2
        assert message in done.stderr
    compiled = tzml("compile", two_by_two.with_suffix(".onnx"), "--target", "host", "--input", "msk=1x4")
    assert "the model has no input msk; did you mean mask?" in compiled.stderr
    twice = tzml("compile", two_by_two.with_suffix(".onnx"), "--target", "host", *("--input", "mask=1x4") * 2)
    assert "the input mask is given twice" in twice.stderr
    assert "did you mean squeezenet?" in tzml("zoo", "export", "squeezent").stderr


def test_json_is_what_was_done(two_by_two: Path, tmp_path: Path) -> None:
    compile_ = ("compile", two_by_two.with_suffix(".onnx"), "--target", "host", "--json")
    done = tzml(*compile_, "-o", tmp_path / "m.tzm")
    about = json.loads(done.stdout)
    assert (about["file"], about["bytes"]) == (str(tmp_path / "m.tzm"), (tmp_path / "m.tzm").stat().st_size)
    assert about["worlds"] == ["ree"]
    shown = json.loads(tzml("inspect", tmp_path / "m.tzm", "--json").stdout)
    assert {key: shown[key] for key in ("arena", "weights", "secure_memory", "kernel_calls")} == {
        key: about[key] for key in ("arena", "weights", "secure_memory", "kernel_calls")
    }
    assert [row["name"] for row in json.loads(tzml("zoo", "list", "--json").stdout)] == list(models())
    exported = json.loads(run_module("tzml", "zoo", "export", "digits", "--json", cwd=tmp_path).stdout)
    assert exported["bytes"] == (tmp_path / exported["file"]).stat().st_size


def test_verbose_says_on_standard_error_what_is_done(two_by_two: Path, tmp_path: Path) -> None:
    done = tzml(
        "compile", two_by_two.with_suffix(".onnx"), "--target", "host", "-o", tmp_path / "m.tzm", "-v", "--json"
    )
    assert json.loads(done.stdout)
    assert "tzml: two.onnx: linking, after " in done.stderr
    assert "tzml: gcc " in done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("tzml comp", {"compile"}),
        ("tzml boot q", {"qemu"}),
        ("tzml ssh rpi", {"rpi3"}),
        ("tzml zoo export resnet", {"resnet18", "resnet50", "resnet152"}),
        ("tzml bench vgg", {"vgg7", "vgg16", "vgg19"}),
        ("tzml lab doctor rpi3-em", {"rpi3-emulated"}),
        ("tzml tune --lg-env rpi3-em", {"rpi3-emulated"}),
        ("tzml compile --target rp", {"rpi3"}),
        ("tzml compile --verb", {"--verbose"}),
    ],
)
def test_the_shell_completes_names(words: str, expected: set[str]) -> None:
    from click.shell_completion import BashComplete

    *arguments, incomplete = words.split()[1:]
    found = BashComplete(tzml_command, {}, "tzml", "_TZML_COMPLETE").get_completions(arguments, incomplete)
    assert {item.value for item in found} == expected


def test_the_program_answers_the_shell() -> None:
    variables = {"_TZML_COMPLETE": "bash_complete", "COMP_WORDS": "tzml insp", "COMP_CWORD": "1"}
    program = [sys.executable, "-c", "import sys; sys.argv = ['tzml']; from tzml.cli import main; main()"]
    done = subprocess.run(program, env={**os.environ, **variables}, capture_output=True, text=True, check=True)
    assert done.stdout == "plain,inspect\n"


def test_no_summary_is_cut() -> None:
    context = click.Context(tzml_command)
    for name in set(tzml_command.list_commands(context)) - {"serve"}:  # a program in C takes the place of this one
        shown = CliRunner().invoke(tzml_command, [name, "--help"]).output
        assert "..." not in shown.partition("Commands:")[2]
        assert "--verbose" in shown
