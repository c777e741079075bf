"""What makes the commands a program: its streams, its errors and its exit codes (docs/commands.md)."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from tzml.errors import TzmlError
from tzml.printable import printable

ERROR, FAULT, INTERRUPTED, NO_READER = 2, 70, 130, 141
_STDOUT = "standard output"
_log = logging.getLogger("tzml")


def run(command: click.Command) -> None:
    """Run a command, print what went wrong on one line, and exit."""
    _prepare_streams()
    code = _code(command)
    try:
        sys.stdout.flush()
    except (OSError, _NoReaderError) as error:
        code = _failed(error)
    with suppress(OSError, _NoReaderError):
        sys.stderr.flush()
    sys.exit(code)


def add_verbose(command: click.Command) -> None:
    """Give a command, and those of a group, the option --verbose."""
    command.short_help = command.get_short_help_str(1000)  # which click cuts for a line otherwise
    if not any(parameter.name == "verbose" for parameter in command.params):
        verbose(command)
    for sub in command.commands.values() if isinstance(command, click.Group) else ():
        add_verbose(sub)


def _set_verbose(_: click.Context, __: click.Parameter, value: bool) -> None:
    if value and not _log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("tzml: %(message)s"))
        _log.addHandler(handler)
        _log.setLevel(logging.INFO)


verbose = click.option(
    "-v", "--verbose", is_flag=True, expose_value=False, callback=_set_verbose,
    help="Say what is done, on standard error.",
)  # fmt: skip


class _Stream(io.FileIO):
    """A standard stream whose errors have its name."""

    def __init__(self, descriptor: int, label: str) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._label = label

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except BrokenPipeError as error:
            raise _NoReaderError from error
        except OSError as error:
            error.filename = self._label
            raise


class _NoReaderError(Exception):
    """Nobody reads a standard stream any more; no OSError, which click would take for a failure."""


def _prepare_streams() -> None:
    """Escape what the encoding lacks, and let no file that is opened get the number of a closed stream."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # not for writing: what is printed to a closed standard output is lost, which is an error
            os.open(os.devnull, os.O_RDONLY if descriptor < 2 else os.O_WRONLY)
    sys.stdout = _text(sys.stdout, 1, _STDOUT)
    sys.stderr = _text(sys.stderr, 2, "standard error")


def _text(stream: Any, descriptor: int, label: str) -> io.TextIOWrapper:
    raw = _Stream(descriptor, label)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(stream, "encoding", None),
        errors="backslashreplace",
        line_buffering=descriptor == 2 or raw.isatty(),
    )


def _code(command: click.Command) -> int:
    """Run the command: its exit code."""
    try:
        return command.main(standalone_mode=False) or 0
    except SystemExit as end:
        return int(str(end.code or 0))
    except click.ClickException as error:
        with suppress(OSError, _NoReaderError):
            error.show()
        return error.exit_code
    except click.Abort as error:
        cause = error.__cause__
        return _failed(cause if isinstance(cause, Exception) else KeyboardInterrupt())
    except BaseException as error:  # the user gets a line, never a traceback
        return _failed(error)


def _failed(error: BaseException) -> int:
    """Say what happened: the exit code."""
    code, what = _explained(error)
    if code == FAULT and _log.isEnabledFor(logging.INFO):
        what = f"{what}\n{''.join(traceback.format_exception(error))}"
    if isinstance(error, _NoReaderError) or (isinstance(error, OSError) and error.filename == _STDOUT):
        with suppress(OSError):  # what could not be written would be tried again
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if what:
        with suppress(OSError, _NoReaderError):
            click.echo(printable(f"tzml: {what}"), err=True)
    return code


def _explained(error: BaseException) -> tuple[int, str]:
    """Exit code and message."""
    if isinstance(error, TzmlError):
        return ERROR, str(error)
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "interrupted"
    if isinstance(error, MemoryError):
        return ERROR, "there is not enough memory"
    if isinstance(error, _NoReaderError):
        return NO_READER, ""  # as `tzml zoo list | head -1` is meant
    if isinstance(error, OSError) and error.errno:
        return ERROR, _of_system(error)
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):  # of Path.resolve
        return ERROR, f"{error}; give another path"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    said = " ".join(str(error).split())
    remedy = "this is a fault of tzml: report it, with what the command says with --verbose"
    return FAULT, f"{type(error).__name__}: {said[:500]}{where}; {remedy}"


def _of_system(error: OSError) -> str:
    what = error.strerror or os.strerror(error.errno or 0)
    if error.filename == _STDOUT and error.errno == errno.EBADF:
        what = "it is closed"
    if error.filename is not None:
        name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else error.filename
        what = f"{name}: {what}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) and error.filename != _STDOUT:
        with suppress(OSError):
            what = f"{what}; free some space: temporary files are in {tempfile.gettempdir()} (TMPDIR)"
    return what
