"""Rprop: only the signs of the gradient count; each number has a step that grows and shrinks."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from bptrace.formula.expr import ONE, ZERO, Expr, Function, choose
from bptrace.graph.node import Node
from bptrace.graph.op import Sample
from bptrace.ops.arithmetic import Multiply, random_array
from bptrace.ops.lazy import np
from bptrace.optimizers.base import NotNegative, OptimizerSpec, Update
from bptrace.optimizers.common import Sign
from bptrace.optimizers.equation import Equation
from bptrace.spec.base import Positive, refuse

if TYPE_CHECKING:
    from bptrace.graph.op import Array

Pair = Annotated[list[Positive], Field(min_length=2, max_length=2)]


class NextRate(Equation):
    """The step times η+ where the sign stayed, times η- where it turned, within its limits.

    Operands: the step, g, the g before, η-, η+, the smallest and the largest step.
    """

    name = "next_rate"

    def numbers(self, *arrays: Array) -> Array:
        rate, g, before, smaller, larger, least, most = arrays
        same = np.sign(g * before)
        return np.clip(rate * np.where(same > 0, larger, np.where(same < 0, smaller, 1.0)), least, most)

    def value(self, *operands: Expr) -> Expr:
        rate, g, before, smaller, larger, least, most = operands
        factor = choose(g * before, ">", ZERO, larger, choose(g * before, "<", ZERO, smaller, ONE))
        return Function("min", (Function("max", (rate * factor, least)), most))

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), ([0.1, 45.0, 0.3, 1e-6], [1.0, 2.0, 0.0, -1.0], [0.5, 1.0, 1.0, 1.0], 0.5, 1.2, 1e-6, 50.0))]


class Kept(Equation):
    """g, but 0 where its sign has turned; operands g, the g before."""

    name = "kept"

    def numbers(self, *arrays: Array) -> Array:
        g, before = arrays
        return np.where(g * before < 0, 0.0, g)

    def value(self, *operands: Expr) -> Expr:
        g, before = operands
        return choose(g * before, "<", ZERO, ZERO, g)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 4), random_array(rng, 4)))]


class Rprop(OptimizerSpec):
    """rate·η+ or rate·η- by the sign of g·(the g before), w - sign(g)·rate; where the sign turned g counts as 0."""

    type: Literal["rprop"]
    learning_rate: NotNegative = 0.01
    etas: Pair = Field(default_factory=lambda: [0.5, 1.2])
    step_sizes: Pair = Field(default_factory=lambda: [1e-6, 50.0])

    @model_validator(mode="after")
    def _fits(self) -> Rprop:
        if not self.etas[0] < 1 < self.etas[1]:
            raise refuse("the etas are a factor below 1 and one above", "[0.5, 1.2]", at=["etas"])
        if self.step_sizes[0] > self.step_sizes[1]:
            raise refuse("the step sizes are the smallest and the largest", "[1e-6, 50]", at=["step_sizes"])
        if self.schedule is not None:
            raise refuse("rprop sets its own rates", "no schedule", at=["schedule"], at_key=True)
        return self

    def equations(self, update: Update) -> Node:
        g = update.gradient
        before = update.state("g")
        step = update.state("rate", update.start_rate)
        smaller = update.setting("eta_minus", "η-", self.etas[0])
        larger = update.setting("eta_plus", "η+", self.etas[1])
        least = update.setting("step_min", "min", self.step_sizes[0])
        most = update.setting("step_max", "max", self.step_sizes[1])
        step_new = update.next_state(step, NextRate(), step, g, before, smaller, larger, least, most)
        kept = update.next_state(before, Kept(), g, before)
        return update.moved(Multiply(), update.named("sign", "sign", Sign(), kept), step_new)
