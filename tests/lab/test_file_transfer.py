"""Files are copied over a line that damages some of them. Here it leads to a shell on this host."""

from __future__ import annotations

import os
import random
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pexpect
import pytest
from labgrid.driver import ExecutionError

from tzml_lab.consoles import file_transfer as serialfiles
from tzml_lab.consoles.file_transfer import SerialFiles

PROMPT = "there# "


class Line(pexpect.spawn):  # type: ignore[misc]
    """The part of pexpect that labgrid's consoles offer. It damages a line of a transfer now and then."""

    def __init__(self, every: int = 0) -> None:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = os.environ | {"PS1": PROMPT, "PATH": path, "TERM": "dumb"}
        super().__init__(
            "bash",
            ["--norc", "--noprofile"],
            env=environment,
            timeout=20,
            maxread=65536,
            # Tests that were started in the background inherit that SIGINT is ignored, and Ctrl-C would do nothing.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.setecho(True)
        self.every = every
        self.damaged = {"sent": 0, "heard": 0}
        self._lines = {"sent": 0, "heard": 0}
        self.expect(re.escape(PROMPT))

    def _is_hit(self, way: str) -> bool:
        self._lines[way] += 1
        hit = bool(self.every) and self._lines[way] % self.every == 0
        self.damaged[way] += hit
        return hit

    def sendline(self, line: str = "") -> int:
        if re.match(r"\d+ ", line) and self._is_hit("sent"):
            line = line.replace("A", "B")
        return int(super().sendline(line))

    def read_nonblocking(self, size: int = 1, timeout: float = -1) -> bytes:
        data: bytes = super().read_nonblocking(size, timeout)
        if len(data) > 500 and self._is_hit("heard"):
            data = data[:300] + b"printk: hello\r\n" + data[300:]
        return data

    def expect(self, pattern: Any, timeout: float = -1) -> Any:
        index = super().expect(pattern, timeout=timeout)
        return index, self.before, self.match, self.after


@pytest.fixture(params=[0, 3], ids=["sound", "noisy"])
def line(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    monkeypatch.setattr(serialfiles, "_LOST", 0.3)
    found = Line(request.param)
    yield found
    found.close(force=True)


@pytest.fixture
def files(line: Line) -> SerialFiles:
    return SerialFiles(line, re.escape(PROMPT))


def still_a_shell(line: Line) -> None:
    line.sendline("echo $((6 * 7))")
    line.expect(r"\n42\r")
    line.expect(re.escape(PROMPT))


def test_folders_and_files_arrive_as_they_were(line: Line, files: SerialFiles, tmp_path: Path) -> None:
    here = tmp_path / "here"
    (here / "sub").mkdir(parents=True)
    (here / "empty").touch()
    (here / "sub" / "random").write_bytes(random.Random(1).randbytes(9_000))
    there, back = tmp_path / "there", tmp_path / "back"
    files.put(here, PurePosixPath(there))
    assert (there / "empty").read_bytes() == b""
    assert (there / "sub" / "random").read_bytes() == (here / "sub" / "random").read_bytes()
    files.get(PurePosixPath(there), back)
    assert (back / "sub" / "random").read_bytes() == (here / "sub" / "random").read_bytes()
    files.get(PurePosixPath(there / "sub" / "random"), tmp_path)  # a folder: the name stays
    assert (tmp_path / "random").read_bytes() == (here / "sub" / "random").read_bytes()
    if line.every:
        assert all(line.damaged.values())
    still_a_shell(line)


def test_what_is_wrong_there_is_said(line: Line, files: SerialFiles, tmp_path: Path) -> None:
    with pytest.raises(ExecutionError, match=r"No such file or directory.*missing"):
        files.get(PurePosixPath(tmp_path / "missing"), tmp_path / "x")
    (tmp_path / "file").write_bytes(b"content")
    with pytest.raises(ExecutionError, match="Not a directory"):
        files.put(tmp_path / "file", PurePosixPath(tmp_path / "file" / "below"))
    still_a_shell(line)


def test_a_line_that_loses_everything_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serialfiles, "_LOST", 0.2)
    line = Line(every=1)
    (tmp_path / "file").write_bytes(random.Random(1).randbytes(5_000))
    with pytest.raises(pexpect.TIMEOUT):
        SerialFiles(line, re.escape(PROMPT)).put(tmp_path / "file", PurePosixPath(tmp_path / "there"))
    assert not (tmp_path / "there").exists()
    line.expect(re.escape(PROMPT))
    still_a_shell(line)
    line.close(force=True)
