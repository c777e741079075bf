"""The whole way from a model file to a bundle."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path

from tzml.bundle import Bundle, Plan, Tensor
from tzml.bundle import Call as PlanCall
from tzml.compiler.errors import CompileError
from tzml.compiler.frontends import import_onnx
from tzml.compiler.graph import Graph, Port
from tzml.compiler.library import build_libraries
from tzml.compiler.lower import lower
from tzml.compiler.memory import CHUNK_SIZE, Layout, lay_out
from tzml.compiler.targets import TARGETS
from tzml.signing import SigningKey, sign_library

PAGE = 4096
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
        metadata=_metadata(name, path, graph),
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


def _metadata(name: str, path: Path, graph: Graph) -> bytes:
    """What people may want to know of a bundle. Nothing that changes from run to run."""
    about = {
        "name": name,
        "source": {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
        "compiler": {package: metadata.version(package) for package in ("tzml", "apache-tvm")},
        "kernels": [kernel.symbol for kernel in graph.kernels],
    }
    return json.dumps(about, indent=1).encode()
