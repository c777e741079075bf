"""Python environments for packages that cannot be installed beside tzml's, because what they need is too old."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from tzml.cache import cache_folder
from tzml.errors import TzmlError

_DONE = "tzml-complete"


@dataclass(frozen=True)
class Environment:
    """An environment that `tzml environment NAME` makes in the cache.

    Its packages are locked in NAME.lock. `python` is the version of Python that they are for.
    """

    name: str
    purpose: str
    python: str
    megabytes: int

    @property
    def lock(self) -> bytes:
        """The locked requirements, as pip takes them."""
        return resources.files(__package__).joinpath(f"{self.name}.lock").read_bytes()

    @property
    def folder(self) -> Path:
        """Where it is or will be: another lock makes another environment."""
        digest = hashlib.sha256(self.lock + self.python.encode()).hexdigest()[:16]
        return cache_folder("environments") / f"{self.name}-{digest}"

    @property
    def is_made(self) -> bool:
        """Whether it is there and complete."""
        return (self.folder / _DONE).is_file()

    def interpreter(self) -> Path:
        """Its Python. Raises TzmlError if it is not made yet."""
        if not self.is_made:
            raise TzmlError(
                f"{self.purpose} takes a Python environment of its own, which is not made yet",
                f"tzml environment {self.name}",
            )
        return self.folder / "bin" / "python"


ENVIRONMENTS = {
    environment.name: environment
    for environment in (
        Environment("flower", "federated training over Flower", python="3.11", megabytes=450),
        Environment("kserve", "testing with KServe's client", python="3.11", megabytes=440),
        Environment("mxnet", "reading MXNet models", python="3.11", megabytes=500),
        Environment("ray", "a pipeline's relay over Ray", python="3.11", megabytes=300),
    )
}
"""By name, which is that of their command, too."""


def make_environment(environment: Environment, say: Callable[[str], None]) -> bool:
    """Make an environment, or see that it is there; whether it was made now. `say` is told of each step.

    One that was interrupted is made anew. Raises TzmlError if there is no such Python, or if pip fails.
    """
    with (cache_folder("environments") / f"{environment.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another process that makes this environment")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if environment.is_made:
            return False
        folder = environment.folder
        shutil.rmtree(folder, ignore_errors=True)
        say(f"making {folder} (about {environment.megabytes} MB)")
        _run([_find_python(environment), "-m", "venv", str(folder)])
        requirements = folder / "requirements.lock"
        requirements.write_bytes(environment.lock)
        say("installing its packages (some minutes)")
        _run([str(folder / "bin" / "pip"), "install", "--no-deps", "--require-hashes", "-r", str(requirements)])
        (folder / _DONE).touch()
    return True


def _find_python(environment: Environment) -> str:
    """The path of the Python that the environment is for. Raises TzmlError."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" == environment.python:
        return sys.executable
    found = shutil.which(f"python{environment.python}")
    if found:
        return found
    raise TzmlError(
        f"{environment.purpose} takes Python {environment.python}, which is not installed",
        f"install python{environment.python} with its module venv",
    )


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()] or ["nothing"]
        errors = [line for line in said if line.startswith("ERROR")] or said
        raise TzmlError(f"{Path(command[0]).name} ended with {done.returncode} and said: {errors[-1].strip()}")
