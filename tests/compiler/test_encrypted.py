"""An encrypted model compiles to what the clear one compiles to, and nothing clear reaches a disk meanwhile."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import ROOT, tzml
from onnx import TensorProto, helper, numpy_helper
from small_models import DATA

from tzml import private_folder as private
from tzml.bundle import decode
from tzml.cli.child import in_child
from tzml.errors import TzmlError
from tzml.owner.keys import generate, public_pem
from tzml.owner.seal import ContentKey

MARK = np.frombuffer(b"weights that nobody may find", np.float32)  # 7 numbers, whose bytes are a text


@dataclass(frozen=True)
class Studio:
    """A folder with a model, `net.onnx` and the file of its weights, encrypted as `net.tze`, and keys."""

    folder: Path

    @property
    def clear(self) -> Path:
        return self.folder / "clear" / "net.onnx"

    def __truediv__(self, name: str) -> Path:
        return self.folder / name


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    studio = Studio(tmp_path_factory.mktemp("studio"))
    studio.clear.parent.mkdir()
    weights = np.resize(MARK, (7, 64)).astype(np.float32)
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, w]) for n, w in (("x", 7), ("y", 64))]
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "a layer's name")
    graph = helper.make_graph([node], "net", ports[:1], ports[1:], [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    (studio.clear.parent / "data").mkdir()
    onnx.save(model, studio.clear, save_as_external_data=True, location="data/net.weights", size_threshold=0)
    for name in ("compiler", "owner"):
        generated = generate(studio / f"{name}.pem")
        (studio / f"{name}.pub.pem").write_bytes(public_pem(generated.public))
    done = tzml("encrypt", studio.clear, "--for", studio / "compiler.pub.pem", "-o", studio / "net.tze")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 files encrypted for 1 key" in done.stdout
    return studio


def test_the_bundle_is_that_of_the_clear_model_to_the_byte(studio: Studio, tmp_path: Path) -> None:
    key = ("--key", studio / "compiler.pem", "--clear")
    for source, options in ((studio.clear, ()), (studio / "net.tze", key)):
        done = tzml("compile", source, *options, "--target", "host", "-o", tmp_path / f"{source.suffix[1:]}.tzm")
        assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "tze.tzm").read_bytes() == (tmp_path / "onnx.tzm").read_bytes()


@pytest.mark.parametrize("name", ["float32.tflite", "int8.tflite"])
def test_so_is_that_of_other_formats(studio: Studio, tmp_path: Path, name: str) -> None:
    source = DATA / name
    assert tzml("encrypt", source, "--for", studio / "compiler.pub.pem", "-o", tmp_path / "a.tze").returncode == 0
    shutil.copy(source, tmp_path)
    key = ("--key", studio / "compiler.pem", "--clear")
    for path, options in ((tmp_path / source.name, ()), (tmp_path / "a.tze", key)):
        done = tzml("compile", path, *options, "--target", "host", "-o", path.with_suffix(path.suffix + ".tzm"))
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.tze.tzm").read_bytes() == (tmp_path / f"{source.name}.tzm").read_bytes()


def test_sealing_at_once_gives_what_sealing_later_gives(studio: Studio, tmp_path: Path, key_file: Path) -> None:
    common = ("--target", "qemu", "--sign-key", key_file, "--owner", studio / "owner.pem")
    sealed = ("--key", studio / "compiler.pem", "--seal", studio / "owner.pem")
    done = tzml("compile", studio / "net.tze", *common, *sealed, "-o", tmp_path / "now.tzm", "--json")
    assert done.returncode == 0, done.stderr
    assert '"sealed": true' in done.stdout
    done = tzml("compile", studio.clear, *common, "-o", tmp_path / "net.tzm")
    done = tzml("seal", tmp_path / "net.tzm", "--owner", studio / "owner.pem", "-o", tmp_path / "later.tzm")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "now.tzk").stat().st_mode & 0o777 == 0o600
    bundles = [
        decode(path.read_bytes(), ContentKey.read(path.with_suffix(".tzk")).secret)
        for path in (tmp_path / "now.tzm", tmp_path / "later.tzm")
    ]
    now, later = ([(s.type, s.worlds, s.content.tobytes()) for s in bundle.sections()] for bundle in bundles)
    assert now == later
    assert MARK.tobytes() not in (tmp_path / "now.tzm").read_bytes()
    assert MARK.tobytes() in (tmp_path / "net.tzm").read_bytes()


def test_the_structure_for_the_signer_of_kernels_is_the_same(studio: Studio, tmp_path: Path) -> None:
    for source, options in ((studio.clear, ()), (studio / "net.tze", ("--key", studio / "compiler.pem"))):
        output = tmp_path / f"{source.suffix[1:]}.json"
        done = tzml("compile", source, *options, "--target", "qemu", "--graph-only", "-o", output)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "tze.json").read_bytes() == (tmp_path / "onnx.json").read_bytes()


@dataclass(frozen=True)
class Written:
    """The files that a command, and what it started, opened to write, made or renamed; by their whole paths."""

    paths: list[str]

    def outside(self, *allowed: str) -> list[str]:
        special = re.compile(r"/dev/(?!shm/)|/proc/|/memfd:")
        return [path for path in self.paths if not path.startswith(allowed) and not special.match(path)]


@pytest.fixture
def watched(tmp_path: Path) -> Callable[..., Written]:
    """Runs a command under strace, which sees each system call of all its processes."""
    if not shutil.which("strace"):
        pytest.skip("needs strace")

    def run(*arguments: str | Path) -> Written:
        log, temporary = tmp_path / "strace.log", tmp_path / "tmp"
        temporary.mkdir(exist_ok=True)
        environment = os.environ | {"TMPDIR": str(temporary), "TZML_CACHE": str(tmp_path / "cache")}
        calls = "open,openat,creat,rename,renameat,renameat2,link,linkat,mkdir,mkdirat,mknodat"
        command: list[str | Path] = ["strace", "-f", "-y", "-s", "4096", "-o", log, "-e", f"trace={calls}"]
        done = subprocess.run(
            [*command, sys.executable, "-B", "-m", "tzml", *arguments], env=environment, cwd=ROOT / "py",
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return Written(_written(log.read_text()))

    return run


def _written(log: str) -> list[str]:
    """The paths in a log of strace at which something was made, or could be changed."""
    paths = []
    for line in log.splitlines():
        call = re.search(r"\d+ +(\w+)\((.*)\) += (\S+)", line)
        if not call or call[3].startswith("-"):
            continue
        if call[1].startswith("open") or call[1] == "creat":
            if re.search(r"O_WRONLY|O_RDWR|O_CREAT", call[2]) or call[1] == "creat":
                paths.append(call[3].partition("<")[2].removesuffix(">"))
            continue
        folder = re.match(r"AT_FDCWD<(.*?)>", call[2])
        paths += [os.path.join(folder[1] if folder else "?", path) for path in re.findall(r'"(.*?)"', call[2])]  # noqa: PTH118 - may be none
    return paths


def test_every_file_that_is_written_is_the_sealed_bundle_or_in_memory(
    studio: Studio, tmp_path: Path, key_file: Path, watched: Callable[..., Written]
) -> None:
    sealing = ("--key", studio / "compiler.pem", "--seal", studio / "owner.pem")
    common = ("--target", "qemu", "--sign-key", key_file, "-o")
    (tmp_path / "out").mkdir()
    written = watched("compile", studio / "net.tze", *sealing, *common, tmp_path / "out" / "net.tzm")
    [folder] = {path for path in written.paths if re.fullmatch(r"/dev/shm/tzml-\w+", path)}
    in_it = [path for path in written.paths if path.startswith(f"{folder}/")]
    assert f"{folder}/net.onnx" in in_it  # the watcher sees what it should
    assert any(path.endswith(".so") for path in in_it), "the linker's files"
    outside = written.outside(f"{folder}")
    assert {Path(path).parent for path in outside} == {tmp_path / "out"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["net.tzk", "net.tzm"]
    assert not list((tmp_path / "tmp").iterdir())
    assert not Path(folder).exists()
    # and of a clear model it sees that the linker works in TMPDIR, and kernels go to the cache
    clear = watched("compile", studio.clear, *common, tmp_path / "out" / "clear.tzm")
    assert any(path.startswith(str(tmp_path / "tmp")) for path in clear.paths)
    assert any(path.startswith(str(tmp_path / "cache" / "kernels")) for path in clear.paths)


# Some of the places are everybody's: a plain name may be taken there.
NEW = f"tzml-test-{uuid.uuid4()}"


def attempts(folder: Path, places: list[Path]) -> tuple[list[str], list[str]]:
    """What a process that is shut in can write of some places, and what it was warned of."""
    warnings: list[str] = []
    private.shut_in(folder, warnings.append)
    open_to_it = []
    for place in places:
        try:
            (place / NEW).touch(exist_ok=False)
            open_to_it.append(str(place))
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
    with tempfile.NamedTemporaryFile() as file:
        assert Path(file.name).is_relative_to(folder)
    return open_to_it, warnings


def test_a_process_that_is_shut_in_can_write_to_its_folder_only(tmp_path: Path) -> None:
    with private.private_folder(allow_swap=True) as folder:
        places = [tmp_path, Path.home(), Path(tempfile.gettempdir()), Path("/dev/shm"), ROOT, folder]
        open_to_it, warnings = in_child(lambda _: attempts(folder, places), "")
        if warnings:
            pytest.skip(f"here {warnings[0]}")
        assert open_to_it == [str(folder)]
        assert not list(folder.iterdir())  # what it wrote was seen by nobody else
        (tmp_path / NEW).write_bytes(b"this process still can")
    assert not folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_who_is_not_root_is_shut_in_as_well() -> None:
    with private.private_folder(allow_swap=True) as folder:
        os.chown(folder, 65534, 65534)

        def as_nobody(_: object) -> tuple[list[str], list[str]]:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE: /proc/self is a process's own, as it is after exec
            return attempts(folder, [Path("/var/tmp"), folder])

        open_to_it, warnings = in_child(as_nobody, "")
    if warnings:
        pytest.skip(f"here {warnings[0]}")
    assert open_to_it == [str(folder)]


def test_without_a_namespace_the_folder_is_in_memory_and_the_user_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(private, "_mount_own", refuse)
    monkeypatch.setattr(private, "_set_read_only", refuse)

    def work(_: object) -> tuple[list[str], list[str], str]:
        return *attempts(folder, [folder]), os.environ["TZML_CACHE"]

    with private.private_folder(allow_swap=True) as folder:
        open_to_it, [warning], cache = in_child(work, "")
        assert open_to_it == [str(folder)]
        assert f"until the command ends, the decrypted model lies in {folder}" in warning
        assert Path(cache).is_relative_to(folder)
        assert (folder / NEW).exists()
    assert not folder.exists()
    monkeypatch.setattr(private, "_is_in_memory", lambda _: False)
    with private.private_folder(allow_swap=True) as folder, pytest.raises(TzmlError, match="no place in memory"):
        in_child(work, "")


def test_nothing_is_decrypted_where_memory_may_be_swapped_to_a_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swaps = tmp_path / "swaps"
    monkeypatch.setattr(private, "_SWAPS", swaps)
    head = "Filename\tType\tSize\tUsed\tPriority\n"
    swaps.write_text(f"{head}/dev/zram0 partition 1 0 100\n")
    with private.private_folder():
        pass
    swaps.write_text(f"{head}/dev/zram0 partition 1 0 100\n/dev/sda2 partition 1 0 -2\n")
    with pytest.raises(TzmlError, match=r"swap is on \(/dev/sda2\).*--allow-swap"), private.private_folder():
        pass
    with private.private_folder(allow_swap=True):
        pass


def test_a_crash_dumps_nothing(tmp_path: Path) -> None:
    def limits(_: object) -> str:
        private.shut_in(folder, lambda _: None)
        return subprocess.check_output(["sh", "-c", "ulimit -c; ulimit -Hc"], text=True)

    with private.private_folder(allow_swap=True) as folder:
        assert set(in_child(limits, "").split()) <= {"0"}  # in blocks: less than one


def test_what_is_missing_is_said(studio: Studio, tmp_path: Path, key_file: Path) -> None:
    other = tmp_path / "other.pem"
    generate(other)
    (tmp_path / "net.tze").write_bytes((studio / "net.tze").read_bytes()[:-1])
    (tmp_path / "taken.tzk").write_text("kept")
    key, target = ("--key", studio / "compiler.pem"), ("--target", "host", "-o", tmp_path / "x.tzm")
    for arguments, message in (
        ((studio / "net.tze", *target), "is encrypted; give the private key that it was encrypted for to --key"),
        ((studio / "net.tze", *key, *target), "its bundle would be clear; seal it with --seal OWNER, or accept"),
        ((studio.clear, *key, *target), "net.onnx is not encrypted; leave out --key"),
        ((studio / "net.tze", "--key", other, "--clear", *target), "was encrypted for other keys than this one"),
        ((studio / "net.tze", "--key", key_file, "--clear", *target), "is not a P-256 key"),
        ((tmp_path / "net.tze", *key, "--clear", *target), "and should have"),
        ((studio / "net.tze", *key, "--seal", other, *target), "nothing to seal (KERNELS_ABSENT); compile"),
        ((studio / "net.tze", *key, "--seal", other, "--clear", *target), "--seal and --clear exclude each other"),
        ((studio / "net.tze", *key, "--seal", other, *target[:3], tmp_path / "taken.tzm"), "is not written over"),
    ):  # fmt: skip
        done = tzml("compile", *arguments)
        assert done.returncode == 2
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1 or "Usage" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.tze", "other.pem", "taken.tzk"]
    inspected = tzml("inspect", studio / "net.tze", "--layers")
    assert "is an encrypted model; give the key that it was encrypted for" in inspected.stderr
    assert "is no model file that tzml knows" in tzml("encrypt", key_file, "--for", other).stderr
    assert "is a P-256 key" not in tzml("encrypt", studio.clear, "--for", key_file).stderr


def test_a_saved_model_is_encrypted_with_all_of_its_folder(studio: Studio, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    (folder / "variables").mkdir(parents=True)
    for name in ("saved_model.pb", "variables/variables.index"):
        (folder / name).write_text(name)
    done = tzml("encrypt", folder, "--for", studio / "compiler.pub.pem")
    assert done.returncode == 0, done.stderr
    assert "2 files" in done.stdout
    assert (tmp_path / "saved.tze").stat().st_size > 64 + 160
