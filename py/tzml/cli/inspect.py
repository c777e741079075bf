"""`tzml inspect`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tzml.bundle import Bundle, Tensor, read


def describe(bundle: Bundle) -> dict[str, Any]:
    """What a bundle holds, as JSON has it. Sizes in bytes."""

    def tensor(t: Tensor) -> dict[str, Any]:
        return {"name": t.name, "dtype": t.dtype.name, "shape": list(t.shape), "bytes": t.size}

    plan = bundle.plan
    return {
        "model_id": str(bundle.model_id),
        "model_version": bundle.model_version,
        "target": bundle.target.name,
        "inputs": list(map(tensor, plan.inputs)),
        "outputs": list(map(tensor, plan.outputs)),
        "kernel_calls": len(plan.calls),
        "arena": plan.arena_size,
        "weights": plan.weights_size,
        "chunks": len(plan.chunks),
        "secure_memory": bundle.secure_memory,
        "sections": [{"type": s.type.name, "index": s.index, "bytes": len(s.data)} for s in bundle.sections()],
        "metadata": json.loads(bundle.metadata) if bundle.metadata else {},
    }


@click.command("inspect")
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As JSON, for scripts.")
def command(bundle: Path, as_json: bool) -> None:
    """Check the file BUNDLE as the device does, and show what is in it."""
    about = describe(read(bundle))
    if as_json:
        click.echo(json.dumps(about, indent=1))
        return
    name = about["metadata"].get("name", "unnamed")
    click.echo(f"{bundle}: {name} version {about['model_version']}, for {about['target']}")
    for kind in ("inputs", "outputs"):
        for t in about[kind]:
            click.echo(f"  {kind[:-1]:<7} {t['name']}: {t['dtype']} {t['shape']}")
    click.echo(f"  {about['kernel_calls']} kernel calls, {about['chunks']} chunks of weights")
    for key in ("arena", "weights", "secure_memory"):
        click.echo(f"  {key.replace('_', ' '):<14} {about[key]:>12,} bytes")
    for s in about["sections"]:
        click.echo(f"  section {s['type']:<12} {s['index']:>3} {s['bytes']:>12,} bytes")
