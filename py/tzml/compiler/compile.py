"""The whole way from a model file to a bundle."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tzml.bundle import Bundle
from tzml.compiler.codegen.link import build_libraries
from tzml.compiler.codegen.tuning_records import Tuning
from tzml.compiler.fit import fit
from tzml.compiler.frontends import InputSpec, import_file, reason
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.graph import Graph
from tzml.compiler.ir.imported import Imported
from tzml.compiler.ir.limits import Limits
from tzml.compiler.ir.progress import Progress, no_progress
from tzml.compiler.ir.targets import TARGETS
from tzml.compiler.lower import lower, prepare
from tzml.compiler.metadata import match_labels, match_preprocessing, source_digest
from tzml.compiler.planning.code_memory import code_memory
from tzml.compiler.planning.memory import Layout, lay_out
from tzml.compiler.planning.plan import make_plan
from tzml.metadata import Metadata
from tzml.signing import SigningKey, sign_library

DEFAULT_SECURE_MEMORY = 8 << 20


@dataclass(frozen=True)
class CompileOptions:
    """How to compile. `target` is a name in TARGETS; `inputs` fix inputs that the file leaves open.

    `secure_memory` is how many bytes of it the model may take, the TA's own included; weights that do
    not fit are loaded anew in each inference. The TEE loads only libraries that are signed with the key its
    image was built with; without `signing_key` a bundle runs in the normal world only. `preprocess`
    (docs/models.md) and `labels` travel in the bundle. `tuning` has better schedules for some kernels.
    """

    target: str
    signing_key: SigningKey | None = None
    inputs: Mapping[str, InputSpec] = field(default_factory=dict)
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    labels: Sequence[str] = ()
    secure_memory: int = DEFAULT_SECURE_MEMORY
    name: str = ""
    model_version: int = 1
    tuning: Tuning | None = None


Tell = Callable[[str], None]


def compile_model(
    path: Path, options: CompileOptions, progress: Progress = no_progress, warn: Tell = lambda _: None
) -> Bundle:
    """Compile the model in `path`, of any format that tzml.compiler.frontends knows.

    `progress` is told each step, `warn` what may be wrong with a model that can be compiled.
    Raises CompileError, or TzmlError for preprocessing and labels that do not fit.
    """
    progress("importing")
    imported = import_file(path, options.inputs, warn)
    with _explained(path):
        progress("simplifying")
        imported = prepare(imported, TARGETS[options.target].tvm)
    return fit(lambda limits: _compile(path, imported, options, limits, progress), options.secure_memory)


def _compile(
    path: Path, imported: Imported, options: CompileOptions, limits: Limits, progress: Progress
) -> tuple[Graph, Bundle]:
    """The graph, with layers split and tiled that are above the limits, and its bundle without streaming."""
    target = TARGETS[options.target]
    name = options.name or path.stem
    progress("planning")
    with _explained(path):
        graph = lower(imported, target.tvm, limits, options.tuning, progress)
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
        metadata=_metadata(name, path, graph, layout, imported, options),
        code_memory=code_memory(libraries.tee) if target.has_tee else 0,
    )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Anything that goes wrong inside is a CompileError: TVM raises many kinds."""
    try:
        yield
    except CompileError:
        raise
    except Exception as error:
        raise CompileError(f"TVM cannot compile {path.name}: {reason(error)}") from error


def _metadata(
    name: str, path: Path, graph: Graph, layout: Layout, imported: Imported, options: CompileOptions
) -> bytes:
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
            "calls": [call.note for call in graph.calls],
            "arena": [[b.lifetime.first, b.lifetime.last, b.start, b.size] for b in layout.blocks],
            **about.as_json(),
        },
        indent=1,
    ).encode()
