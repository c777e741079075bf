"""What a command writes is whole, and leaves links, devices, pipes, modes and owners as they are: Python and C."""

from __future__ import annotations

import ast
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from conftest import BUILD, ROOT, tzml

from tzml.cli import tzml as tzml_command
from tzml.cli.options import OutputFile
from tzml.client import World, open_model
from tzml.errors import TzmlError
from tzml.files import check_output, write_file, written

IMAGE = np.zeros((1, 1, 28, 28), np.float32)
ROOT_USER = os.geteuid() == 0
Write = Callable[[Path], "str"]
"""Writes the answer of the digits network: what it complained of."""


@pytest.fixture(scope="module")
def answer(digits_for_host: Path, libtzml: Path) -> bytes:
    with open_model(digits_for_host, World.ree) as model:
        return model.run(IMAGE).outputs["probabilities"].tobytes()


@pytest.fixture(params=["python", "c"])
def write(
    request: pytest.FixtureRequest, answer: bytes, digits_for_host: Path, tmp_path_factory: pytest.TempPathFactory
) -> Write:
    def python(path: Path) -> str:
        try:
            write_file(path, answer)
        except TzmlError as error:
            return str(error)
        return ""

    def c(path: Path) -> str:
        done = subprocess.run(
            [BUILD / "host/tzml-run", "-w", "ree", digits_for_host, "-", path],
            env={"LD_LIBRARY_PATH": str(BUILD / "host")}, input=IMAGE.tobytes(), capture_output=True, check=False,
        )  # fmt: skip
        assert bool(done.returncode) == bool(done.stderr)
        return done.stderr.decode()

    found: Write = {"python": python, "c": c}[request.param]
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing is left that was not there."""
    (tmp_path / "folder").mkdir()
    yield tmp_path / "folder"
    assert [path.name for path in tmp_path.rglob(".*")] == []


def test_a_new_file_has_the_usual_mode(write: Write, folder: Path, answer: bytes) -> None:
    before = os.umask(0o027)
    try:
        assert write(folder / "new") == ""
    finally:
        os.umask(before)
    assert (folder / "new").read_bytes() == answer
    assert stat.S_IMODE((folder / "new").stat().st_mode) == 0o640


def test_a_file_keeps_its_mode_and_owner(write: Write, folder: Path, answer: bytes) -> None:
    path = folder / "old"
    path.write_bytes(b"what was there, which is longer" * 10)
    path.chmod(0o4604)
    if ROOT_USER:
        os.chown(path, 1234, 5678)
        path.chmod(0o4604)
    before = path.stat()
    assert write(path) == ""
    after = path.stat()
    assert path.read_bytes() == answer
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino  # replaced, not written into


def test_links_are_followed_also_to_what_is_not_there_yet(write: Write, folder: Path, answer: bytes) -> None:
    (folder / "there").mkdir()
    (folder / "there" / "old").write_bytes(b"old")
    for name in ("old", "new"):
        (folder / f"first-{name}").symlink_to(f"second-{name}")
        (folder / f"second-{name}").symlink_to(f"there/{name}")
        assert write(folder / f"first-{name}") == ""
        assert (folder / f"first-{name}").is_symlink()
        assert (folder / f"second-{name}").is_symlink()
        assert (folder / "there" / name).read_bytes() == answer


def test_another_name_of_the_file_keeps_what_it_had(write: Write, folder: Path, answer: bytes) -> None:
    (folder / "one").write_bytes(b"kept")
    (folder / "other").hardlink_to(folder / "one")
    assert write(folder / "one") == ""
    assert ((folder / "one").read_bytes(), (folder / "other").read_bytes()) == (answer, b"kept")


def test_a_pipe_gets_the_content(write: Write, folder: Path, answer: bytes) -> None:
    pipe, got = folder / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    assert write(pipe) == ""
    reader.join()
    assert got == [answer]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.skipif(not ROOT_USER, reason="only root makes device nodes, and only root could replace one")
@pytest.mark.parametrize("link", [False, True])
def test_a_device_stays_a_device(write: Write, folder: Path, link: bool) -> None:
    node = folder / "null"
    os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    path = folder / "link" if link else node
    if link:
        path.symlink_to(node)
    assert write(path) == ""
    assert stat.S_ISCHR(node.stat().st_mode)


def test_what_does_not_fit_is_said(write: Write) -> None:
    assert "cannot write /dev/full: No space left on device" in write(Path("/dev/full"))


def test_what_takes_no_file_is_refused_and_left(
    write: Write, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to("loop")
    (folder / "astray").symlink_to("nowhere/file")
    (folder / "file").write_bytes(b"kept")
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    before = sorted(folder.rglob("*"))
    for name in ("folder", "loop", "astray", "socket", "file/x", "nowhere/x", "n" * 300):
        assert "cannot write" in write(folder / name), name
    assert sorted(folder.rglob("*")) == before
    assert (folder / "file").read_bytes() == b"kept"


def test_a_file_in_a_folder_that_takes_no_other_is_written_into(folder: Path) -> None:
    """Also of another owner, whom the new file could not have; root may do all, and becomes another user."""
    (folder / "locked").mkdir()
    for path in (folder / "file", folder / "locked" / "file"):
        path.write_text("what was there, which is longer")
        path.chmod(0o666)
    folder.chmod(0o777)
    (folder / "locked").chmod(0o555)
    become = "os.setgroups([]); os.setgid(65534); os.setuid(65534);" if ROOT_USER else ""
    program = f"import os, sys; {become} sys.path[:0] = sys.argv[1:2]\n" + (
        "from pathlib import Path\nfrom tzml.files import write_file\n"
        "for name in ('file', 'locked/file'): write_file(Path(name), 'new')"
    )
    # imported before the change of user, who may not read this checkout
    program = f"import tzml.files, pathlib, secrets, tempfile\n{program}"
    for parent in folder.parents:
        if ROOT_USER and parent.owner() == "root" and parent != Path("/") and len(parent.parts) > 2:
            parent.chmod(parent.stat().st_mode | 0o011)
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True, env={"PYTHONPATH": str(ROOT / "py")})
    assert (folder / "file").read_text() == (folder / "locked" / "file").read_text() == "new"
    assert (folder / "file").stat().st_uid == os.geteuid()
    (folder / "locked").chmod(0o755)


def test_a_failure_leaves_the_old_file_and_nothing_else(folder: Path) -> None:
    path = folder / "file"
    path.write_bytes(b"kept")
    with pytest.raises(KeyboardInterrupt), written(path) as file:  # noqa: PT012
        file.write(b"half")
        raise KeyboardInterrupt
    with pytest.raises(FileNotFoundError, match="another"), written(path) as file:
        (folder / "another").read_bytes()  # an error of another file is not this one's
    assert path.read_bytes() == b"kept"
    assert list(folder.iterdir()) == [path]


def test_standard_output_is_continued_not_overwritten(folder: Path) -> None:
    program = (
        "from pathlib import Path\nfrom tzml.files import write_file\n"
        "print('before', flush=True)\nwrite_file(Path('/dev/stdout'), 'content\\n')\nprint('after')\n"
    )
    with (folder / "log").open("wb") as log:
        subprocess.run([sys.executable, "-c", program], stdout=log, check=True)
    assert (folder / "log").read_text() == "before\ncontent\nafter\n"


def test_bytes_on_standard_output_have_no_messages_among_them(
    digits_for_host: Path, answer: bytes, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", IMAGE)
    (tmp_path / "-").write_bytes(b"a file, which `-` is not")
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "tzml",
        "run",
        digits_for_host,
        "--input",
        tmp_path / "x.npy",
        "--world",
        "ree",
    ]
    done = subprocess.run([*command, "-o", "-"], capture_output=True, check=True)
    assert done.stdout.startswith(np.lib.format.MAGIC_PREFIX)
    assert done.stdout.endswith(answer)
    assert b"1 inferences in the REE" in done.stderr
    both = subprocess.run([*command, "-o", "-", "--json"], capture_output=True, check=False)
    assert (both.returncode, both.stdout) == (2, b"")
    assert b"cannot take both the JSON and the outputs" in both.stderr
    c = subprocess.run(
        [BUILD / "host/tzml-run", "-w", "ree", digits_for_host, "-", "-"],
        env={"LD_LIBRARY_PATH": str(BUILD / "host")}, input=IMAGE.tobytes(), capture_output=True, check=True,
        cwd=tmp_path,
    )  # fmt: skip
    assert c.stdout == answer
    assert (tmp_path / "-").read_bytes() == b"a file, which `-` is not"
    assert float(c.stderr) > 0


def test_an_input_is_not_replaced(digits_for_host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "x.npy", IMAGE)
    (tmp_path / "link.npy").symlink_to("x.npy")
    (tmp_path / "m.tzm").write_bytes(digits_for_host.read_bytes())
    with pytest.raises(TzmlError, match=r"link\.npy: it is an input"):
        check_output(tmp_path / "link.npy", [tmp_path / "x.npy"])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for arguments in (
        ("run", "m.tzm", "--input", "x.npy", "--world", "ree", "--output", "link.npy"),
        ("run", "m.tzm", "--input", "image=x.npy", "--world", "ree", "--output", "x.npy"),
        ("run", "m.tzm", "--input", "x.npy", "--world", "ree", "--output", "m.tzm"),
        ("compile", "m.tzm", "--target", "host"),  # whose default output is m.tzm
        ("inspect", "m.tzm", "--svg", "m.tzm"),
        ("inspect", "m.tzm", "--svg", "x", "--html", "./x"),
        ("zoo", "export", "digits", "-o", "x.json"),
    ):
        done = tzml(*arguments)
        assert done.returncode == 2, arguments
        assert done.stderr.startswith("tzml: "), done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    for files in (("m.tzm", "x.npy", "x.npy"), ("m.tzm", "x.npy", "m.tzm")):
        c = subprocess.run(
            [BUILD / "host/tzml-run", "-w", "ree", *files], env={"LD_LIBRARY_PATH": str(BUILD / "host")},
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert c.returncode == 1
        assert "it is an input" in c.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# Every command


def leaves(command: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for sub in command.list_commands(context):
            found = command.get_command(context, sub)
            assert found
            yield from leaves(found, f"{name} {sub}".strip())
    else:
        yield name, command


OUTPUTS = {"output", "svg", "html", "plot"}


def test_each_option_that_names_a_file_to_write_is_checked_first() -> None:
    found = {(name, p.name): p.type for name, c in leaves(tzml_command) for p in c.params if p.name in OUTPUTS}
    writers = {
        "checkpoint",
        "compile",
        "device",
        "encrypt",
        "federate",
        "fleet",
        "grant",
        "inspect",
        "keygen",
        "pipeline",
        "preprocess",
        "report",
        "results",
    }
    writers |= {
        "leakage",
        "partition",
        "profile",
        "revoke",
        "run",
        "seal",
        "sign-kernels",
        "simulate",
        "slices",
        "tune",
        "zoo",
    }
    assert {name.split()[0] for name, _ in found} == writers
    assert {key for key, kind in found.items() if not isinstance(kind, OutputFile)} == set()


def test_an_output_without_a_folder_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "garbage.onnx").write_bytes(b"no model")
    done = tzml("compile", tmp_path / "garbage.onnx", "--target", "host", "-o", tmp_path / "nodir" / "x.tzm")
    assert done.returncode == 2
    assert f"there is no folder {tmp_path}/nodir; give another file to --output" in done.stderr


def test_only_one_place_replaces_files() -> None:
    """Everything else in py/, lab/ and models/ calls tzml.files."""
    links = {"lab/tzml_lab/results/run_folder.py", "lab/tzml_lab/standin/uart.py"}  # rename symbolic links
    cache = {
        "py/tzml/bench/aarch64_python.py",
        "py/tzml/client/build.py",
        "py/tzml/fleet/pull.py",
    }  # rename a folder, a program in the cache, a download that could go on
    for path in [file for part in ("py", "lab", "models") for file in (ROOT / part).rglob("*.py")]:
        name = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                renames = node.func.attr in ("replace", "rename") and len(node.args) == 1 and not node.keywords
                makes = node.func.attr == "mkstemp"
                of_os = ast.unparse(node.func) in ("os.replace", "os.rename", "shutil.move")
                allowed = name == "py/tzml/files.py" or name in links | cache
                assert allowed or not (renames or makes or of_os), f"{name}:{node.lineno}: {ast.unparse(node)}"
