"""The whole way from a model file to a bundle."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from tzml.bundle import Bundle, Plan, Tensor
from tzml.bundle import Call as PlanCall
from tzml.compiler.errors import CompileError
from tzml.compiler.frontends import import_onnx
from tzml.compiler.graph import Graph, Port
from tzml.compiler.library import build_libraries
from tzml.compiler.lower import lower
from tzml.compiler.memory import Layout, lay_out
from tzml.compiler.targets import TARGETS
from tzml.signing import SigningKey, sign_library


@dataclass(frozen=True)
class CompileOptions:
    """How to compile. `target` is a name in TARGETS; `shapes` fix inputs that the file leaves open.

    The TEE loads only libraries that are signed with the key its image was built with; without
    `signing_key` a bundle runs in the normal world only.
    """

    target: str
    signing_key: SigningKey | None = None
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    name: str = ""
    model_version: int = 1


def compile_model(path: Path, options: CompileOptions, progress: Callable[[str], None] = lambda _: None) -> Bundle:
    """Compile the model in `path`; `progress` is told the name of each step. Raises CompileError."""
    target = TARGETS[options.target]
    name = options.name or path.stem
    progress("importing")
    imported = import_onnx(path, options.shapes)
    progress("compiling")
    graph = lower(imported, target.tvm)
    if not graph.calls:
        raise CompileError(f"{path}: nothing is left to compute once constants are folded")
    progress("linking")
    layout = lay_out(graph)
    libraries = build_libraries(graph, target)
    progress("packing")
    plan = make_plan(graph, layout, libraries.digest)
    kernels_tee = b""
    if options.signing_key and target.has_tee:
        kernels_tee = sign_library(libraries.tee, libraries.uuid, options.signing_key)
    return Bundle(
        target=target.processor,
        plan=plan,
        model_id=uuid.uuid5(uuid.NAMESPACE_URL, f"tzml:{name}"),
        model_version=options.model_version,
        chunks=layout.chunks,
        kernels_tee=kernels_tee,
        kernels_ree=libraries.ree,
        metadata=_metadata(name, path, graph),
    )


def make_plan(graph: Graph, layout: Layout, kernels_digest: bytes) -> Plan:
    """The plan of a graph whose buffers have their places."""
    indices = {kernel: index for index, kernel in enumerate(graph.kernels)}

    def tensor(port: Port) -> Tensor:
        return Tensor(port.name, port.dtype, port.shape, layout.places[port.buffer].offset)

    return Plan(
        kernels_digest=kernels_digest,
        arena_size=layout.arena_size,
        inputs=tuple(map(tensor, graph.inputs)),
        outputs=tuple(map(tensor, graph.outputs)),
        chunk_sizes=tuple(map(len, layout.chunks)),
        calls=tuple(
            PlanCall(indices[call.kernel], tuple(layout.places[buffer] for buffer in call.buffers))
            for call in graph.calls
        ),
    )


def _metadata(name: str, path: Path, graph: Graph) -> bytes:
    """What people may want to know of a bundle. Nothing that changes from run to run."""
    about = {
        "name": name,
        "source": {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
        "compiler": {package: metadata.version(package) for package in ("tzml", "apache-tvm")},
        "kernels": [kernel.symbol for kernel in graph.kernels],
    }
    return json.dumps(about, indent=1).encode()
