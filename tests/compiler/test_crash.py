"""No input kills a command that compiles without a word: the compiler runs in a process of its own."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper
from small_models import onnx_model

from tzml.cli import tzml
from tzml.cli.child import Tell, in_child
from tzml.compiler import CompileOptions
from tzml.compiler.frontends import import_file
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.progress import Progress
from tzml.errors import TzmlError


def test_a_result_comes_back() -> None:
    assert in_child(lambda _: os.getpid(), "model") != os.getpid()


def test_an_error_comes_back_with_its_remedy() -> None:
    def fail(_: Tell) -> None:
        raise CompileError("what", "remedy")

    with pytest.raises(CompileError) as caught:
        in_child(fail, "model")
    assert (str(caught.value), caught.value.remedy) == ("what; remedy", "remedy")


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (
            signal.SIGSEGV,
            r"model.onnx: the compiler crashed while folding \(SIGSEGV\); this is a fault",
        ),
        (signal.SIGKILL, "model.onnx: the compiler was killed while folding; give it more memory"),
    ],
)
def test_a_death_is_an_error_that_names_the_step(number: int, message: str) -> None:
    def die(tell: Tell) -> None:
        tell("folding")
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    with pytest.raises(TzmlError, match=message):
        in_child(die, "model.onnx")


COMMANDS = {
    "tzml.cli.compiled": ("compile", "--target", "host"),
    "tzml.compiler.tuning.search": ("tune", "--target", "host"),
    "tzml.bench.bench": ("bench",),
}


@pytest.mark.parametrize("module", COMMANDS)
def test_every_command_that_compiles_outlives_the_compiler(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_: Path, __: CompileOptions, progress: Progress, **___: object) -> None:
        progress("folding")
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)

    monkeypatch.setattr(f"{module}.compile_model", crash)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").touch()
    name, *arguments = COMMANDS[module]
    done = CliRunner().invoke(tzml, [name, "model.onnx", *arguments])
    assert re.search(r"model.onnx: the compiler crashed while folding \(SIGSEGV\)", str(done.exception))


def test_elements_that_no_kernel_computes_are_refused(tmp_path: Path) -> None:
    """LLVM 22 crashes on a conversion to bfloat16."""
    nodes = [
        helper.make_node("Cast", ["x"], ["b"], "to_brain", to=TensorProto.BFLOAT16),
        helper.make_node("Cast", ["b"], ["y"], to=TensorProto.FLOAT),
    ]
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_model(*nodes).SerializeToString())
    with pytest.raises(CompileError, match="of type bfloat16, which no kernel computes; export it in float32"):
        import_file(path, {}, lambda _: None)
