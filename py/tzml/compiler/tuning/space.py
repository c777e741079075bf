"""What may be tried for a kernel, as search spaces of TVM's MetaSchedule.

Shao et al., "Tensor Program Optimization with Probabilistic Programs", 2022. For a kernel that tzml has a
template of (convolution, matrix product) the choice is how large a tile stays in registers; any other
function is scheduled by MetaSchedule's own rules.
"""

from __future__ import annotations

from typing import Any

from tvm.s_tir import meta_schedule as ms
from tvm.s_tir.meta_schedule import mutator, postproc, schedule_rule

from tzml.compiler.codegen.kernels import ANCHOR, TILE, Isa, schedule


def space_of(function: Any, isa: Isa) -> Any | None:
    """The space generator for a function; None where there is no choice."""
    template = schedule(function, isa)
    tiles = list(template.tiles())
    if tiles:
        return ms.space_generator.ScheduleFn(_tiles(tiles), [], [], {mutator.MutateTileSize(): 1.0})
    return None if template.is_template else _rules(isa)


def _tiles(tiles: list[int]) -> Any:
    """A space of one choice: a tile, noted at the block that the template is for."""

    def choose(sch: Any) -> None:
        root = sch.get_sblock("root")
        [anchor] = [block for block in sch.get_child_blocks(root) if ANCHOR in sch.get(block).annotations]
        choice = sch.sample_categorical(tiles, [1 / len(tiles)] * len(tiles))
        sch.annotate(anchor, TILE, choice)

    return choose


def _rules(isa: Isa) -> Any:
    """MetaSchedule's rules for a CPU, for one thread and without what needs TVM's runtime."""
    inline = {
        "into_producer": False, "into_consumer": True, "inline_const_tensor": True, "disallow_if_then_else": False,
        "require_injective": False, "require_ordered": False, "disallow_op": [],
    }  # fmt: skip
    return ms.space_generator.PostOrderApply(
        sch_rules=[
            schedule_rule.AutoInline(**inline),
            schedule_rule.AddRFactor(max_jobs_per_core=1, max_innermost_factor=4 * isa.lanes),
            schedule_rule.ParallelizeVectorizeUnroll(
                max_jobs_per_core=-1,
                max_vectorize_extent=4 * isa.lanes,
                unroll_max_steps=[0, 4, 16, 64],
                unroll_explicit=True,
            ),
            schedule_rule.RandomComputeLocation(),
        ],
        postprocs=[
            postproc.DisallowDynamicLoop(),
            postproc.RewriteParallelVectorizeUnroll(),
            postproc.RewriteReductionBlock(),
        ],
        mutator_probs={
            mutator.MutateTileSize(): 0.4,
            mutator.MutateComputeLocation(): 0.3,
            mutator.MutateUnroll(): 0.3,
        },
    )
