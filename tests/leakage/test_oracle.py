"""A layer of products is solved by asking it, whatever its biases are, and nothing else counts as solved."""

from __future__ import annotations

import numpy as np
import pytest

from tzml.leakage.oracle import Array, Ask, solve


def layer(seed: int, bias: float, *, rectified: bool) -> tuple[Array, Array, Ask]:
    random = np.random.default_rng(seed)
    weights = random.standard_normal((7, 11)).astype(np.float32)
    offsets = (random.standard_normal(7) * bias).astype(np.float32)

    def ask(x: Array) -> Array:
        found: Array = weights @ x.astype(np.float32) + offsets
        return np.maximum(found, 0) if rectified else found

    return weights, offsets, ask


@pytest.mark.parametrize("rectified", [True, False], ids=["relu", "linear"])
@pytest.mark.parametrize("bias", [0, 0.1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_a_layer_is_solved(seed: int, bias: float, rectified: bool) -> None:
    weights, offsets, ask = layer(seed, bias, rectified=rectified)
    found = solve(ask, 11)
    assert found is not None
    assert found.rectified == rectified
    np.testing.assert_allclose(found.weights, weights, atol=2e-3)
    np.testing.assert_allclose(found.bias, offsets, atol=5e-3)
    assert found.queries <= 4 * 11 + 1


def test_two_layers_and_other_functions_are_not_taken_for_one() -> None:
    _, _, first = layer(0, 0.5, rectified=True)
    weights = np.random.default_rng(1).standard_normal((5, 7))
    for ask in (
        lambda x: np.maximum(weights @ first(x) - 3, 0),
        lambda x: np.tanh(x[:5]),
        lambda x: np.maximum(x[:5], x[5:10]),
        lambda x: x[:5] ** 2,
    ):
        assert solve(ask, 11) is None


def test_too_many_inputs_are_not_tried() -> None:
    def ask(x: Array) -> Array:
        raise AssertionError("asked")

    assert solve(ask, 1 << 20) is None
