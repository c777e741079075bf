"""A second emulated machine of an environment, with a disk, a flash and so an identity of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labgrid import Environment, Target

from tzml_lab.environment import fit_to_image, use_folders


@contextmanager
def another_machine(target: Target, folder: Path) -> Iterator[Target]:
    """Boot another machine like `target`, an emulated one, up to OP-TEE; its consoles and disk are in `folder`."""
    environment = Environment(target.env.config_file, interact=target.env.interact)
    fit_to_image(environment)
    for name in ("consoles", "disk"):
        (folder / name).mkdir(parents=True)
    use_folders(environment, run_folder=folder / "consoles", scratch=folder / "disk")
    other = environment.get_target(target.name)
    assert other, "the environment has it"
    strategy = other.get_driver("TrustZoneStrategy")
    try:
        strategy.transition("tee")
        yield other
    finally:
        strategy.finish()
