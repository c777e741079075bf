"""The whole way from a model file to a bundle."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from tzml.bundle import Bundle
from tzml.compiler.errors import CompileError
from tzml.compiler.fit import fit, make_plan
from tzml.compiler.frontends import import_onnx
from tzml.compiler.graph import Graph
from tzml.compiler.library import build_libraries
from tzml.compiler.lower import Imported, lower, simplify
from tzml.compiler.memory import Layout, lay_out
from tzml.compiler.progress import Progress, no_progress
from tzml.compiler.targets import TARGETS
from tzml.signing import SigningKey, sign_library

DEFAULT_SECURE_MEMORY = 8 << 20


@dataclass(frozen=True)
class CompileOptions:
    """How to compile. `target` is a name in TARGETS; `shapes` fix inputs that the file leaves open.

    `secure_memory` is how many bytes the TA may map for the model; weights that do not fit are
    loaded anew in each inference. The TEE loads only libraries that are signed with the key its
    image was built with; without `signing_key` a bundle runs in the normal world only.
    """

    target: str
    signing_key: SigningKey | None = None
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    secure_memory: int = DEFAULT_SECURE_MEMORY
    name: str = ""
    model_version: int = 1


def compile_model(path: Path, options: CompileOptions, progress: Progress = no_progress) -> Bundle:
    """Compile the model in `path`; `progress` is told each step. Raises CompileError."""
    progress("importing")
    imported = import_onnx(path, options.shapes)
    progress("simplifying")
    imported = simplify(imported, TARGETS[options.target].tvm)
    return fit(
        lambda largest_weights: _compile(path, imported, options, largest_weights, progress), options.secure_memory
    )


def _compile(
    path: Path, imported: Imported, options: CompileOptions, largest_weights: int | None, progress: Progress
) -> tuple[Graph, Bundle]:
    """The graph, with layers split that have more bytes of weights, and its bundle without streaming."""
    target = TARGETS[options.target]
    name = options.name or path.stem
    progress("planning")
    graph = lower(imported, target.tvm, largest_weights, progress)
    if not graph.calls:
        raise CompileError(f"{path}: nothing is left to compute once constants are folded")
    progress("linking")
    libraries = build_libraries(graph, target)
    kernels_tee = b""
    if options.signing_key and target.has_tee:
        kernels_tee = sign_library(libraries.tee, libraries.uuid, options.signing_key)
    progress("packing")
    layout = lay_out(graph)
    return graph, Bundle(
        target=target.processor,
        plan=make_plan(graph, layout, libraries.digest),
        model_id=uuid.uuid5(uuid.NAMESPACE_URL, f"tzml:{name}"),
        model_version=options.model_version,
        chunks=layout.contents,
        kernels_tee=kernels_tee,
        kernels_ree=libraries.ree,
        metadata=_metadata(name, path, graph, layout),
    )


def _metadata(name: str, path: Path, graph: Graph, layout: Layout) -> bytes:
    """What people may want to know of a bundle. Nothing that changes from run to run."""
    about = {
        "name": name,
        "source": {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
        "compiler": {package: metadata.version(package) for package in ("tzml", "apache-tvm")},
        "kernels": [kernel.symbol for kernel in graph.kernels],
        "calls": [call.note for call in graph.calls],
        "arena": [[b.lifetime.first, b.lifetime.last, b.start, b.size] for b in layout.blocks],
    }
    return json.dumps(about, indent=1).encode()
