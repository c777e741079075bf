"""The command `tzml`.

Each subcommand is a module that is imported only when it is called, because the device has what `tzml run` needs
but not the compiler.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

import click
from click.shell_completion import CompletionItem

from tzml import __version__
from tzml.cli import program
from tzml.errors import TzmlError

# Name of each subcommand: its summary, and the extra of pyproject.toml that it needs. The module tzml.cli.<name>,
# with _ for -, has the function `command`.
COMMANDS = {
    "bench": ("Compare networks with ONNX Runtime, PyTorch and LiteRT.", "zoo"),
    "boot": ("Boot an image with its console on this terminal.", "lab"),
    "check": ("Say what would become of a model, without compiling it.", "compile"),
    "checkpoint": ("Show a checkpoint, or open one that a device exported.", "seal"),
    "compile": ("Compile a trained model into a bundle.", "compile"),
    "cp": ("Copy files to and from the machine that `tzml boot` started.", "lab"),
    "device": ("Give this device an identity, and check a device's evidence.", "seal"),
    "demo": ("Build the image, boot it, test it, and show the results.", "lab"),
    "encrypt": ("Encrypt a trained model for whoever compiles it.", "compile"),
    "environment": ("Make a Python environment that a model format needs.", ""),
    "evaluate": ("Count how often a model is right, and compare a protected with an unprotected one.", ""),
    "federate": ("Train a private model on several devices.", "seal"),
    "fleet": ("Serve models from several devices.", ""),
    "grant": ("Let devices open a sealed bundle.", "seal"),
    "inspect": ("Show the contents of a bundle.", ""),
    "keygen": ("Make an owner's key.", "seal"),
    "lab": ("Check whether this host is ready for the lab.", "lab"),
    "leakage": ("Measure what a model with layers outside of the TEE tells an attacker.", "leakage"),
    "libraries": ("List and remove the kernel libraries on this device.", ""),
    "partition": ("Choose which layers of a model run in the TEE.", "partition"),
    "pipeline": ("Run one model on several attested devices.", "seal"),
    "postprocess": ("Name what a model's outputs say.", ""),
    "preprocess": ("Turn images into a model's input.", "image"),
    "profile": ("Measure what the layers of a model cost in each world.", "compile"),
    "report": ("Write an HTML report about lab runs.", "report"),
    "results": ("List and compare lab runs, and export them.", "report"),
    "revoke": ("Write a grant that ends earlier grants.", "seal"),
    "run": ("Run a bundle on this device.", ""),
    "simulate": ("Say how long requests will take on a fleet, from measured times.", ""),
    "serve": ("Serve models over HTTP with the Open Inference Protocol.", ""),
    "slices": ("Put private layers for the TEE behind a public network.", "compile"),
    "ssh": ("Log in to the machine that `tzml boot` started.", "lab"),
    "seal": ("Encrypt and sign a bundle.", "seal"),
    "sign-kernels": ("Compile a model's structure, and sign its kernels.", "compile"),
    "times": ("Measure how long models take to import, to build and to run.", "compile"),
    "train": ("Train a model on this device.", ""),
    "tune": ("Search for faster schedules of a model's kernels.", "compile"),
    "zoo": ("List, export and check the networks that tzml is tested with.", "zoo"),
}


def _module(command: str) -> str:
    return f"tzml.cli.{command.replace('-', '_')}"


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in sorted(COMMANDS) if find_spec(_module(name))]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete without importing every command."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        found = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        return [CompletionItem(name, help=COMMANDS[name][0]) for name in found]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        if not find_spec(_module(cmd_name)):
            raise TzmlError(
                f"a device has no `tzml {cmd_name}`", "call it on the host that builds models and images"
            )
        try:
            found: click.Command = importlib.import_module(_module(cmd_name)).command
        except ModuleNotFoundError as error:
            raise _missing(error, cmd_name) from error
        program.add_verbose(found)
        return found

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:  # some packages are imported only where they are used
            raise _missing(error, ctx.invoked_subcommand) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][0]) for name in self.list_commands(ctx)])


def _missing(error: ModuleNotFoundError, command: str | None) -> Exception:
    """What to say about a package that a command lacks; the error itself where it is not such a package."""
    package, (_, extra) = (error.name or "").split(".")[0], COMMANDS.get(command or "", ("", ""))
    if not extra or not package or package.startswith("tzml"):
        return error
    return TzmlError(
        f"`tzml {command}` needs the Python package {package}, which is not installed",
        f"pip install 'tzml[{extra}]'",
    )


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="tzml %(version)s")
@program.verbose
def tzml() -> None:
    """Machine-learning inference inside Arm TrustZone, from a model file to a tested board.

    Exit codes: 0 success, 1 a check failed, 2 an error, 70 a fault of tzml, 130 interrupted.
    """


def main() -> None:
    """Run the command as a program: errors are printed on one line, and the exit code says what happened."""
    program.run(tzml)
