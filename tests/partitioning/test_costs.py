"""What a range costs follows from heads and tails, and the best ranges are those that no other one beats."""

from __future__ import annotations

import itertools
import json
import math
import random
from pathlib import Path

import pytest

from partitioning.chains import MACHINE, chain, random_chain
from tzml.errors import TzmlError
from tzml.partitioning.choose import choose, cost_of, pareto_front, thinned
from tzml.partitioning.costs import RangeCost, RangeCosts
from tzml.partitioning.measure import even_cuts
from tzml.partitioning.profile import Profile, read_machine_costs, read_profile
from tzml.partitioning.stages import best_stages

MANY = 64 << 20


def exposed(found: RangeCost) -> float:
    return 1 - found.weights_inside


def test_heads_and_tails_give_the_cost_of_what_is_between_two_cuts() -> None:
    profile = chain([10e6, 20e6, 30e6, 40e6], [0, 100.0, 200.0, 300.0], [4, 8, 16, 32], [5, 6, 7, 8, 9], [50] * 4)
    found = RangeCosts(profile, MANY).cost(range(1, 3))
    assert found is not None
    assert (found.before, found.behind) == (10e6 + 100 + MACHINE.run, 40e6 + 300 + MACHINE.run)
    assert found.tee == pytest.approx(1.5 * (50e6 + 100 + 300) + MACHINE.switch + MACHINE.transfer * (6 + 8))
    assert found.latency == found.before + found.tee + found.behind
    assert found.bottleneck == max(found.tee, found.before + found.behind)
    assert (found.passed, found.streamed, found.weights_inside) == (14, 0, 24 / 60)
    whole = RangeCosts(profile, MANY).cost(range(4))
    assert whole is not None
    assert (whole.before, whole.behind, whole.passed) == (0, 0, 5 + 9)
    assert whole.tee == pytest.approx(1.5 * 100e6 + MACHINE.switch + MACHINE.transfer * 14)


def test_what_skips_the_range_does_not_enter_it_and_what_leaves_it_is_an_oracle() -> None:
    profile = chain([1.0] * 4, [0.0] * 5, [1] * 4, [5, 6, 7, 8, 9], [50] * 4, skips=((0, 3), (1, 3), (0, 2)))
    costs = RangeCosts(profile, MANY)
    passed = {(i, j): costs.cost(range(i, j)).passed for i, j in ((1, 3), (0, 1), (1, 2), (2, 4))}  # type: ignore[union-attr]
    assert passed == {(1, 3): 6 + 100 + 8 + 100, (0, 1): 5 + 6 + 200, (1, 2): 6 + 7 + 100, (2, 4): 7 + 300 + 9}
    given = {(i, j): costs.cost(range(i, j)).gives_output for i, j in itertools.combinations(range(5), 2)}  # type: ignore[union-attr]
    assert [ends for ends, output in given.items() if output] == [(0, 4), (1, 4), (2, 4), (3, 4)]


def test_of_a_profile_with_some_cuts_only_the_ranges_between_them_are_weighed() -> None:
    whole = random_chain(1)
    some = [3, 5]
    parts = {
        side: [part if i in some else None for i, part in enumerate(getattr(whole, side), 1)]
        for side in ("heads", "tails")
    }
    costs = RangeCosts(whole.model_copy(update=parts), MANY)
    found = {(c.inside.start, c.inside.stop): c for c in costs.all_ranges()}
    assert set(found) == set(itertools.combinations([0, *some, 7], 2))
    assert list(found.values()) == [RangeCosts(whole, MANY).cost(c.inside) for c in found.values()]
    assert [even_cuts(8, 3), even_cuts(4, 9)] == [[2, 4, 6], [1, 2, 3]]


def test_weights_that_do_not_fit_are_streamed_and_activations_that_do_not_fit_are_refused() -> None:
    profile = chain([1.0] * 3, [0.0] * 4, [2 << 20] * 3, [8] * 4, [1 << 20] * 3)
    free = RangeCosts(profile, 8 << 20).cost(range(3))
    tight = RangeCosts(profile, 5 << 20).cost(range(3))
    assert free is not None
    assert tight is not None
    assert free.streamed == 0
    room = (5 << 20) - 300_000 - (96 << 10) - (1 << 20)
    assert tight.streamed == (6 << 20) - (room - (2 << 20))
    assert tight.tee - free.tee == pytest.approx(MACHINE.load * tight.streamed)
    assert tight.memory == 5 << 20
    assert RangeCosts(profile, 1 << 20).cost(range(3)) is None


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_what_no_other_range_beats(seed: int) -> None:
    every = RangeCosts(random_chain(seed), MANY).all_ranges()
    for objective in ("latency", "throughput"):
        cost = cost_of(objective)
        front = pareto_front(every, cost, exposed)
        beaten = [
            a
            for a in every
            if any(
                (cost(b) <= cost(a) and exposed(b) < exposed(a)) or (cost(b) < cost(a) and exposed(b) <= exposed(a))
                for b in every
            )
        ]
        assert {c.inside for c in front} == {c.inside for c in every} - {c.inside for c in beaten}
        chosen = choose(front, objective, exposed, at_most=0.5, limit=math.inf)
        assert cost(chosen) == min(cost(c) for c in every if exposed(c) <= 0.5)
    limit = sorted(c.latency for c in every)[len(every) // 2]
    tight = choose(pareto_front(every, cost_of("privacy"), exposed), "privacy", exposed, at_most=0, limit=limit)
    assert exposed(tight) == min(exposed(c) for c in every if c.latency <= limit)


def test_when_nothing_is_good_enough_the_error_says_what_to_give() -> None:
    every = RangeCosts(random_chain(0), MANY).all_ranges()
    front = pareto_front(every, cost_of("latency"), exposed)
    with pytest.raises(TzmlError, match="give more to --secure-memory"):
        choose(front[:1], "latency", exposed, at_most=-1, limit=0)
    with pytest.raises(TzmlError, match="give more to --slowdown"):
        choose(front, "privacy", exposed, at_most=0, limit=0)


def test_a_thinned_front_keeps_its_ends_and_the_chosen_one() -> None:
    front = pareto_front(RangeCosts(random_chain(3, 12), MANY).all_ranges(), cost_of("latency"), exposed)
    assert len(front) > 5
    for keep in front:
        found = thinned(front, 4, keep)
        assert len(found) == 4
        assert keep in found
        assert found == sorted(found, key=front.index)
    assert thinned(front, 1, front[2]) == [front[2]]
    assert thinned(front, 100, front[2]) == front


def every_cut(table: dict[tuple[int, int], float], n: int, most: int) -> list[list[float]]:
    """The costs of the stages, for each way to cut n layers into at most so many."""
    cuts = [c for k in range(most) for c in itertools.combinations(range(1, n), k)]
    return [[table[ends] for ends in itertools.pairwise((0, *c, n))] for c in cuts]


@pytest.mark.parametrize("slowest", [False, True], ids=["sum", "slowest"])
def test_several_tees_are_as_good_as_every_choice_of_cuts_allows(slowest: bool) -> None:
    rng, total = random.Random(slowest), max if slowest else sum
    refused = 0
    for _ in range(200):
        n, most = rng.randint(1, 8), rng.randint(1, 4)
        pairs = list(itertools.combinations(range(n + 1), 2))
        table = {ends: rng.choice([rng.random(), rng.random(), math.inf]) * (ends[1] - ends[0]) for ends in pairs}
        brute = min(total(stages) for stages in every_cut(table, n, most))

        def cost(i: int, j: int, table: dict[tuple[int, int], float] = table) -> float:
            return table[i, j]

        if math.isinf(brute):
            refused += 1
            with pytest.raises(TzmlError, match="do not fit"):
                best_stages(n, most, cost, slowest=slowest)
            continue
        best = best_stages(n, most, cost, slowest=slowest)
        assert best.cost == pytest.approx(brute)
        assert total(table[r.start, r.stop] for r in best.ranges) == pytest.approx(brute)
        assert [i for r in best.ranges for i in r] == list(range(n))
        assert len(best.ranges) <= most
    assert 0 < refused < 150


def test_a_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    profile = random_chain(1)
    profile.write(tmp_path / "p.json")
    MACHINE.write(tmp_path / "m.json")
    assert read_profile(tmp_path / "p.json") == profile
    assert read_machine_costs(tmp_path / "m.json") == MACHINE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": []}, "7 layers have 6 heads and tails, not 0 and 6"),
        ({"values": [{"size": 4, "source": 9, "users": [1], "is_output": False}]}, "a layer that does not exist"),
        ({"unit": "seconds"}, "the machine's costs are in instructions, the layers' in seconds"),
        ({"whole": {"ree": -1, "tee": 1, "arena": 1, "weights": 1}}, "whole.ree: Input should be greater than"),
        ({"more": 1}, "more: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_profile_is_refused_with_the_field(change: dict[str, object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps(random_chain(1).model_dump() | change))
    with pytest.raises(TzmlError, match=r"p\.json is not a profile: .*; make it with tzml profile") as caught:
        read_profile(path)
    assert message in str(caught.value)
    path.write_text("{")
    with pytest.raises(TzmlError, match=r"p\.json is not a profile: Invalid JSON"):
        read_profile(path)


def test_without_the_costs_of_the_machine_nothing_is_predicted() -> None:
    profile: Profile = random_chain(1).model_copy(update={"machine": None})
    with pytest.raises(TzmlError, match="tzml profile --machine"):
        RangeCosts(profile, MANY)
