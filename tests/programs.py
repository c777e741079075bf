"""Run `python -m MODULE` many times for the price of one import: each run is a fork of a process that has imported
what the commands need. What it does, prints and returns is its own; tests/test_package.py starts real programs.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

FORKS = multiprocessing.get_context("forkserver")
"""For processes that begin with the imports of all commands, and with nothing else of the process that asks."""
_COMMANDS = ("bench", "boot", "compile", "inspect", "lab", "run")
FORKS.set_forkserver_preload([f"tzml.cli.{name}" for name in _COMMANDS])


def run_module(
    module: str,
    *arguments: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:
    """As subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, …) does."""
    command = [module, *map(str, arguments)]
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        where = (str(cwd or Path.cwd()), dict(os.environ if env is None else env))
        process = FORKS.Process(target=_child, args=(command, *where, out, err))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(command, timeout)
        return subprocess.CompletedProcess(command, process.exitcode, out.read_text(), err.read_text())


def _child(command: Sequence[str], folder: str, environment: Mapping[str, str], out: Path, err: Path) -> None:
    """What the interpreter does for `python -m`."""
    for path, number in ((out, 1), (err, 2)):
        with path.open("wb") as file:
            os.dup2(file.fileno(), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path.insert(0, folder)
    sys.argv = list(command)
    atexit._clear()  # what was registered before the fork is not this program's
    code: object = 0
    try:
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(str(code or 0)))


def first_write_to_stderr(command: Sequence[str | Path], env: Mapping[str, str]) -> bytes:
    """What a program that ends with an error gives to its first write(2) to standard error."""
    reader, writer = os.pipe2(os.O_DIRECT)  # each read takes the packet of one write
    with os.fdopen(reader, "rb", buffering=0) as shown, os.fdopen(writer, "wb", buffering=0) as stderr:
        assert subprocess.run(command, env=env, stderr=stderr, check=False).returncode
        return shown.read(4096)
