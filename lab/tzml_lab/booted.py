"""A target that is booted for a command, outside of the tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from labgrid import Environment, Target

from tzml.errors import TzmlError
from tzml_lab import environment as environments
from tzml_lab.boards import place
from tzml_lab.environment import EnvironmentFile
from tzml_lab.failures import TargetError
from tzml_lab.standin.process import stand_in_for

_WAIT = 600.0  # seconds to wait for a place that somebody else has


@contextmanager
def booted(name: str, stage: str) -> Iterator[Target]:
    """The target of an environment at a stage of its strategy. At the end it is switched off and given back.

    Raises TzmlError, also for what the block raises as TargetError.
    """
    with ExitStack() as stack, explained():
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
        strategy.transition(stage)
        yield target


@contextmanager
def explained() -> Iterator[None]:
    """Raise a TargetError as a TzmlError."""
    try:
        yield
    except TargetError as error:
        raise TzmlError(str(error)) from error
