"""`tzml compile --stages`: the bundles of a pipeline's stages."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tzml.cli.child import Tell
from tzml.cli.progress import progress_bar, told
from tzml.compiler import CompileOptions, compile_stages
from tzml.errors import TzmlError
from tzml.files import check_output, is_stdout


def write_stages(
    model: Path, options: CompileOptions, stages: str, path: Path, tell: Tell, *, as_json: bool
) -> str:
    """Write the bundles of all stages; a line about each, or JSON."""
    if is_stdout(path):
        raise TzmlError("standard output cannot take several bundles", "give a file to --output")
    with progress_bar(model.name) as show:
        bundles = compile_stages(
            model,
            options,
            stages,
            told(tell, show),
            warn=lambda what: click.echo(f"tzml: warning: {what}", err=True),
        )
    paths = [path.with_name(f"{path.stem}-{number}{path.suffix}") for number in range(len(bundles))]
    for place in paths:
        check_output(place, [model], "give another file to --output")
    for place, bundle in zip(paths, bundles, strict=True):
        bundle.write(place)
    about = [
        {
            "file": str(place),
            "bytes": bundle.size,
            "kernel_calls": len(bundle.program.calls),
            "weights": bundle.memory.weights_size,
            "arena": bundle.memory.arena_size,
            "secure_memory": bundle.secure_memory,
        }
        for place, bundle in zip(paths, bundles, strict=True)
    ]
    if as_json:
        return json.dumps(about, indent=1)
    return "\n".join(
        f"{row['file']}: {row['bytes']:,} bytes; {row['kernel_calls']} kernel calls; bytes of weights "
        f"{row['weights']:,}, arena {row['arena']:,}, secure memory {row['secure_memory']:,}"
        for row in about
    )
