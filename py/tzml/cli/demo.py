"""`tzml demo`: what `make demo` runs."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from tzml.demo.report import load_report
from tzml.demo.steps import Step, run_step
from tzml.errors import TzmlError

ROOT = Path(__file__).parents[3]  # the checkout
BIN = Path(sys.executable).parent

IMAGE = Step(
    "building the image",
    [BIN / "kas", "build", "kas/qemu.yml"],
    log="kas.log",
    # BitBake: NOTE: Running task 12 of 87 (…/optee-os_4.10.0.bb:do_compile)
    progress=r"Running task (?P<done>\d+) of (?P<total>\d+) \(.*/(?P<what>[^/]+)\)",
    failure=r"ERROR: .*",
    notice="kas: ",  # it waits for another build
)
LAB_TESTS = [f"lab/test_{part}.py" for part in ("boot", "xtest", "inference")]
LAB_TESTS += ["lab/test_sealed.py::test_a_granted_device_answers_with_the_same_bits_and_another_is_refused"]
LAB = Step(
    "booting and testing",
    [BIN / "pytest", *LAB_TESTS, "--lg-env", "qemu.yaml", "-v"],
    log="demo-lab.log",
    # pytest: lab/test_boot.py::test_login PASSED      [ 12%]
    progress=r"(?P<what>\S+::\S+) \w+ +\[ *(?P<done>\d+)%\]",
    failure=r"(FAILED|ERROR) .*",
    result=r"^results: (.+)$",  # another run may be in the same checkout
)


@click.command("demo")
@click.option(
    "--only",
    type=click.Choice(["image", "lab"]),
    help="Run only this half: build the image, or test it in the lab.",
)
def command(only: str | None) -> None:
    """Build the image, boot it under QEMU, test it, and show a table of results.

    Parts that are already built are not built again.
    """
    if not (ROOT / "kas").is_dir():
        raise TzmlError(
            "an image is built in a checkout of tzml, not by an installed package", "call make demo there"
        )
    console = Console(highlight=False)
    if only != "lab":
        run_step(IMAGE, ROOT, console)
    if only != "image":
        run = run_step(LAB, ROOT, console)
        if only is None:
            console.print(load_report(ROOT / run))
