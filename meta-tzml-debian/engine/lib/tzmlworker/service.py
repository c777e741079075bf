# SPDX-License-Identifier: GPL-2.0-only
"""The worker's loop: it reads requests from bb.runqueue, forks a child for each task, and sends the replies."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import selectors
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import bb
import bb.build
import bb.cache
import bb.cookerdata
import bb.event
import bb.msg

from . import child, protocol

READ_SIZE = 512 * 1024
# Time between SIGTERM and SIGKILL, in which mmdebstrap and dpkg undo their mounts.
GRACE_SECONDS = 10.0


@dataclass
class Task:
    """A running child."""

    name: str
    pid: int
    reply_fd: int
    replies: protocol.ReplyStream = field(default_factory=protocol.ReplyStream)


class Worker:
    """Serves one bb.runqueue over standard input and output.

    All waiting is done in one place, so that no other thread exists when a task is forked. Reads never block. Data
    that cannot be written yet waits in `_outbox`, because bb.runqueue may be busy writing to us.
    """

    def __init__(self, fakeroot: bool = False) -> None:
        self.cooker_configuration: Any = None
        self.extra_configuration: dict[str, Any] = {}
        self.builder: Any = None
        self.data: dict[str, Any] = {}
        self._tasks: dict[int, Task] = {}
        self._requests = protocol.RequestStream()
        self._outbox = bytearray()
        self._in, self._out = sys.stdin.fileno(), sys.stdout.fileno()
        self._selector = selectors.DefaultSelector()
        self._ending: int | None = None  # the status to exit with
        self._signal: int | None = None
        bb.utils.set_process_name("Worker (fakeroot)" if fakeroot else "Worker")

    def serve(self) -> int:
        """Serve until told to quit (0), or until bb.runqueue is gone, a signal arrives or an error occurs (1)."""
        self._set_up()
        try:
            while self._ending is None:
                self._wait()
        except Exception:
            traceback.print_exc()
            self._ending = 1
        self._end_tasks()
        self._flush()
        return self._ending or 0

    def _set_up(self) -> None:
        for fd in (self._in, self._out):
            os.set_blocking(fd, False)
        wake_read, wake_write = os.pipe()
        for fd in (wake_read, wake_write):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to wake the selector
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C arrives as a request
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        self._selector.register(self._in, selectors.EVENT_READ, self._read_requests)
        self._selector.register(wake_read, selectors.EVENT_READ, lambda: os.read(wake_read, 4096))
        bb.event.worker_fire = lambda event, _d: self._send(protocol.event(event))
        logging.getLogger("BitBake").addHandler(bb.event.LogHandler())

    def _wait(self) -> None:
        self._watch_output()
        for key, _ in self._selector.select():
            key.data()
        self._reap()
        if self._signal is not None:
            bb.warn(f"worker received {signal.Signals(self._signal).name}: stopping its tasks")
            self._ending = 1

    def _watch_output(self) -> None:
        watched = self._out in self._selector.get_map()
        if self._outbox and not watched:
            self._selector.register(self._out, selectors.EVENT_WRITE, self._write)
        elif watched and not self._outbox:
            self._selector.unregister(self._out)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signal = number

    # -- bytes in, bytes out ---------------------------------------------------------------------------

    def _read_requests(self) -> None:
        data = os.read(self._in, READ_SIZE)
        if not data:  # the server is gone
            self._ending = 1
            return
        for name, payload in self._requests.feed(data):
            getattr(self, f"_do_{name}")(pickle.loads(payload))  # noqa: S301 the server started this process
            if self._ending is not None:
                return

    def _send(self, reply: bytes) -> None:
        self._outbox += reply

    def _write(self) -> None:
        try:
            del self._outbox[: os.write(self._out, self._outbox)]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._outbox.clear()
            self._ending = 1

    def _flush(self) -> None:
        os.set_blocking(self._out, True)
        while self._outbox:
            self._write()

    # -- requests --------------------------------------------------------------------------------------

    def _do_cookerconfig(self, configuration: Any) -> None:
        self.cooker_configuration = configuration
        self.builder = bb.cookerdata.CookerDataBuilder(configuration, worker=True)
        self.builder.parseBaseConfiguration(worker=True)

    def _do_extraconfigdata(self, data: dict[str, Any]) -> None:
        self.extra_configuration = data

    def _do_workerdata(self, data: dict[str, Any]) -> None:
        self.data = data
        bb.build.verboseShellLogging = data["build_verbose_shell"]
        bb.build.verboseStdoutLogging = data["build_verbose_stdout"]
        bb.msg.loggerDefaultLogLevel = data["logdefaultlevel"]
        bb.msg.loggerDefaultDomains = data["logdefaultdomain"]
        for datastore in self.builder.mcdata.values():
            datastore.setVar("PRSERV_HOST", data["prhost"])
            datastore.setVar("BB_HASHSERVE", data["hashservaddr"])
            datastore.setVar("__bbclasstype", "recipe")

    def _do_newtaskhashes(self, hashes: Any) -> None:
        self.data["newhashes"] = hashes

    def _do_runtask(self, request: dict[str, Any]) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        reply_read, reply_write = os.pipe()
        # A signal that arrives between the fork and the child's handlers must wait for the handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, child.SIGNALS)
        pid = os.fork()
        if pid == 0:
            os.close(reply_read)
            child.run(self, request, reply_write)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, child.SIGNALS)
        os.close(reply_write)
        os.set_blocking(reply_read, False)
        task = Task(request["task"], pid, reply_read)
        self._tasks[pid] = task
        self._selector.register(reply_read, selectors.EVENT_READ, lambda: self._relay(task))

    def _do_finishnow(self, _nothing: Any) -> None:
        self._end_tasks()

    def _do_ping(self, _nothing: Any) -> None:
        logging.getLogger("BitBake").warning("Pong from bitbake-worker!")

    def _do_quit(self, _nothing: Any) -> None:
        self._ending = 0

    # -- children --------------------------------------------------------------------------------------

    def _relay(self, task: Task) -> None:
        """Pass on what the child has sent so far.

        waitpid, not this pipe, tells when the child ends, because processes that the task left running may hold the
        other end open.
        """
        with contextlib.suppress(BlockingIOError):
            while data := os.read(task.reply_fd, READ_SIZE):
                for reply in task.replies.feed(data):
                    self._send(reply)
            self._forget_pipe(task)

    def _forget_pipe(self, task: Task) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(task.reply_fd)

    def _reap(self, report: bool = True) -> None:
        for pid in list(self._tasks):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            task = self._tasks.pop(pid)
            self._relay(task)
            self._forget_pipe(task)
            os.close(task.reply_fd)
            code = os.waitstatus_to_exitcode(status)
            if report:
                # the number of a signal, as a shell returns it
                self._send(protocol.exit_code(task.name, code if code >= 0 else 128 - code))

    def _end_tasks(self) -> None:
        """Stop all tasks with all their processes. bb.runqueue has given them up and expects no status."""
        if not self._tasks:
            return
        for pid in self._tasks:
            os.kill(pid, signal.SIGTERM)  # it ends its process group
        deadline = time.monotonic() + GRACE_SECONDS
        groups = list(self._tasks)
        while self._tasks and time.monotonic() < deadline:
            self._reap(report=False)
            time.sleep(0.02)
        for pid in groups:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        for pid in self._tasks:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self._tasks.clear()
