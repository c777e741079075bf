"""The command `tzml`. Each subcommand is a module of its own, imported only when it is called:
the device has what `tzml run` needs, and not the compiler.
"""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from typing import Any

import click

from tzml import __version__
from tzml.errors import TzmlError

# name: what it does, and the extra of pyproject.toml with what it needs; the module tzml.cli.<name> has the
# function `command`
COMMANDS = {
    "bench": ("Measure networks beside ONNX Runtime.", "zoo"),
    "boot": ("Boot an image, with its console on this terminal.", "lab"),
    "compile": ("Compile a trained model into a bundle.", "compile"),
    "demo": ("Build the image, boot it, test it, and show what came out.", "lab"),
    "inspect": ("Show what is in a bundle.", ""),
    "lab": ("See whether this host is ready for the lab.", "lab"),
    "report": ("Write an HTML page about runs of the lab.", "report"),
    "results": ("History of runs, verdicts, other tools' formats.", "report"),
    "run": ("Run a bundle on this device.", ""),
    "tune": ("Search better schedules for a model's kernels.", "compile"),
    "zoo": ("List and export the networks that tzml is tested with.", "zoo"),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in sorted(COMMANDS) if find_spec(f"tzml.cli.{name}")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        if not find_spec(f"tzml.cli.{cmd_name}"):
            raise TzmlError(
                f"a device has no `tzml {cmd_name}`", "call it on the host that builds models and images"
            )
        try:
            found: click.Command = importlib.import_module(f"tzml.cli.{cmd_name}").command
        except ModuleNotFoundError as error:
            raise _missing(error, cmd_name) from error
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
def tzml() -> None:
    """Machine-learning inference inside Arm TrustZone, from a model file to a tested board.

    Exit codes: 0 success, 1 failure, 2 wrong input or command line.
    """


def main() -> None:
    """Run the command; an error that the user can do something about is one line."""
    try:
        tzml()
    except TzmlError as error:
        click.echo(f"tzml: {error}", err=True)
        sys.exit(2)
