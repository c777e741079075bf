"""`tzml sign-kernels`."""

from __future__ import annotations

from pathlib import Path

import click

from tzml.cli.child import Tell, in_child
from tzml.cli.options import OutputFile
from tzml.cli.progress import progress_bar
from tzml.compiler import compile_structure
from tzml.compiler.codegen.tuning_records import Tuning
from tzml.files import check_output, write_file
from tzml.signing import load_signing_key


@click.command("sign-kernels")
@click.argument("structure", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--sign-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="RSA private key (PEM) with which the device's image was built.",
)
@click.option("-o", "--output", type=OutputFile(), help="Default: NAME.kernels beside STRUCTURE.")
@click.option("--tuning", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="The file of schedules that the owner compiles with.")  # fmt: skip
def command(structure: Path, sign_key: Path, output: Path | None, tuning: Path | None) -> None:
    """Compile STRUCTURE, which `tzml compile --graph-only` wrote, and sign the kernels.

    It is for whoever builds images. What is signed is what was compiled here; nothing of STRUCTURE is code. Its
    owner gives the result to `tzml compile --kernels`.
    """
    path = output or structure.with_name(structure.name.removesuffix(".json").removesuffix(".graph") + ".kernels")
    check_output(path, [file for file in (structure, sign_key, tuning) if file], "give another file to --output")
    key = load_signing_key(sign_key)

    def compiled(tell: Tell) -> bytes:
        with progress_bar(structure.name) as show:

            def progress(step: str, done: int = 0, total: int = 0) -> None:
                tell(step)
                show(step, done, total)

            schedules = (lambda target: Tuning.read(tuning, target)) if tuning else None
            return compile_structure(structure, key, schedules, progress)

    image = in_child(compiled, str(structure))
    write_file(path, image)
    click.echo(f"{path}: {len(image):,} bytes, signed kernels")
