"""`tzml inspect`."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

import click

from tzml.bundle import Bundle, Region, Tensor, read
from tzml.bundle.streaming import bytes_loaded
from tzml.errors import TzmlError
from tzml.memory_map import memory_map, picture

_SIZES = {
    "secure_memory": "secure memory",
    "code_memory": "  for the TA and its kernels",
    "mapped_memory": "  for the model",
    "arena": "    arena",
    "weights": "    weights",
    "loaded_each_inference": "loaded in each inference",
}


def describe(bundle: Bundle) -> dict[str, Any]:
    """The contents of a bundle as a JSON object, which `--json` prints. Sizes in bytes."""

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
        "mapped_memory": bundle.mapped_memory,
        "code_memory": bundle.code_memory,
        "loaded_each_inference": bytes_loaded(plan),
        "calls": _calls(bundle),
        "places": [{"size": chunk.size, "offset": chunk.offset} for chunk in plan.chunks],
        "sections": [{"type": s.type.name, "index": s.index, "bytes": len(s.data)} for s in bundle.sections()],
        "metadata": json.loads(bundle.metadata) if bundle.metadata else {},
    }


def _calls(bundle: Bundle) -> list[dict[str, Any]]:
    """Each kernel call: its layer, the bytes of arena and weights that it uses, and the chunks that it loads."""
    memory = memory_map(bundle)
    calls = []
    for index, call in enumerate(bundle.plan.calls):
        weights = {a.offset: a for a in call.arguments if a.region == Region.weights}
        calls.append(
            {
                "layer": memory.calls[index],
                "kernel": call.kernel,
                "arena": memory.arena_during(index),
                "weights": sum(a.size for a in weights.values()),
                "chunk": next((a.chunk for a in weights.values()), None),
                "loads": list(memory.loads[index]),
            }
        )
    return calls


@click.command("inspect")
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@click.option(
    "--svg", type=click.Path(dir_okay=False, path_type=Path), help="Draw the memory map to this SVG file."
)
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Draw the memory map to this HTML page."
)
def command(bundle: Path, as_json: bool, svg: Path | None, html: Path | None) -> None:
    """Check the file BUNDLE as the device does, and show its contents."""
    read_bundle = read(bundle)
    about = describe(read_bundle)
    name = about["metadata"].get("name", "unnamed")
    title = f"{name} version {about['model_version']}, for {about['target']}"
    if svg:
        _write(svg, picture(read_bundle, title))
    if html:
        _write(html, _page(title, picture(read_bundle, title)))
    if as_json:
        click.echo(json.dumps(about, indent=1))
        return
    click.echo(f"{bundle}: {title}")
    _show_calls(about)
    for kind in ("inputs", "outputs"):
        for t in about[kind]:
            click.echo(f"  {kind[:-1]:<7} {t['name']}: {t['dtype']} {t['shape']}")
    click.echo(f"  {about['kernel_calls']} kernel calls, {about['chunks']} chunks of weights")
    for key, what in _SIZES.items():
        click.echo(f"  {what:<34} {about[key]:>13,} bytes")
    sizes: dict[str, list[int]] = {}
    for s in about["sections"]:
        sizes.setdefault(s["type"], []).append(s["bytes"])
    for kind, found in sizes.items():
        several = f" in {len(found)} sections" if len(found) > 1 else ""
        click.echo(f"  {f'section {kind}':<34} {sum(found):>13,} bytes{several}")


def _show_calls(about: dict[str, Any]) -> None:
    """Print the calls as a table."""
    click.echo(f"  {'call':>5} {'arena bytes':>12} {'weights':>12} {'chunk':>6}  layer")
    for index, call in enumerate(about["calls"]):
        chunk = "" if call["chunk"] is None else f"{call['chunk']}{'*' if call['loads'] else ''}"
        click.echo(f"  {index:>5} {call['arena']:>12,} {call['weights']:>12,} {chunk:>6}  {call['layer']}")
    if about["loaded_each_inference"]:
        click.echo("  * loaded for this call in each inference")


def _page(title: str, svg: str) -> str:
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>body {{ margin: 1em auto; max-width: 1240px }} svg {{ max-width: 100%; height: auto }}</style>\n"
        f"{svg}</html>\n"
    )


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TzmlError(f"cannot write {path}: {error.strerror}", "check the folder and the free space") from error
