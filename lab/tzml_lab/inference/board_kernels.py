"""Time kernels on a board, for `tzml tune --lg-env`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from labgrid import Environment, Target

from tzml.bench.candidates import PROGRAM, Run
from tzml.bench.programs import ProgramError
from tzml.errors import TzmlError
from tzml_lab import environment as environments
from tzml_lab.boards import place
from tzml_lab.environment import EnvironmentFile
from tzml_lab.failures import TargetError
from tzml_lab.standin.process import stand_in_for
from tzml_lab.target import commands_of, files_of
from tzml_lab.time_limits import scaled

_REPEAT = 10
_WAIT = 600.0  # seconds to wait for a place that somebody else has
_LIMIT = 600.0  # seconds for the kernels of one measurement


@contextmanager
def on_board(name: str) -> Iterator[Run]:
    """Boot the board of an environment. At the end it is switched off and given back. Raises TzmlError."""
    with ExitStack() as stack, _explained():
        environments.set_variables()
        file = EnvironmentFile.read(environments.find(name))
        standin = stand_in_for(file)
        if standin:
            stack.callback(standin.stop)
        file.set_variables()
        held = place.hold(file.options.place, _WAIT) if file.options.place else None
        if held:
            stack.callback(held.give_back)
        file.check_syntax()
        environment = Environment(str(file.path))
        environments.fit_to_image(environment)
        stack.callback(environment.cleanup)
        environments.check_host(environment)
        scratch = stack.enter_context(tempfile.TemporaryDirectory())
        environments.use_folders(environment, run_folder=None, scratch=Path(scratch))
        target = environments.main_target(environment)
        strategy = target.get_driver("TrustZoneStrategy")
        stack.callback(strategy.finish)
        strategy.transition("shell")
        yield run_on(target)


def run_on(target: Target) -> Run:
    """A function that runs the measuring program on a booted target."""
    command, transfer = commands_of(target), files_of(target)

    def run(folder: Path) -> str:
        with _explained():
            transfer.put(str(folder / PROGRAM), f"/tmp/{PROGRAM}")
            said, errors, status = command.run(f"/tmp/{PROGRAM} {_REPEAT}", timeout=scaled(_LIMIT))
        if status:
            raise ProgramError(f"{PROGRAM} ended with {status} on the board: {' '.join(errors)}")
        return "\n".join(said)

    return run


@contextmanager
def _explained() -> Iterator[None]:
    """Raise a TargetError as a TzmlError."""
    try:
        yield
    except TargetError as error:
        raise TzmlError(str(error)) from error
