"""RMSProp: Adagrad with an average of the squares that forgets, centered, and with momentum."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bptrace.formula.expr import Expr, sqrt
from bptrace.graph.node import Node
from bptrace.graph.op import Sample
from bptrace.ops.arithmetic import random_array
from bptrace.ops.lazy import np
from bptrace.optimizers.base import EpsilonAt, NotNegative, OptimizerSpec, Rate, Update
from bptrace.optimizers.common import Average, OverRoot, Scaled
from bptrace.optimizers.equation import Equation

if TYPE_CHECKING:
    from bptrace.graph.op import Array


class Variance(Equation):
    """s - mean²: the average square about the mean; operands s, mean."""

    name = "variance"

    def numbers(self, *arrays: Array) -> Array:
        s, mean = arrays
        return np.asarray(s - mean * mean)

    def value(self, *operands: Expr) -> Expr:
        s, mean = operands
        return s - mean**2

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 3, low=4.0, high=6.0), random_array(rng, 3)))]


@dataclass(frozen=True)
class RootVelocity(Equation):
    """μ·v + g/(√s + ε), or with ε inside; operands v, g, s, μ, ε."""

    name = "root_velocity"
    inside: bool = False

    def numbers(self, *arrays: Array) -> Array:
        v, g, s, momentum, epsilon = arrays
        return np.asarray(momentum * v + g / (np.sqrt(s + epsilon) if self.inside else np.sqrt(s) + epsilon))

    def value(self, *operands: Expr) -> Expr:
        v, g, s, momentum, epsilon = operands
        return momentum * v + g / (sqrt(s + epsilon) if self.inside else sqrt(s) + epsilon)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        v, g, s = random_array(rng, 3), random_array(rng, 3), random_array(rng, 3, low=0.1)
        return [(cls(inside), (v, g, s, 0.9, 1e-8)) for inside in (False, True)]


class RmsProp(OptimizerSpec):
    """s = α·s + (1-α)·g², w - η·g/(√s + ε); centered: √(s - mean²); with momentum v = μ·v + g/(√s + ε), w - η·v."""

    type: Literal["rmsprop"]
    learning_rate: NotNegative = 0.01
    decay: Rate = 0.99
    centered: bool = False
    momentum: Rate = 0.0
    initial_accumulator: NotNegative = 0.0
    epsilon: NotNegative = 1e-8
    epsilon_at: EpsilonAt = "outside"

    def equations(self, update: Update) -> Node:
        rate, g = update.rate, update.gradient
        decay, epsilon = update.setting("decay", "α", self.decay), update.setting("epsilon", "ε", self.epsilon)
        s = update.state("s", self.initial_accumulator)
        square = update.next_state(s, Average(squared=True), s, g, decay)
        if self.centered:
            mean = update.state("mean")
            mean_new = update.next_state(mean, Average(), mean, g, decay)
            square = update.named("variance", "var", Variance(), square, mean_new)
        inside = self.epsilon_at == "inside"
        if not self.momentum:
            return update.moved(OverRoot(inside), g, square, rate, epsilon)
        momentum, v = update.setting("momentum", "μ", self.momentum), update.state("v")
        v_new = update.next_state(v, RootVelocity(inside), v, g, square, momentum, epsilon)
        return update.moved(Scaled(), v_new, rate)
