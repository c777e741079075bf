"""The whole way from a model file to a bundle."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tzml.bundle import NO_IDENTITY, Bundle, Library, UpdateNoise, derive_model_id
from tzml.bundle.identity import digest_uuid
from tzml.compiler.codegen.link import build_libraries
from tzml.compiler.codegen.tuning_records import Tuning
from tzml.compiler.compile.trained_part import cut_trained, join_trained
from tzml.compiler.fit import fit, stream
from tzml.compiler.frontends import Inputs, InputSpec, default_preprocessing, import_file
from tzml.compiler.ir.errors import CompileError, explained
from tzml.compiler.ir.graph import GraphProgram, StateBuffer, kernels_of, share_constants
from tzml.compiler.ir.imported import Imported
from tzml.compiler.ir.limits import NO_LIMITS, Limits
from tzml.compiler.ir.progress import Progress, no_progress
from tzml.compiler.ir.targets import TARGETS
from tzml.compiler.lower import lower, prepare
from tzml.compiler.metadata import match_labels, match_preprocessing, source_digest
from tzml.compiler.partition import CutModel, compile_parts, describe_range, partition
from tzml.compiler.passes.layers import SourceLayer, find_layers
from tzml.compiler.passes.stages import cut_stages
from tzml.compiler.passes.tile_rows import widest_layer
from tzml.compiler.passes.training import (
    BOUND,
    EXAMPLES,
    TrainingProgram,
    TrainOptions,
    training_programs,
)
from tzml.compiler.planning.code_memory import code_memory
from tzml.compiler.planning.memory import Layout
from tzml.compiler.planning.names import bundle_names
from tzml.compiler.planning.program import plan_programs
from tzml.compiler.planning.state import State
from tzml.compiler.structure import Structure
from tzml.metadata import Metadata
from tzml.signing import SignedLibrary, SigningKey, sign_library

DEFAULT_SECURE_MEMORY = 8 << 20

_PROGRAM = "main"  # the name of a model's only program


@dataclass(frozen=True)
class CompileOptions:
    """How to compile. `target` is a name in TARGETS; `inputs` fix inputs that the file leaves open.

    `weights` is the file of a network of Darknet, or "random" for one that is to be trained.

    `secure_memory` is how many bytes of it the model may take, the TA's own included; weights that do
    not fit are loaded anew in each inference. The TEE loads only libraries that are signed with the key its
    image was built with: by `signing_key`, or by whoever made `kernels` of the model's structure. Without both, a
    bundle runs in the normal world only. `preprocess`
    (docs/models.md) and `labels` travel in the bundle. `tuning` has better schedules for some kernels.
    The bundle's identity is `model_id`, or follows from `owner`, a P-256 public key (X and Y, 64 bytes), and the
    model's name; without both it has none. `rename` gives other names to inputs and outputs.
    `tee` says which layers run in the secure world, the others in the normal one (passes/layer_range.py). Without
    it the model can run in either world. With `everywhere`, for tests and measurements, so can each part.
    With `train`, the bundle has programs that change the model's parameters, which then lie in its state; with
    `tee`, too, those of the layers in the secure world (compile/trained_part.py).
    """

    target: str
    signing_key: SigningKey | None = None
    kernels: SignedLibrary | None = None
    inputs: Mapping[str, InputSpec] = field(default_factory=dict)
    weights: str = ""
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    labels: Sequence[str] = ()
    secure_memory: int = DEFAULT_SECURE_MEMORY
    name: str = ""
    model_version: int = 1
    tuning: Tuning | None = None
    model_id: uuid.UUID | None = None
    owner: bytes = b""
    rename: Mapping[str, str] = field(default_factory=dict)
    tee: str | None = None
    everywhere: bool = False
    train: TrainOptions | None = None


Tell = Callable[[str], None]


def compile_model(
    path: Path, options: CompileOptions, progress: Progress = no_progress, warn: Tell = lambda _: None
) -> Bundle:
    """Compile the model in `path`, of any format that tzml.compiler.frontends knows.

    `progress` is told each step, `warn` what may be wrong with a model that can be compiled.
    Raises CompileError if the model cannot be imported or compiled, or does not fit into `options.secure_memory`
    bytes; TzmlError if preprocessing or labels do not fit it, or `options.kernels` are another model's.
    """
    imported, names = prepared_model(path, options, progress, warn)

    def compile_part(part: Imported, budget: int | None) -> Bundle:
        return fitted(path, part, options, budget, progress)

    if options.train is not None:
        if options.kernels is not None:
            raise CompileError("the kernels of a model that is trained cannot be signed elsewhere yet")
        bundle = compile_trained(path, imported, options, options.train, progress, warn)
    elif options.tee is None:
        bundle = compile_part(imported, options.secure_memory)
    else:
        _check_world(options)
        cut_model = partition(imported, options.tee, options.everywhere)
        _warn_of_oracle(cut_model, warn)
        bundle = compile_parts(cut_model, compile_part, options.secure_memory)
    if options.kernels and bundle.libraries[0].tee != options.kernels.header + options.kernels.elf:
        raise CompileError(
            "the signed kernels are not those of this model: the library here is "
            f"{digest_uuid(bundle.program.kernels_digest)}, with another digest",
            "have its structure signed (tzml compile --graph-only, tzml sign-kernels), with the same version, "
            "for the same --target, --secure-memory and --tuning",
        )
    return _described(bundle, path, imported, names, options)


def compile_stages(
    path: Path,
    options: CompileOptions,
    stages: str,
    progress: Progress = no_progress,
    warn: Tell = lambda _: None,
) -> list[Bundle]:
    """Compile the model in `path` into a bundle for each stage of a pipeline of devices.

    `stages` says where to cut (passes/stages.py). Each stage may take `options.secure_memory`, and is a model of
    its own with the name "NAME-0", "NAME-1" and so on. Raises as compile_model does.
    """
    if options.train is not None or options.tee is not None or options.kernels is not None:
        raise CompileError("the stages of a pipeline cannot be trained or partitioned, nor signed elsewhere, yet")
    imported, names = prepared_model(path, options, progress, warn)
    name = options.name or path.resolve().stem

    parts = cut_stages(imported, stages)
    found = []
    for number, part in enumerate(parts):
        first, last = number == 0, number == len(parts) - 1
        own = replace(
            options, name=f"{name}-{number}", preprocess=options.preprocess if first else {},
            labels=options.labels if last else (),
        )  # fmt: skip
        bundle = fitted(path, part, options, options.secure_memory, progress)
        quantization = {
            n: q for n, q in imported.quantization.items() if n in (*part.input_names, *part.output_names)
        }
        described = replace(part, quantization=quantization)
        found.append(_described(bundle, path, described, names if first else {}, own))
    return found


def model_structure(
    path: Path, options: CompileOptions, progress: Progress = no_progress, warn: Tell = lambda _: None
) -> Structure:
    """What the signer of the kernels of the model in `path` must know. Raises CompileError."""
    imported, _ = prepared_model(path, options, progress, warn)
    return Structure(options.target, options.secure_memory, imported)


def compile_structure(
    path: Path, key: SigningKey, tuning: Callable[[str], Tuning] | None = None, progress: Progress = no_progress
) -> bytes:
    """The signed kernel library for a structure in a file; `tuning` gives the schedules for a target.

    Raises CompileError.
    """
    structure = Structure.read(path)
    target = TARGETS.get(structure.target)
    if target is None or not target.has_tee:
        raise CompileError(f"{path} is for {structure.target}, which has no TEE that could take signed kernels")
    options = CompileOptions(
        structure.target, key, secure_memory=structure.secure_memory,
        tuning=tuning(structure.target) if tuning else None,
    )  # fmt: skip
    imported = structure.imported
    bundle = fitted(path, imported, options, options.secure_memory, progress)
    return bundle.libraries[0].tee


def prepared_model(
    path: Path, options: CompileOptions, progress: Progress, warn: Tell
) -> tuple[Imported, dict[str, str]]:
    """The simplified model of a file, and for each renamed tensor its name there. Raises CompileError."""
    progress("importing")
    imported, names = _renamed(import_file(path, options.inputs, warn, options.weights), options.rename, warn)
    with explained(f"{path.name} cannot be compiled"):
        progress("simplifying")
        return prepare(imported, TARGETS[options.target].tvm, train=options.train is not None), names


def layers_of(
    path: Path, inputs: Inputs = MappingProxyType({}), warn: Tell = lambda _: None, weights: str = ""
) -> list[SourceLayer]:
    """The layers of a model file, as `CompileOptions.tee` takes them; what else is given is as there.

    Raises CompileError.
    """
    imported = import_file(path, inputs, warn, weights)
    with explained(f"{path.name} cannot be compiled"):
        return find_layers(prepare(imported, TARGETS["host"].tvm))


def _check_world(options: CompileOptions) -> None:
    if options.everywhere:
        return
    if not TARGETS[options.target].has_tee:
        raise CompileError(f"the target {options.target} has no secure world to put layers into", "leave out --tee")
    if not options.signing_key:
        raise CompileError(
            "layers in the TEE need a signed kernel library",
            "give the key that the device's image was built with to --sign-key",
        )


def _warn_of_oracle(cut_model: CutModel, warn: Tell) -> None:
    if cut_model.is_oracle:
        warn(
            f"the result of {describe_range(cut_model.inside)} crosses to the normal world in the clear, where "
            "anybody may ask for it with inputs of their choice: 1,177 queries solved such a layer exactly "
            "(docs/partition.md). It helps to include the model's output in the range, and to limit outputs and "
            "runs with a grant (tzml grant --policy, --budget)"
        )


def _renamed(imported: Imported, rename: Mapping[str, str], warn: Tell) -> tuple[Imported, dict[str, str]]:
    """The model with names that a bundle can have, and for each that is new the one in the model file."""
    old = (*imported.input_names, *imported.output_names)
    unknown = sorted(set(rename).difference(old))
    if unknown:
        raise CompileError(f"no input or output has the name {unknown[0]!r}", f"there are {', '.join(old)}")
    asked = [rename.get(name, name) for name in old]
    new = bundle_names(asked)
    refused = next((o for o, n in zip(old, new, strict=True) if o in rename and asked.count(n) != 1), None)
    if refused is not None:
        raise CompileError(
            f"{refused!r} cannot be renamed to {rename[refused]!r}",
            "give a printable name that no other tensor has",
        )
    names = {n: o for n, o in zip(new, old, strict=True) if n != o}
    for name, original in ((n, o) for n, o in names.items() if o not in rename):
        why = "is another tensor's too" if old.count(original) > 1 else "is too long or cannot be shown"
        warn(f"the name {original[:60]!r} {why}: in the bundle it is {name[:60]!r}")
    by_old = {o: n for n, o in names.items()}
    return replace(
        imported,
        input_names=tuple(new[: len(imported.input_names)]),
        output_names=tuple(new[len(imported.input_names) :]),
        quantization={by_old.get(name, name): q for name, q in imported.quantization.items()},
    ), names


def fitted(path: Path, part: Imported, options: CompileOptions, budget: int | None, progress: Progress) -> Bundle:
    """A simplified model, or a part of one, within so many bytes of secure memory (None: any number).

    Raises CompileError.
    """
    if budget is None:
        return compile_within(path, part, options, NO_LIMITS, progress)[1]
    with explained(f"{path.name} cannot be compiled"):
        widest = widest_layer(part.module)
    return fit(lambda limits: compile_within(path, part, options, limits, progress), budget, widest)


def compile_within(
    path: Path,
    imported: Imported,
    options: CompileOptions,
    limits: Limits,
    progress: Progress,
) -> tuple[GraphProgram, Bundle]:
    """The program, with layers split and tiled that are above the limits, and its bundle without streaming."""
    progress("planning")
    with explained(f"{path.name} cannot be compiled"):
        graph = lower(imported, TARGETS[options.target].tvm, limits, options.tuning, progress)
    if not graph.calls:
        raise CompileError(f"{path}: nothing is left to compute once constants are folded")
    program = GraphProgram(_PROGRAM, graph)
    return program, _bundle([program], options, progress)


def compile_trained(
    path: Path,
    imported: Imported,
    options: CompileOptions,
    train: TrainOptions,
    progress: Progress = no_progress,
    warn: Tell = lambda _: None,
) -> Bundle:
    """The bundle of a model that can be trained, or of one whose last layers are, in the TEE (`options.tee`).

    Raises CompileError.
    """
    if options.tee is None:
        return compile_training(path, imported, options, train, progress)
    _check_world(options)
    trained = cut_trained(imported, options.tee, train, options.everywhere)
    if trained.outside:
        warn(
            f"{describe_range(trained.outside)} run outside of the TEE, and so are not trained: anybody may know "
            "their weights, and read what they compute"
        )
    before = (
        _bundle(_lowered(path, trained.programs_before, options, progress), options, progress)
        if trained.programs_before
        else None
    )

    def compile_secure(budget: int) -> Bundle:
        within = replace(options, secure_memory=budget)
        return compile_training(path, trained.secure, within, trained.options, progress, trained.examples)

    return join_trained(trained, before, compile_secure, options.secure_memory)


def compile_training(
    path: Path,
    imported: Imported,
    options: CompileOptions,
    train: TrainOptions,
    progress: Progress,
    examples: Sequence[str] = (EXAMPLES,),
) -> Bundle:
    """The bundle of a model all of whose layers can be trained, but for frozen ones.

    `examples` are the names of its inputs where they are for a micro-batch. Raises CompileError where it does not
    fit into secure memory.
    """
    programs = _lowered(path, training_programs(imported, train, examples), options, progress)
    bundle = with_noise(stream(_bundle(programs, options, progress), programs, options.secure_memory), train)
    if bundle.secure_memory > options.secure_memory:
        raise CompileError(
            f"the model takes {bundle.secure_memory:,} bytes of secure memory, not {options.secure_memory:,}: "
            f"{bundle.memory.arena_size:,} for activations of {train.micro_batch} examples, "
            f"{bundle.memory.state_size:,} for parameters, gradients and the optimizer's values",
            "give a smaller --micro-batch, --freeze layers, or give more to --secure-memory",
        )
    return bundle


def _lowered(
    path: Path, programs: Sequence[TrainingProgram], options: CompileOptions, progress: Progress
) -> list[GraphProgram]:
    """The programs with their kernels compiled. Raises CompileError."""
    target = TARGETS[options.target].tvm
    found = []
    for program in programs:
        progress(f"planning {program.name}")
        with explained(f"{path.name}, program {program.name}, cannot be compiled"):
            simplified = prepare(program.imported, target)
            graph = lower(simplified, target, tuning=options.tuning, progress=progress)
        found.append(GraphProgram(program.name, graph, program.role))
    return share_constants(found)


def with_noise(bundle: Bundle, train: TrainOptions) -> Bundle:
    """The bundle with the noise that `train` asks for, by what its notes say of the state."""
    if not train.noise:
        return bundle
    sums = [(offset, math.prod(shape)) for _, offset, shape, *dtype in json.loads(bundle.notes)["state"] if dtype]
    begin, end = sums[0][0], max(offset + 4 * count for offset, count in sums)
    noise = UpdateNoise(begin, (end - begin) // 4, round(train.noise * BOUND))
    (memory,) = bundle.memories
    return replace(bundle, memories=(replace(memory, noise=noise),))


def _bundle(programs: Sequence[GraphProgram], options: CompileOptions, progress: Progress) -> Bundle:
    """The bundle of some programs, with all weights resident."""
    target = TARGETS[options.target]
    progress("linking")
    libraries = build_libraries([program.graph for program in programs], target)
    kernels_tee = b""
    if options.signing_key and target.has_tee:
        kernels_tee = sign_library(libraries.tee, libraries.uuid, options.signing_key)
    elif options.kernels and target.has_tee:
        kernels_tee = options.kernels.header + libraries.tee  # compared once the model fits
    progress("packing")
    planned = plan_programs(programs, libraries.digest)
    notes = {p.name: _program_notes(p, layout) for p, layout in zip(programs, planned.layouts, strict=True)}
    kernels = [kernel.symbol for kernel in kernels_of(program.graph for program in programs)]
    return Bundle(
        target=target.processor,
        tensors=planned.tensors,
        programs=planned.programs,
        memories=(planned.memory,),
        libraries=(Library(kernels_tee, libraries.ree),),
        chunks=planned.chunks,
        pieces=planned.pieces,
        notes=_json(
            {"programs": {name: {"kernels": kernels, **about} for name, about in notes.items()}}
            | _state_notes(planned.layouts[0].state)
        ),
        code_memory=code_memory(libraries.tee) if target.has_tee else 0,
    )


def _model_id(name: str, options: CompileOptions) -> uuid.UUID:
    if options.model_id is not None:
        return options.model_id
    return derive_model_id(options.owner, name) if options.owner else NO_IDENTITY


def _described(
    bundle: Bundle, path: Path, imported: Imported, names: dict[str, str], options: CompileOptions
) -> Bundle:
    """The bundle with its identity, metadata and notes (docs/bundle.md). Nothing in it changes from run to run."""
    name = options.name or path.resolve().stem  # of a folder, too, as in `tzml compile .`
    name = name.encode(errors="surrogateescape").decode(errors="replace")  # a file's name may be no text
    metadata = Metadata(
        images=match_preprocessing(options.preprocess or default_preprocessing(path), bundle.inputs()),
        labels=match_labels(options.labels, bundle.outputs()),
        quantization=imported.quantization,
    )
    notes: dict[str, Any] = {
        "source": {"file": path.name, "sha256": source_digest(path)},
        "compiler": {package: version(package) for package in ("tzml", "apache-tvm")},
        **json.loads(bundle.notes),
    }
    return replace(
        bundle,
        metadata=_json({"name": name, **metadata.as_json()}),
        notes=_json(notes | ({"names": names} if names else {})),
        model_id=_model_id(name, options),
        model_version=options.model_version,
    )


def _program_notes(program: GraphProgram, layout: Layout) -> dict[str, Any]:
    """What the notes say of a program, beside the kernels of its library."""
    return {
        "calls": [call.note for call in program.graph.calls],
        "timing": list(program.graph.timing),
        "arena": [[b.lifetime.first, b.lifetime.last, b.start, b.size] for b in layout.blocks],
    }


def _state_notes(state: State) -> dict[str, Any]:
    """What the notes say of the state, for those who read it."""
    places = {buffer: place for buffer, place in state.places.items() if isinstance(buffer, StateBuffer)}
    found = [
        [b.name, place.offset, list(b.shape), *([] if b.dtype == "float32" else [b.dtype])]
        for b, place in places.items()
        if b.name
    ]
    return {"state": found} if found else {}


def _json(about: dict[str, Any]) -> bytes:
    return json.dumps(about, indent=1).encode()
