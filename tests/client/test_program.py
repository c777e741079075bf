"""Whatever happens, the user gets one line and a documented exit code, never a traceback."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import tzml

from tzml.cli import program
from tzml.cli import tzml as tzml_command
from tzml.cli.options import RealNumber
from tzml_zoo.digits import ONNX

PRINTS = """
import click, sys
from rich.console import Console
from tzml.cli import program
@click.command()
@click.argument("name")
def tabulate(name): Console().print(name)
program.run(tabulate)
"""
TZML: tuple[str, ...] = (sys.executable, "-m", "tzml")


def test_standard_output_that_is_full_or_closed_is_an_error(digits_for_host: Path) -> None:
    command: list[str | Path] = [*TZML, "inspect", digits_for_host]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "tzml: standard output: No space left on device\n")
    closed = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *command], stderr=subprocess.PIPE, text=True, check=False
    )
    assert (closed.returncode, closed.stderr) == (2, "tzml: standard output: it is closed\n")


def test_a_reader_that_has_seen_enough_ends_the_command(digits_for_host: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command: list[str | Path] = [*TZML, "inspect", digits_for_host]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_no_file_is_taken_for_a_closed_stream(digits_for_host: Path, tmp_path: Path) -> None:
    """Without a standard output, the next file that is opened would get its number, and what is printed."""
    done = subprocess.run(
        ["sh", "-c", '"$@" <&- >&- 2>&-', "sh", *TZML, "inspect", digits_for_host, "--svg", tmp_path / "x.svg"],
        check=False,
    )
    assert done.returncode == 2
    assert (tmp_path / "x.svg").read_text().endswith("</svg>\n")


@pytest.mark.parametrize(
    "variables",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
    ids=["ascii", "C"],
)
def test_what_the_terminal_cannot_show_ends_no_command(
    digits_for_host: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    odd = os.fsencode(tmp_path) + b"/\xc2\xb5\xff.tzm"
    shutil.copy(digits_for_host, os.fsdecode(odd))
    html = tmp_path / "x.html"
    commands: tuple[list[str | bytes | Path], ...] = (
        [*TZML, "inspect", odd, "--html", html],
        [sys.executable, "-c", PRINTS, odd],
    )
    for command in commands:
        done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        assert b".tzm" in done.stdout
    assert b"\\udcff.tzm" in done.stdout


def test_ctrl_c_ends_the_command_with_a_line(digits_for_host: Path, libtzml: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.npy")
    command: list[str | Path] = [*TZML, "run", digits_for_host, "--world", "ree", "--input", tmp_path / "x.npy"]
    # a shell that runs the tests in the background lets them ignore the interrupt
    listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=listening)
    with (tmp_path / "x.npy").open("wb"):  # it has begun to read
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert (running.returncode, said.strip()) == (130, "tzml: interrupted")


def test_a_fault_of_tzml_is_a_line_and_with_verbose_says_where() -> None:
    source = (
        "import click, sys\nfrom tzml.cli import program\n"
        "@click.command()\ndef broken():\n    [].pop()\nprogram.add_verbose(broken)\nprogram.run(broken)\n"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert done.returncode == 70
    [line] = done.stderr.splitlines()
    assert line.startswith("tzml: IndexError: pop from empty list (")
    done = subprocess.run([sys.executable, "-c", source, "-v"], capture_output=True, text=True, check=False)
    assert "Traceback" in done.stderr


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    """No file may be larger than 20 KiB: neither in TMPDIR, where the compiler works, nor the bundle."""
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 20; exec "$@"', "sh", *TZML, "compile", ONNX, "--target", "host", "-o", "x.tzm"],
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")}, cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert re.match(r"tzml: \S", done.stderr), done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["tmp"]


def test_a_model_in_a_pipe_is_refused_with_the_reason(digits_for_host: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for arguments in (("compile", tmp_path / "pipe", "--target", "host"), ("inspect", tmp_path / "pipe")):
        done = tzml(*arguments)
        assert done.returncode == 2
        assert "is a pipe" in done.stderr


# Every path that any command takes, with every kind of path

VALUES = {"target": "host", "kind": "onnx", "format_name": "bencher", "name": "digits", "environment": "qemu"}
NAMES = {"machine", "environment", "name", "names", "models_or_names", "inputs"}
"""Parameters that are text, or a path."""
SKIPPED = {"demo"}  # has none, and builds an image
BAD = ("missing", "folder", "empty", "garbage", "text", "{}", "[1]", "loop", "socket", "half")


def make_bad(folder: Path, digits_for_host: Path) -> dict[str, str]:
    """Paths of every kind, each of which is as it was if a command had written there."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "folder").mkdir(parents=True)
    (folder / "loop").symlink_to("loop")
    contents = {"empty": b"", "garbage": os.urandom(5000), "text": b"hello\nworld\n", "{}": b"{}", "[1]": b"[1]",
                "half": digits_for_host.read_bytes()[:3000]}  # fmt: skip
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket"))
    found = {name: str(folder / name) for name in BAD} | {"beneath": str(folder / "text" / "x"), "long": "n" * 300}
    return found | {"null": "/dev/null", "memory": "/proc/self/mem", ".": ".", "/": "/", "none": ""}


def leaves(command: click.Command, *names: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in sorted(set(command.list_commands(context)) - SKIPPED):
            found = command.get_command(context, name)
            assert found
            yield from leaves(found, *names, name)
    else:
        yield names, command


def test_no_number_of_an_option_is_nan_or_infinite() -> None:
    found = [
        (names, option.name, option.type)
        for names, command in leaves(tzml_command)
        for option in command.params
        if isinstance(option.type, (click.FloatRange, click.types.FloatParamType))
    ]
    assert len(found) > 20
    for names, option, kind in found:
        assert isinstance(kind, RealNumber), (names, option)
    for wrong in ("nan", "inf", "-inf", "NaN", "1e999"):
        with pytest.raises(click.BadParameter):
            RealNumber().convert(wrong, None, None)
    done = tzml("simulate", "--rate", "nan")
    assert done.returncode == 2
    assert "'nan' is no finite number" in done.stderr


def test_no_path_is_too_bad_for_any_command(
    digits_for_host: Path, tmp_path: Path, libtzml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LG_DEPLOY", str(tmp_path))  # tzml lab doctor digests the image that is there
    bad = make_bad(tmp_path / "bad", digits_for_host)
    np.save("x.npy", np.zeros((1, 1, 28, 28), np.float32))
    good = {**VALUES, "bundle": str(digits_for_host), "inputs": "x.npy", "model": bad["text"]}
    tried = 0
    for names, command in leaves(tzml_command):
        taken = [p for p in command.params if isinstance(p.type, click.Path) or p.name in NAMES]
        for parameter in taken:
            make_bad(tmp_path / "bad", digits_for_host)
            for path in bad.values():
                before = [*names, *(["--world", "ree"] if names == ("run",) else [])]
                for other in command.params:
                    value = path if other is parameter else good.get(str(other.name))
                    needed = other is parameter or other.required or (names == ("run",) and other.name == "inputs")
                    if not needed or value is None or (parameter.name == "files" and other.name == "inputs"):
                        continue
                    before += [value] if isinstance(other, click.Argument) else [other.opts[-1], value]
                if names[0] == "compile" and parameter.name != "model":
                    before[before.index(bad["text"])] = bad["garbage"]  # not compiled: that takes long
                done = CliRunner().invoke(tzml_command, [*before, *(["--print"] if names == ("boot",) else [])])
                tried += 1
                error = done.exception
                if error and not isinstance(error, SystemExit):
                    code, line = program._explained(error)
                    assert code == program.ERROR, f"{before}: {line}"
                    assert line, before
                else:
                    assert done.exit_code in (0, 1, 2, 14), before
    assert tried > 300
