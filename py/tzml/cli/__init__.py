"""The command `tzml`. Each subcommand is a module of its own, imported only when it is called:
the device has what `tzml run` needs, and not the compiler.
"""

from __future__ import annotations

import importlib
import sys

import click

from tzml.errors import TzmlError

# name: what it does; the module tzml.cli.<name> has the function `command`
COMMANDS = {
    "bench": "Measure networks beside ONNX Runtime.",
    "boot": "Boot an image, with its console on this terminal.",
    "compile": "Compile a trained model into a bundle.",
    "demo": "Build the image, boot it, test it, and show what came out.",
    "inspect": "Show what is in a bundle.",
    "lab": "See whether this host is ready for the lab.",
    "report": "Write an HTML page about runs of the lab.",
    "results": "History of runs, verdicts, other tools' formats.",
    "run": "Run a bundle on this device.",
    "tune": "Search better schedules for a model's kernels.",
    "zoo": "List and export the networks that tzml is tested with.",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        try:
            module = importlib.import_module(f"tzml.cli.{cmd_name}")
        except ModuleNotFoundError as error:
            raise TzmlError(
                f"`tzml {cmd_name}` needs the Python package {error.name}, which is not installed",
                "pip install 'tzml[compile,lab]'",
            ) from error
        found: click.Command = module.command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tzml", message="tzml %(version)s")
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
