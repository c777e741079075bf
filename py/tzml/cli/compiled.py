"""What `tzml compile` does in the compiler's process, and says of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import click

from tzml.bundle import BOTH, Bundle, Worlds
from tzml.cli.child import Tell
from tzml.cli.encrypted import Opened
from tzml.cli.owner import opened_owner
from tzml.cli.progress import progress_bar, told
from tzml.compiler import CompileOptions, compile_model, model_structure
from tzml.errors import TzmlError
from tzml.files import written
from tzml.owner.seal import ContentKey, seal_into


@dataclass(frozen=True)
class Order:
    """What is compiled and where it goes.

    `opened` gives the path of a model that is encrypted. `file` takes the bundle; without it, `path` is written.
    `owner`, a key file or a URI, seals the bundle, with the passphrase in a file.
    """

    model: Path
    options: CompileOptions
    path: Path
    opened: Opened | None = None
    file: BinaryIO | None = None
    owner: str | None = None
    passphrase: Path | None = None
    as_json: bool = False


def write_bundle(order: Order, tell: Tell) -> tuple[str, ContentKey | None]:
    """Compile, seal if that is ordered, and write: a line about the bundle, or JSON, and the content key."""
    warnings: list[str] = []
    warn = _warner(order.model, warnings)
    key = None
    # a token is opened while everything can still be written: its library locks files
    with opened_owner(order.owner, order.passphrase) if order.owner else nullcontext() as signer:
        bundle = _compiled(order, warn, tell, compile_model)
        with nullcontext(order.file) if order.file else written(order.path) as file:
            if signer:
                key = seal_into(file, bundle, signer)
            else:
                bundle.write_into(file)
            file.flush()
            size = file.seek(0, os.SEEK_END)
    return (_as_json if order.as_json else _line)(order, bundle, size, warnings), key


def structure(order: Order, tell: Tell) -> tuple[str, str]:
    """The model's structure, and a line about it, or JSON."""
    text = _compiled(order, _warner(order.model, []), tell, model_structure).write()
    target = order.options.target
    if order.as_json:
        return text, json.dumps({"file": str(order.path), "bytes": len(text), "target": target}, indent=1)
    return text, f"{order.path}: {len(text):,} bytes, the structure for {target}, without numbers"


def _compiled(order: Order, warn: Callable[[str], None], tell: Tell, work: Callable[..., Any]) -> Any:
    source = order.opened(warn) if order.opened else order.model
    with progress_bar(order.model.name) as show:
        return work(source, order.options, told(tell, show), warn=warn)


def _warner(model: Path, warnings: list[str]) -> Callable[[str], None]:
    def warn(what: str) -> None:
        warnings.append(what)
        click.echo(f"tzml: warning: {model}: {what}", err=True)

    return warn


def _as_json(order: Order, bundle: Bundle, size: int, warnings: list[str]) -> str:
    memory = _memory(bundle)
    about = {
        "file": str(order.path),
        "bytes": size,
        "sealed": order.owner is not None,
        "target": order.options.target,
        "worlds": ["tee", "ree"] if any(library.tee for library in bundle.libraries) else ["ree"],
        "kernel_calls": _calls(bundle),
        "weights": memory.weights_size,
        "state": memory.state_size,
        "arena": memory.arena_size,
        "programs": [
            {"name": p.name, "worlds": [w.name for w in Worlds if w in p.worlds], "kernel_calls": len(p.calls)}
            for p in bundle.programs
        ],
        "secure_memory": bundle.secure_memory,
        "warnings": warnings,
    }
    return json.dumps(about, indent=1)


def _line(order: Order, bundle: Bundle, size: int, _: list[str]) -> str:
    memory, calls = _memory(bundle), _calls(bundle)
    worlds = "both worlds" if bundle.libraries[0].tee else "the normal world only"
    if any(program.worlds != BOTH for program in bundle.programs):
        inside = sum(len(p.calls) for p in bundle.programs if p.worlds == Worlds.tee)
        worlds = f"{inside} calls in the TEE and {calls - inside} in the normal world"
    elif order.owner is not None:
        worlds = "the TEE only, sealed"
    state = f"state {memory.state_size:,}, " if memory.state_size else ""
    return (
        f"{order.path}: {size:,} bytes for {order.options.target}, {worlds}; {calls} kernel calls; "
        f"bytes of weights {memory.weights_size:,}, arena {memory.arena_size:,}, {state}"
        f"secure memory {bundle.secure_memory:,}"
    )


def _memory(bundle: Bundle) -> Any:
    """Of a partitioned model, the memory of the part in the TEE."""
    return next((m for m in bundle.memories if m.worlds & Worlds.tee), bundle.memories[0])


def _calls(bundle: Bundle) -> int:
    return sum(len(program.calls) for program in bundle.programs)


def beside(model: Path) -> Path:
    """The bundle's path if none is given. Raises TzmlError."""
    known = model if model.stem.strip(".") else model.resolve()  # as in `tzml compile .`
    if not known.name:
        raise TzmlError(f"{model} is not a model", "give a model file, or the folder of a SavedModel")
    return known.with_suffix(".tzm")
