"""The whole way from a model file to a bundle."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tzml.bundle import Bundle, Plan, Tensor
from tzml.bundle import Call as PlanCall
from tzml.compiler.describe import match_labels, match_preprocessing, source_digest
from tzml.compiler.errors import CompileError
from tzml.compiler.frontends import InputSpec, import_file, reason
from tzml.compiler.graph import Graph, Port
from tzml.compiler.library import build_libraries
from tzml.compiler.lower import Imported, lower
from tzml.compiler.memory import Layout, lay_out
from tzml.compiler.targets import TARGETS
from tzml.metadata import Metadata
from tzml.signing import SigningKey, sign_library


@dataclass(frozen=True)
class CompileOptions:
    """How to compile. `target` is a name in TARGETS; `inputs` fix inputs that the file leaves open.

    The TEE loads only libraries that are signed with the key its image was built with; without
    `signing_key` a bundle runs in the normal world only. `preprocess` (docs/models.md) and `labels` travel
    in the bundle.
    """

    target: str
    signing_key: SigningKey | None = None
    inputs: Mapping[str, InputSpec] = field(default_factory=dict)
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    labels: Sequence[str] = ()
    name: str = ""
    model_version: int = 1


Tell = Callable[[str], None]


def compile_model(
    path: Path, options: CompileOptions, progress: Tell = lambda _: None, warn: Tell = lambda _: None
) -> Bundle:
    """Compile the model in `path`, of any format that tzml.compiler.frontends knows.

    `progress` is told the name of each step, `warn` what may be wrong with a model that can be compiled.
    Raises CompileError, or TzmlError for preprocessing and labels that do not fit.
    """
    target = TARGETS[options.target]
    name = options.name or path.stem
    progress("importing")
    imported = import_file(path, options.inputs, warn)
    progress("compiling")
    graph = _lower(path, imported, target.tvm)
    if not graph.calls:
        raise CompileError(f"{path}: nothing is left to compute once constants are folded")
    progress("linking")
    metadata = _metadata(name, path, graph, imported, options)
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
        metadata=metadata,
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


def _lower(path: Path, imported: Imported, target: dict[str, str]) -> Graph:
    try:
        return lower(imported, target)
    except CompileError:
        raise
    except Exception as error:  # TVM raises many kinds
        raise CompileError(f"TVM cannot compile {path.name}: {reason(error)}") from error


def _metadata(name: str, path: Path, graph: Graph, imported: Imported, options: CompileOptions) -> bytes:
    """The metadata section (docs/bundle.md). Nothing in it changes from run to run."""
    about = Metadata(
        images=match_preprocessing(options.preprocess, graph.inputs),
        labels=match_labels(options.labels, graph.outputs),
        quantization=imported.quantization,
    )
    return json.dumps(
        {
            "name": name,
            "source": {"file": path.name, "sha256": source_digest(path)},
            "compiler": {package: version(package) for package in ("tzml", "apache-tvm")},
            "kernels": [kernel.symbol for kernel in graph.kernels],
            **about.as_json(),
        },
        indent=1,
    ).encode()
