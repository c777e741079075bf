"""Work in a process of its own, so that a crash of what it calls is an error like others: of TVM, of LLVM."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from tzml.errors import TzmlError

Result = TypeVar("Result")
Tell = Callable[[str], None]

_STEP = 512
_PR_SET_PDEATHSIG = 1  # prctl(2)


def in_child(work: Callable[[Tell], Result], what: str) -> Result:
    """The result of `work`, which must be one that pickle knows; an exception of it is raised here.

    `work` tells the step that it is at. It prints and writes files as if it were here. Raises TzmlError, with
    `what` and the step, if the process dies.
    """
    step = mmap.mmap(-1, _STEP)

    def tell(text: str) -> None:
        step[:] = text.encode()[:_STEP].ljust(_STEP, b"\0")

    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    parent, child = os.getpid(), os.fork()
    if not child:
        os.close(reader)
        _work(lambda: work(tell), parent, writer)
    os.close(writer)
    try:
        with open(reader, "rb") as file:  # noqa: PTH123 - a descriptor has no path
            data = file.read()
    finally:  # an interrupt is the child's, too
        _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        at = bytes(step).rstrip(b"\0").decode(errors="replace")
        raise _death(signal.Signals(os.WTERMSIG(status)), what, at)
    is_right, result = pickle.loads(data)  # noqa: S301 - of this program
    if is_right:
        return result  # type: ignore[no-any-return]
    raise result


def _work(work: Callable[[], Any], parent: int, writer: int) -> NoReturn:
    """What the child does until its end."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
        try:
            answer = (True, work())
        except BaseException as error:
            answer = (False, _plain(error))
        sys.stdout.flush()
        sys.stderr.flush()
        with open(writer, "wb") as file:
            file.write(pickle.dumps(answer))
        code = 0
    finally:
        os._exit(code)


def _plain(error: BaseException) -> BaseException:
    """The error as one that can be sent; of a fault, a note has the traceback."""
    if not isinstance(error, TzmlError):
        error.add_note("".join(traceback.format_exception(error)))
    error.__cause__ = error.__context__ = None
    with contextlib.suppress(Exception):
        if isinstance(pickle.loads(pickle.dumps(error)), type(error)):  # noqa: S301 - of this program
            return error
    return RuntimeError(f"{type(error).__name__}: {error}")


def _death(number: signal.Signals, what: str, step: str) -> TzmlError:
    during = f" while {step}" if step else ""
    if number == signal.SIGKILL:
        return TzmlError(f"{what}: the compiler was killed{during}", "give it more memory: it usually lacks that")
    return TzmlError(
        f"{what}: the compiler crashed{during} ({number.name})",
        "this is a fault of the compiler, not of the model; replace the layer, and report it",
    )
