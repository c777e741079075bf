"""How a network is trained, as the first section of its .cfg says it: batches, optimizer, rate of each step."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from tzml.darknet.cfg import CfgSection, DarknetNetwork


@dataclass(frozen=True)
class DarknetTraining:
    """What a .cfg says of training.

    Attributes:
        batch: examples of a step
        subdivisions: micro-batches of a step
        steps: how many there are; 0 if the file does not say
        optimizer: "sgd" or "adam"
        momentum: of sgd
        decay: of the weights, as a part of the gradient
        rate: the learning rate of a step, which is given by its number from 1, as Darknet computes it
        gradient_factor: how often the gradient of the cross-entropy counts: a softmax and a cost layer behind it
            both add it, so that Darknet's steps are twice as large as the rate says

    """

    batch: int
    subdivisions: int
    steps: int
    optimizer: str
    momentum: float
    decay: float
    rate: Callable[[int], float]
    gradient_factor: int


def read_training(network: DarknetNetwork) -> DarknetTraining:
    """What the first section says. Raises TzmlError."""
    net = network.net
    adam = bool(net.integer("adam", 0))
    if adam and (net.real("B1", 0.9), net.real("B2", 0.999)) != (0.9, 0.999):
        raise net.wrong("B1 and B2 are not 0.9 and 0.999, which is what there is", "remove them")
    steps = net.integer("max_batches", 0)
    return DarknetTraining(
        net.integer("batch", 1, 1),
        net.integer("subdivisions", 1, 1),
        steps,
        "adam" if adam else "sgd",
        0.0 if adam else net.real("momentum", 0.9),
        net.real("decay", 0.0001),
        _rate(net, steps),
        _gradient_factor(network),
    )


def _gradient_factor(network: DarknetNetwork) -> int:
    kinds = [layer.kind for layer in network.layers]
    return 2 if kinds[-2:] == ["softmax", "cost"] and not network.layers[-2].integer("noloss", 0) else 1


def _rate(net: CfgSection, steps: int) -> Callable[[int], float]:
    """The learning rate by the number of the step, from 1."""
    base, burn_in, power = net.real("learning_rate", 0.001), net.integer("burn_in", 0), net.real("power", 4)
    policy = _policy(net, base, power, steps)

    def rate(step: int) -> float:
        return base * (step / burn_in) ** power if step < burn_in else policy(step)

    return rate


def _policy(net: CfgSection, base: float, power: float, steps: int) -> Callable[[int], float]:
    name = net.text("policy", "constant")
    if name == "constant":
        return lambda _: base
    if name == "step":
        every, scale = net.integer("step", 1, 1), net.real("scale", 1)
        return lambda step: base * scale ** (step // every)
    if name == "steps":
        return _of_steps(net, base)
    if name == "exp":
        gamma = net.real("gamma", 1)
        return lambda step: base * gamma**step
    if name == "sigmoid":
        gamma, middle = net.real("gamma", 1), net.integer("step", 1)
        return lambda step: base / (1 + math.exp(min(700.0, gamma * (step - middle))))
    if name == "poly":
        if not steps:
            raise net.wrong("the policy poly needs max_batches")
        return lambda step: base * max(0.0, 1 - step / steps) ** power
    if name == "random":
        generator = random.Random(0)  # noqa: S311 - of learning rates
        return lambda _: base * generator.random() ** power
    raise net.wrong(
        f"the policy {name} is not known", "there are constant, step, steps, exp, sigmoid, poly and random"
    )


def _of_steps(net: CfgSection, base: float) -> Callable[[int], float]:
    texts = [net.text(name, "").split(",") for name in ("steps", "scales")]
    try:
        at, scales = [int(text) for text in texts[0]], [float(text) for text in texts[1]]
    except ValueError as error:
        raise net.wrong("the policy steps needs steps and scales, numbers with commas between them") from error
    if len(at) != len(scales):
        raise net.wrong(f"there are {len(at)} steps and {len(scales)} scales")

    def rate(step: int) -> float:
        found = base
        for start, scale in zip(at, scales, strict=True):
            if start > step:
                break
            found *= scale
        return found

    return rate
