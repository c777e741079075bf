"""The whole way from a model file to a bundle."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from tzml.compiler.memory import CHUNK_SIZE, Layout, lay_out
from tzml.compiler.targets import TARGETS
from tzml.metadata import Metadata
from tzml.signing import SigningKey, sign_library

PAGE = 4096
DEFAULT_SECURE_MEMORY = 8 << 20


@dataclass(frozen=True)
class CompileOptions:
    """How to compile. `target` is a name in TARGETS; `inputs` fix inputs that the file leaves open.

    `secure_memory` is how many bytes the TA may map for the model; weights that do not fit are
    loaded anew in each inference. The TEE loads only libraries that are signed with the key its
    image was built with; without `signing_key` a bundle runs in the normal world only. `preprocess`
    (docs/models.md) and `labels` travel in the bundle.
    """

    target: str
    signing_key: SigningKey | None = None
    inputs: Mapping[str, InputSpec] = field(default_factory=dict)
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    labels: Sequence[str] = ()
    secure_memory: int = DEFAULT_SECURE_MEMORY
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
    libraries = build_libraries(graph, target)
    kernels_tee = b""
    if options.signing_key and target.has_tee:
        kernels_tee = sign_library(libraries.tee, libraries.uuid, options.signing_key)
    progress("packing")
    layout = lay_out(graph)
    bundle = Bundle(
        target=target.processor,
        plan=make_plan(graph, layout, libraries.digest),
        model_id=uuid.uuid5(uuid.NAMESPACE_URL, f"tzml:{name}"),
        model_version=options.model_version,
        chunks=layout.contents,
        kernels_tee=kernels_tee,
        kernels_ree=libraries.ree,
        metadata=metadata,
    )
    return _fit(bundle, graph, options.secure_memory)


def _fit(bundle: Bundle, graph: Graph, budget: int) -> Bundle:
    """The bundle with its weights placed such that it takes at most `budget` bytes of secure memory."""
    if bundle.secure_memory <= budget:
        return bundle
    for chunk_size in (CHUNK_SIZE, CHUNK_SIZE // 4, CHUNK_SIZE // 16, 1):
        # what is over must come off the weights; smaller chunks make header and plan a little larger
        room = bundle.plan.weights_size - (bundle.secure_memory - budget)
        layout = lay_out(graph, max(0, room - PAGE), chunk_size)
        plan = make_plan(graph, layout, bundle.plan.kernels_digest)
        fitted = replace(bundle, plan=plan, chunks=layout.contents)
        if fitted.secure_memory <= budget:
            return fitted
    raise CompileError(
        f"the model takes at least {fitted.secure_memory:,} bytes of secure memory, not {budget:,}: "
        f"{layout.arena_size:,} for activations, {max(map(len, layout.contents)):,} for the weights of one call",
        "give --secure-memory if the device has more, or make the layer smaller",
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
        weights_size=layout.weights_size,
        chunks=layout.chunks,
        calls=tuple(
            PlanCall(indices[call.kernel], arguments)
            for call, arguments in zip(graph.calls, layout.arguments, strict=True)
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
