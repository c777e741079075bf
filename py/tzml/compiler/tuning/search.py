"""The search: TVM's MetaSchedule proposes schedules, they are compiled here and measured by the caller."""

from __future__ import annotations

import json
import logging
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tvm
from tvm.ir.utils import derived_object
from tvm.s_tir import meta_schedule as ms

from tzml.compiler.codegen.build_kernel import build_kernel
from tzml.compiler.codegen.kernel_key import PREFIX
from tzml.compiler.codegen.kernels import isa_of, mark_tuned, schedule
from tzml.compiler.codegen.kernels.tir import dtype
from tzml.compiler.codegen.tuning_records import Tuning, TuningRecord, kernel_of
from tzml.compiler.compile import CompileOptions, compile_model
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.progress import Progress, no_progress
from tzml.compiler.ir.shapes import element_bytes
from tzml.compiler.ir.targets import TARGETS
from tzml.compiler.ir.tvm_internals import without_intrinsics
from tzml.compiler.tuning.space import space_of

_SEED = 1
_BATCH = 16
"""Schedules that are measured together."""
_WORTH = 0.005
"""A kernel with a smaller share of the whole is left as it is."""


@dataclass(frozen=True)
class Candidate:
    """A kernel to be measured: `int32_t symbol(void *, …)` of an object file, and the bytes behind each pointer."""

    symbol: str
    object_file: bytes
    sizes: tuple[int, ...]


Measure = Callable[[Sequence[Candidate]], list[float]]
"""What each takes, in one unit; infinity for one that does not end as it should."""


@dataclass(frozen=True)
class Tuned:
    """What is known of a kernel that is called `calls` times an inference."""

    record: TuningRecord
    calls: int


def tune_model(
    path: Path,
    options: CompileOptions,
    tuning: Tuning,
    measure: Measure,
    trials: int,
    progress: Progress = no_progress,
    save: Callable[[], None] = lambda: None,
) -> list[Tuned]:
    """Try `trials` schedules for each kernel of the model in `path`, but for those that had as many.

    What is found goes to `tuning`; `save` is called after each kernel. Raises CompileError.
    """
    untuned = Tuning(tuning.target, tuning.unit)
    bundle = compile_model(path, replace(options, tuning=untuned), progress)
    symbols = json.loads(bundle.notes)["programs"][bundle.program.name]["kernels"]
    calls = Counter(symbols[call.kernel] for call in bundle.program.calls)
    search = _Search(TARGETS[options.target].tvm, measure, trials, as_llvm=tuning.unit == "instructions")
    progress("measuring what there is")
    records = search.measure_ours({symbol: untuned.used[symbol] for symbol in calls})
    total = sum(record.ours * calls[symbol] for symbol, record in records.items())
    for number, (symbol, record) in enumerate(records.items()):
        progress(f"tuning {record.name}", number, len(records))
        key = kernel_of(untuned.used[symbol])
        known = tuning.records.get(key)
        if known and known.trials >= trials:
            records[symbol] = known
        elif record.ours * calls[symbol] >= _WORTH * total:
            records[symbol] = tuning.records[key] = search.run(record, untuned.used[symbol])
            save()
    return [Tuned(record, calls[symbol]) for symbol, record in records.items()]


class _Search:
    """Searches schedules for a processor.

    With `as_llvm`, what is compared are loops as LLVM wrote them: rewriting them for a core that starts
    instructions in order saves its cycles and adds instructions, whose number would choose what was not rewritten.
    """

    def __init__(self, processor: dict[str, str], measure: Measure, trials: int, *, as_llvm: bool) -> None:
        self.as_llvm = as_llvm
        self.target = tvm.target.Target(processor)
        self.target_of_search = tvm.target.Target({**processor, "num-cores": 1})  # MetaSchedule wants to know
        self.isa = isa_of(processor)
        self.measure, self.trials = measure, trials
        self.built: dict[str, Candidate] = {}

    def measure_ours(self, functions: Mapping[str, Any]) -> dict[str, TuningRecord]:
        """What functions, by symbol, take as they are compiled without tuning. Raises CompileError."""
        candidates = [self.build(function) for function in functions.values()]
        records = {}
        for symbol, ours in zip(functions, self.measure(candidates), strict=True):
            name = symbol.removeprefix(PREFIX).rpartition("_")[0]  # without the digest
            if math.isinf(ours):
                raise CompileError(f"{name} does not run as it is compiled without tuning", "this is a bug of tzml")
            records[symbol] = TuningRecord(name=name, ours=ours, best=ours, trials=0, trace=None)
        return records

    def run(self, untuned: TuningRecord, function: Any) -> TuningRecord:
        """The best schedule for a function."""
        record = untuned.model_copy(update={"trials": self.trials})
        space = space_of(function, self.isa)
        if space is None:
            return record
        found = min(self._propose(function, space), key=_cost, default=None)
        if found is not None and _cost(found) < record.ours:
            record.best, record.trace = _cost(found), _plain(found.trace.as_json())
        return record

    def _propose(self, function: Any, space: Any) -> Any:
        """The schedules that MetaSchedule tried, with what they took."""
        with tempfile.TemporaryDirectory() as folder, _quiet(), without_intrinsics():
            return ms.tir_integration.tune_tir(
                function.with_attr("global_symbol", "main"),
                self.target_of_search,
                folder,
                self.trials,
                num_trials_per_iter=min(self.trials, _BATCH),
                builder=self._builder(),
                runner=self._runner(),
                database=ms.database.MemoryDatabase(),
                cost_model="random",  # the others need packages much larger than tzml
                measure_callbacks=[ms.measure_callback.AddToDatabase()],
                space=space,
                strategy=_strategy(),
                num_tuning_cores=1,
                seed=_SEED,
            ).get_all_tuning_records()

    def build(self, function: Any) -> Candidate:
        """Compile a function under a name of its own."""
        with self.target:
            template = schedule(function, self.isa)
            emitted = template.emit()
        symbol = f"candidate_{len(self.built)}"
        kernel = build_kernel(emitted, symbol, template.target(self.target), as_llvm=self.as_llvm)
        sizes = [element_bytes(buffer.ty.shape, dtype(buffer)) for buffer in emitted.params]
        self.built[symbol] = Candidate(symbol, kernel.object_file, (*sizes, *kernel.scratch))
        return self.built[symbol]

    def _builder(self) -> Any:
        search = self

        @derived_object
        class Builder(ms.builder.PyBuilder):  # type: ignore[misc]
            def build(self, build_inputs: Sequence[Any]) -> list[Any]:
                return [search._try_build(given.mod) for given in build_inputs]

        return Builder()

    def _try_build(self, module: Any) -> Any:
        try:
            return ms.builder.BuilderResult(self.build(mark_tuned(module["main"])).symbol, None)
        except Exception as error:  # there are other schedules
            return ms.builder.BuilderResult(None, str(error))

    def _runner(self) -> Any:
        search = self

        @derived_object
        class Future(ms.runner.PyRunnerFuture):  # type: ignore[misc]
            def __init__(self, cost: float) -> None:
                self.cost = cost

            def done(self) -> bool:
                return True

            def result(self) -> Any:
                if math.isinf(self.cost):
                    return ms.runner.RunnerResult(None, "does not end as it should")
                return ms.runner.RunnerResult([self.cost], None)

        @derived_object
        class Runner(ms.runner.PyRunner):  # type: ignore[misc]
            def run(self, runner_inputs: Sequence[Any]) -> list[Any]:
                candidates = [search.built[str(given.artifact_path)] for given in runner_inputs]
                return [Future(cost) for cost in search.measure(candidates)]

        return Runner()


def _cost(record: Any) -> float:
    """What MetaSchedule has as seconds, whatever was measured."""
    return float(record.run_secs[0])


def _strategy() -> Any:
    """MetaSchedule's evolution, with a population for a search of minutes, not of hours."""
    return ms.search_strategy.EvolutionarySearch(
        population_size=64,
        init_measured_ratio=0.2,
        init_min_unmeasured=_BATCH,
        max_fail_count=2,
        genetic_num_iters=2,
    )


def _plain(value: Any) -> Any:
    """TVM's containers and numbers as Python's."""
    if isinstance(value, str | int | float | None):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, tvm.tirx.IntImm | tvm.tirx.FloatImm):
        return value.value
    return [_plain(item) for item in value]


@contextmanager
def _quiet() -> Iterator[None]:
    """MetaSchedule logs at length, and stumbles over handlers without a name that others gave its logger."""
    before, logger = logging.root.manager.disable, logging.getLogger(ms.__name__)
    handlers, logger.handlers = logger.handlers, []
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
        logger.handlers = handlers
