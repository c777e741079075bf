"""`tzml inspect`."""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import click

from tzml.bundle import NO_IDENTITY, Bundle, Memory, Public, Region, Tensor, Worlds, read, read_public
from tzml.bundle.streaming import bytes_loaded
from tzml.cli.options import OutputFile, weights_option
from tzml.errors import TzmlError
from tzml.files import check_output, write_file
from tzml.memory_map import memory_map, picture
from tzml.printable import printable

_SIZES = {
    "secure_memory": "secure memory",
    "code_memory": "  for the TA and its kernels",
    "mapped_memory": "  for the model",
}


def describe(bundle: Bundle) -> dict[str, Any]:
    """The contents of a bundle as a JSON object, which `--json` prints. Sizes in bytes.

    What a model's only program does also stands at the top level.
    """
    programs = [_program(bundle, number) for number in range(len(bundle.programs))]
    about = {
        "model_id": None if bundle.model_id == NO_IDENTITY else str(bundle.model_id),
        "model_version": bundle.model_version,
        "target": bundle.target.name,
        "inputs": list(map(_tensor, bundle.inputs())),
        "outputs": list(map(_tensor, bundle.outputs())),
        "tensors": list(map(_tensor, bundle.tensors)),
        "programs": programs,
        "memories": list(map(_memory, bundle.memories)),
        "secure_memory": bundle.secure_memory,
        "mapped_memory": bundle.mapped_memory,
        "code_memory": bundle.code_memory,
        "sections": [{"type": s.type.name, "index": s.index, "bytes": len(s.content)} for s in bundle.sections()],
        "metadata": json.loads(bundle.metadata or b"{}"),
        "notes": json.loads(bundle.notes or b"{}"),
    }
    if len(programs) == 1:
        memory = bundle.memory
        about |= {key: programs[0][key] for key in ("kernel_calls", "loaded_each_inference", "calls")}
        about |= {
            "arena": memory.arena_size,
            "weights": memory.weights_size,
            "state": memory.state_size,
            "chunks": len(memory.chunks),
            "places": _memory(memory)["chunks"],
        }
    return about


def _tensor(t: Tensor) -> dict[str, Any]:
    return {
        "name": t.name,
        "dtype": t.dtype.name,
        "shape": list(t.shape),
        "bytes": t.size,
        "kind": t.direction.name,
    }


def _memory(memory: Memory) -> dict[str, Any]:
    return {
        "worlds": _worlds(memory.worlds),
        "arena": memory.arena_size,
        "weights": memory.weights_size,
        "state": memory.state_size,
        **({"noise": memory.noise.multiplier} if memory.noise else {}),
        "chunks": [{"size": chunk.size, "offset": chunk.offset} for chunk in memory.chunks],
    }


def _worlds(worlds: Worlds) -> list[str]:
    return [world.name for world in Worlds if world in worlds and world.name]


def _program(bundle: Bundle, number: int) -> dict[str, Any]:
    program = bundle.programs[number]
    return {
        "name": program.name,
        "role": program.role.name,
        "worlds": _worlds(program.worlds),
        "entry": program.entry,
        "inputs": [bundle.tensors[port.tensor].name for port in program.inputs],
        "outputs": [bundle.tensors[port.tensor].name for port in program.outputs],
        "kernel_calls": len(program.calls),
        "loaded_each_inference": bytes_loaded(program, bundle.memory_of(program)),
        "calls": _calls(bundle, number),
    }


def _calls(bundle: Bundle, number: int) -> list[dict[str, Any]]:
    """Each kernel call of a program: its layer, the bytes of arena and weights that it uses, and what it loads."""
    memory = memory_map(bundle, number)
    calls = []
    for index, call in enumerate(bundle.programs[number].calls):
        weights = {(a.chunk, a.offset): a for a in call.arguments if a.region == Region.weights}
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


def describe_sealed(public: Public) -> dict[str, Any]:
    """What anybody can read of a sealed bundle, as a JSON object; the fields are those of `describe`."""
    header, rows = public.table.header, public.table.rows
    return {
        "sealed": True,
        "owner": header.owner.hex(),
        "model_id": None if header.model_id == NO_IDENTITY else str(header.model_id),
        "model_version": header.model_version,
        "target": header.target.name,
        "tensors": list(map(_tensor, public.interface.tensors)),
        "programs": [
            {"name": p.name, "role": p.role.name, "worlds": _worlds(p.worlds), "entry": p.entry}
            for p in public.interface.programs
        ],
        "secure_memory": header.secure_memory,
        "code_memory": header.code_memory,
        "sections": [
            {
                "type": row.known.name if row.known else row.type,
                "index": row.index,
                "bytes": row.size,
                "sealed": bool(row.protection),
            }
            for row in rows
        ],
    }


def _echo(text: str) -> None:
    click.echo(printable(text))


def _show_sealed(bundle: Path, about: dict[str, Any]) -> None:
    _echo(f"{bundle}: sealed model {about['model_id']} version {about['model_version']}, for {about['target']}")
    _echo(f"  owner {about['owner']}")
    for t in about["tensors"]:
        _echo(f"  {t['kind']:<7} {t['name']}: {t['dtype']} {t['shape']}")
    _echo(f"  {'secure memory':<34} {about['secure_memory']:>13,} bytes")
    for s in about["sections"]:
        name = f"section {s['type']} {s['index']}"
        _echo(f"  {name:<34} {s['bytes']:>13,} bytes, {'sealed' if s['sealed'] else 'clear'}")


@click.command("inspect")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option("--layers", is_flag=True, help="List the layers of a model file, before it is compiled.")
@click.option("--input", "inputs", metavar="NAME=SHAPE[:DTYPE]", multiple=True,
              help="With --layers: shape of an input, if the model leaves it open.")  # fmt: skip
@weights_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@click.option("--svg", type=OutputFile(), help="Draw the memory map to this SVG file.")
@click.option("--html", type=OutputFile(), help="Draw the memory map to this HTML page.")
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The content key (.tzk) of a sealed bundle. Without it, only what anybody can read is shown.",
)
def command(
    bundle: Path,
    layers: bool,
    inputs: tuple[str, ...],
    weights: str,
    as_json: bool,
    svg: Path | None,
    html: Path | None,
    key: Path | None,
) -> None:
    """Check the file BUNDLE as the device does, and show its contents.

    With --layers, BUNDLE is a model file, and its layers are listed as `tzml compile --tee` takes them.
    """
    if layers:
        if svg or html or key:
            raise TzmlError("--layers takes none of --svg, --html and --key", "they are for bundles")
        click.echo(_layers(bundle, inputs, weights, as_json=as_json))
        return
    if inputs or weights:
        raise TzmlError("--input and --weights are for --layers", "a bundle has its shapes and weights")
    if bundle.is_dir():
        raise TzmlError(f"{bundle} is a folder, not a bundle", "give --layers to list the layers of a SavedModel")
    if svg and html and svg.resolve() == html.resolve():
        raise TzmlError(f"{svg} cannot be both the SVG file and the HTML page", "give another file to --html")
    for file in filter(None, (svg, html)):
        check_output(file, [bundle])
    public = read_public(bundle)
    if public.sealed and not key:
        if svg or html:
            raise TzmlError(f"{bundle} is sealed, and so is its memory map", "give its content key to --key")
        about = describe_sealed(public)
        click.echo(json.dumps(about, indent=1)) if as_json else _show_sealed(bundle, about)
        return
    read_bundle = read(bundle, _secret(key) if key else None)
    about = describe(read_bundle)
    name = about["metadata"].get("name", "unnamed")
    title = f"{name} version {about['model_version']}, for {about['target']}"
    if svg:
        write_file(svg, picture(read_bundle, title))
    if html:
        write_file(html, _page(title, picture(read_bundle, title)))
    if as_json:
        click.echo(json.dumps(about, indent=1))
        return
    _echo(f"{bundle}: {title}")
    for program in about["programs"]:
        if len(about["programs"]) > 1:
            worlds = " or ".join(program["worlds"])
            _echo(f"  program {program['name']} ({program['role']}, entry point {program['entry']}), in {worlds}:")
        _echo(_call_table(program))
    for t in about["tensors"]:
        _echo(f"  {t['kind']:<7} {t['name']}: {t['dtype']} {t['shape']}")
    for memory in about["memories"]:
        calls = sum(p["kernel_calls"] for p in about["programs"] if set(p["worlds"]) <= set(memory["worlds"]))
        of = f" in {' and '.join(memory['worlds'])}" if len(about["memories"]) > 1 else ""
        _echo(f"  {calls} kernel calls{of}, {len(memory['chunks'])} chunks of weights")
        for what in ("arena", "weights", *(["state"] if memory["state"] else [])):
            _echo(f"  {'  ' + what:<34} {memory[what]:>13,} bytes")
        if "noise" in memory:
            _echo(f"  {'  noise of each update':<34} {memory['noise']:>13.4g} clips")
    for size, what in _SIZES.items():
        _echo(f"  {what:<34} {about[size]:>13,} bytes")
    loaded = sum(program["loaded_each_inference"] for program in about["programs"] if program["entry"] == 0)
    _echo(f"  {'loaded in each inference':<34} {loaded:>13,} bytes")
    sizes: dict[str, list[int]] = {}
    for s in about["sections"]:
        sizes.setdefault(s["type"], []).append(s["bytes"])
    for kind, found in sizes.items():
        several = f" in {len(found)} sections" if len(found) > 1 else ""
        _echo(f"  {f'section {kind}':<34} {sum(found):>13,} bytes{several}")


def _layers(model: Path, inputs: tuple[str, ...], weights: str, *, as_json: bool) -> str:
    """The layers of a model file as a table, or as JSON. Raises TzmlError."""
    from tzml.cli.child import in_child  # with the compiler, which a device does not have
    from tzml.cli.compile import parse_inputs
    from tzml.compiler.compile import layers_of

    shapes = parse_inputs(click.get_current_context(), click.Argument(["input"]), inputs)

    def warn(what: str) -> None:
        click.echo(f"tzml: warning: {model}: {what}", err=True)

    def tell_layers(tell: Callable[[str], None]) -> str:
        tell("importing")
        found = layers_of(model, shapes, warn, weights)
        fields = ("number", "name", "operator", "shape", "weights", "names")
        if as_json:
            return json.dumps({"layers": [{field: getattr(x, field) for field in fields} for x in found]}, indent=1)
        rows = [("layer", "weights", "output", "operator", "name")]
        rows += [(str(x.number), f"{x.weights:,}", "x".join(map(str, x.shape)), x.operator, x.name) for x in found]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        return "\n".join(
            f"{n:>{widths[0]}} {weights:>{widths[1]}} {shape:>{widths[2]}}  {kind:<{widths[3]}}  {name}".rstrip()
            for n, weights, shape, kind, name in rows
        )

    told: str = in_child(tell_layers, str(model))
    return told


def _secret(path: Path) -> bytes:
    from tzml.owner.seal import ContentKey  # which a device does not have

    return ContentKey.read(path).secret


def _call_table(program: dict[str, Any]) -> str:
    """The calls of a program, one per line."""
    lines = [f"  {'call':>5} {'arena bytes':>12} {'weights':>12} {'chunk':>6}  layer"]
    for index, call in enumerate(program["calls"]):
        chunk = "" if call["chunk"] is None else f"{call['chunk']}{'*' if call['loads'] else ''}"
        lines.append(f"  {index:>5} {call['arena']:>12,} {call['weights']:>12,} {chunk:>6}  {call['layer']}")
    if program["loaded_each_inference"]:
        lines.append("  * loaded for this call in each inference")
    return "\n".join(lines)


def _page(title: str, svg: str) -> str:
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>body {{ margin: 1em auto; max-width: 1240px }} svg {{ max-width: 100%; height: auto }}</style>\n"
        f"{svg}</html>\n"
    )
