# SPDX-License-Identifier: GPL-2.0-only
"""The process of a task, from the fork to its exit status."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from types import FrameType
from typing import Any, NoReturn

import bb

from . import network, protocol

SIGNALS = frozenset({signal.SIGHUP, signal.SIGTERM})


class StoppedTask(SystemExit):
    """A signal ended the task. bb.build prints this exception as the task's error."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.args[0] - 128).name}"


def run(worker: Any, request: dict[str, Any], reply_fd: int) -> NoReturn:
    """Run one task and exit. Never returns into the worker's code, of which this process is a copy."""
    status = 1
    try:
        _detach(reply_fd)
        datastore = _prepare(worker, request)
        if worker.cooker_configuration.dry_run or request["dry_run"]:
            status = 0
        else:
            status = bb.build.exec_task(
                request["fn"], request["taskname"], datastore, worker.cooker_configuration.profile
            )
    except SystemExit as leave:
        status = leave.code if isinstance(leave.code, int) else 1
    except BaseException:
        if not request["quieterrors"]:
            bb.event.logger.critical(traceback.format_exc())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _detach(reply_fd: int) -> None:
    """Set up a process group, standard files and a channel to the worker for this process."""
    # Ctrl-C on the terminal goes to the user interface, which decides what happens to the tasks.
    os.setsid()
    bb.utils.signal_on_parent_exit("SIGTERM")
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for number in SIGNALS:
        signal.signal(number, _end_group)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    # Standard output is the worker's channel to bb.runqueue, to which no program of a task may write.
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)

    lock = bb.multiprocessing.Lock()  # Python code in a task may fork, and events must not mix

    def send(event: object, _d: object) -> None:
        data = protocol.frame(protocol.event(event))
        try:
            with bb.utils.lock_timeout(lock):
                protocol.write_all(reply_fd, data)
        except BrokenPipeError:  # the worker is gone, so everything that it started must end
            _end_group(signal.SIGTERM, None)

    bb.event.worker_pid = os.getpid()
    bb.event.worker_fire = send


def _end_group(number: int, _frame: FrameType | None) -> NoReturn:
    """End the programs of the task, then the task itself. SystemExit lets `finally` clauses clean up."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    raise StoppedTask(number)


def _prepare(worker: Any, request: dict[str, Any]) -> Any:
    """Parse the recipe again, as bb.runqueue does, and set the task's environment."""
    task, name = request["fn"], request["taskname"]
    needs = request["taskdep"]
    in_fakeroot = name in needs.get("fakeroot", ()) and not worker.cooker_configuration.dry_run

    umask = needs.get("umask", {}).get(name) or worker.data["umask"]
    if umask:
        os.umask(bb.utils.to_filemode(umask))

    _, _, multiconfig = bb.cache.virtualfn2realfn(task)
    base = worker.builder.mcdata[multiconfig]
    base.setVar("BB_WORKERCONTEXT", "1")
    base.setVar("BB_TASKDEPDATA", request["taskdepdata"])
    base.setVar("BB_CURRENTTASK", name.removeprefix("do_"))
    if worker.cooker_configuration.limited_deps:
        base.setVar("BB_LIMITEDDEPS", "1")
    for variable, key in (("BUILDNAME", "buildname"), ("DATE", "date"), ("TIME", "time")):
        base.setVar(variable, worker.data[key])
    for variable, value in worker.extra_configuration.items():
        base.setVar(variable, value)

    bb.parse.siggen.set_taskdata(worker.data["sigdata"])
    if "newhashes" in worker.data:
        bb.parse.siggen.set_taskhashes(worker.data["newhashes"])

    datastore = worker.builder.parseRecipe(task, request["appends"], request["layername"])
    datastore.setVar("BB_TASKHASH", request["taskhash"])
    datastore.setVar("BB_UNIHASH", request["unihash"])
    bb.parse.siggen.setup_datacache_from_datastore(task, datastore)
    bb.utils.set_process_name(f"{datastore.getVar('PN')}:{name.removeprefix('do_')}")

    if not bb.utils.to_boolean(datastore.getVarFlag(name, "network")):
        try:
            network.cut()
        except OSError as error:
            bb.note(f"{name} keeps its network: this system lets nobody cut it ({error.strerror})")

    # exported_vars() reads os.environ, so exhaust it before the environment is emptied
    exported = dict(bb.data.exported_vars(datastore))
    bb.utils.empty_environment()
    os.environ.update(exported)
    # FAKEROOTCMD already wraps the worker that runs such a task, so its variables can be set this late.
    variables = request["fakerootenv" if in_fakeroot else "fakerootnoenv"] or ""
    for variable, value in (pair.split("=", 1) for pair in variables.split()):
        os.environ[variable] = value
        datastore.setVar(variable, value)
        datastore.setVarFlag(variable, "export", "1")
    if in_fakeroot:
        for directory in (request["fakerootdirs"] or "").split():
            bb.utils.mkdirhier(directory)
    for variable in (datastore.getVarFlag(name, "exports") or "").split():
        datastore.setVarFlag(variable, "export", "1")
        if (value := datastore.getVar(variable)) is not None:
            os.environ[variable] = value

    if request["quieterrors"]:
        datastore.setVarFlag(name, "quieterrors", "1")
    return datastore
