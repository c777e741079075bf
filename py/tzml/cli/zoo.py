"""`tzml zoo`."""

from __future__ import annotations

import json
import shlex
import tempfile
import time
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from tzml.cli.options import OutputFile, completed, parse_size
from tzml.errors import TzmlError, known_names
from tzml.files import check_output, is_stdout, write_file
from tzml_zoo import ZooModel, models

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("zoo")
def command() -> None:
    """The networks that tzml is tested with."""


@command.command("list")
@_json
def list_models(as_json: bool) -> None:
    """Show source, weights and size of each network.

    The size is given in parameters and multiply-accumulates.
    """
    if as_json:
        fields = ("name", "title", "paper", "parameters", "macs", "weights", "input", "input_shape", "output")
        click.echo(json.dumps([{key: getattr(m, key) for key in fields} for m in models().values()], indent=1))
        return
    rows = [("name", "network", "source", "parameters", "MACs", "weights")]
    rows += [(m.name, m.title, m.paper, f"{m.parameters:,}", f"{m.macs:,}", m.weights) for m in models().values()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, title, paper, parameters, macs, weights in rows:
        click.echo(
            f"{name:{widths[0]}}  {title:{widths[1]}}  {paper:{widths[2]}}  "
            f"{parameters:>{widths[3]}}  {macs:>{widths[4]}}  {weights}"
        )


@command.command("export")
@click.argument("name", shell_complete=completed(models))
@click.option("-o", "--output", type=OutputFile(), help="Default: NAME.FORMAT.")
@click.option("--format", "kind", type=click.Choice(["onnx", "pt2", "tflite"]), default="onnx",
              show_default=True, help="pt2 needs PyTorch; tflite also needs litert-torch.")  # fmt: skip
@_json
def export(name: str, output: Path | None, kind: str, as_json: bool) -> None:
    """Write the network NAME to a file for `tzml compile`.

    Its preprocessing and labels are written next to it.
    """
    model = _find(name)
    path = output or Path(f"{name}.{kind}")
    texts = _texts(model) if not path.exists() or (path.is_file() and not is_stdout(path)) else {}
    beside = {option: path.with_suffix(suffix) for option, (suffix, _) in texts.items()}
    for option, file in beside.items():
        if file == path:
            raise TzmlError(f"{path} is where the file for {option} goes", "give another file to --output")
    for file in (path, *beside.values()):
        check_output(file, remedy="give another file to --output")
    data = _pt2(model) if kind == "pt2" else (model.onnx() if kind == "onnx" else _tflite(model)).read_bytes()
    write_file(path, data)
    for option, (_, text) in texts.items():
        write_file(beside[option], text)
    if as_json:
        files = {option.removeprefix("--"): str(file) for option, file in beside.items()}
        click.echo(json.dumps({"file": str(path), "bytes": len(data), **files}, indent=1), err=is_stdout(path))
        return
    options = "".join(f" {option} {shlex.quote(str(file))}" for option, file in beside.items())
    click.echo(
        f"{path}: {model.title}, {len(data):,} bytes\ntzml compile {shlex.quote(str(path))}{options} --target host",
        err=is_stdout(path),
    )


def _texts(model: ZooModel) -> dict[str, tuple[str, str]]:
    """What `tzml compile` needs beside the model: the suffix and the content of a file for each option."""
    texts = {}
    if model.preprocess:
        texts["--preprocess"] = (".json", json.dumps(model.preprocess, indent=1) + "\n")
    if model.labels:
        texts["--labels"] = (".txt", "".join(f"{label}\n" for label in model.labels()))
    return texts


@command.command("convert")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completed(models))
@_json
def convert(names: tuple[str, ...], as_json: bool) -> None:
    """Make TFLite files of networks, all or by NAME.

    `tzml bench` measures LiteRT with these files. They are cached. Making them needs PyTorch and litert-torch:
    pip install 'tzml[litert]'.
    """
    made = []
    for model in [_find(name) for name in names] or models().values():
        begin = time.monotonic()
        path = _tflite(model)
        made.append(
            {
                "name": model.name,
                "file": str(path),
                "bytes": path.stat().st_size,
                "seconds": time.monotonic() - begin,
            }
        )
        if not as_json:
            click.echo("{file}: {bytes:,} bytes, {seconds:.1f} s".format_map(made[-1]))
    if as_json:
        click.echo(json.dumps(made, indent=1))


@command.command("check")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completed(models))
@click.option("--format", "kind", type=click.Choice(["onnx", "pt2"]), default="onnx", show_default=True,
              help="The format to compile. pt2 needs PyTorch and is compared with it.")  # fmt: skip
@click.option("--samples", default=8, show_default=True, type=click.IntRange(1), help="Number of inputs.")
@click.option("--secure-memory", default="4096M", show_default=True, callback=parse_size, metavar="SIZE",
              help="As for `tzml compile`. Weights that do not fit are streamed.")  # fmt: skip
@_json
def check(names: tuple[str, ...], kind: str, samples: int, secure_memory: int, as_json: bool) -> None:
    """Compare networks, all or by NAME, with their framework.

    They are compiled for this host and must give the same answers.
    """
    from tzml_zoo.check import check as check_model

    if kind == "pt2" and not find_spec("torch"):
        raise _no_pytorch()
    chosen = [_find(name) for name in names] or list(models().values())
    results: list[dict[str, Any]] = []
    say = (lambda _: None) if as_json else click.echo
    say(f"{'name':20}  {'difference':>10}  {'of':>7}  {'top-1':>7}  {'classes':>7}  {'compiled in':>11}")
    failed = []
    for model in chosen:
        try:
            found = check_model(model, kind, samples, secure_memory)
        except TzmlError as error:
            failed.append(model.name)
            results.append({"name": model.name, "error": str(error)})
            say(f"{model.name:20}  {error}")
            continue
        results.append({**asdict(found), "ok": found.agree == found.samples})
        say(
            f"{found.name:20}  {found.difference:10.2e}  {found.largest:7.3g}  {found.agree:3}/{found.samples:<3}  "
            f"{found.classes:7}  {found.seconds:9.1f} s"
        )
        if found.agree < found.samples:
            failed.append(model.name)
    if as_json:
        click.echo(json.dumps(results, indent=1))
    if failed:
        raise click.ClickException(f"these do not answer as their framework does: {', '.join(failed)}")


def _find(name: str) -> ZooModel:
    found = models()
    if name not in found:
        raise TzmlError(f"the zoo has no network {name}", known_names(name, found))
    return found[name]


def _tflite(model: ZooModel) -> Path:
    try:
        path: Path = model.tflite(make=True)
    except ModuleNotFoundError as error:
        raise TzmlError(
            f"making a .tflite file needs PyTorch and litert-torch, and {error.name} is not installed",
            "pip install 'tzml[litert]'",
        ) from error
    return path


def _pt2(model: ZooModel) -> bytes:
    try:
        from tzml_zoo.torch_twin import save_pt2
    except ModuleNotFoundError as error:
        raise _no_pytorch() from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.pt2")
        save_pt2(model.onnx(), model.input_shape, path)
        return path.read_bytes()


def _no_pytorch() -> TzmlError:
    return TzmlError("writing a .pt2 file needs PyTorch, which is not installed", "pip install 'tzml[pytorch]'")
