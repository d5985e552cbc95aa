"""Adadelta: RMSProp whose rate is the size of the changes so far."""

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
from bptrace.optimizers.common import Average, Scaled
from bptrace.optimizers.equation import Equation

if TYPE_CHECKING:
    from bptrace.graph.op import Array


@dataclass(frozen=True)
class Rescaled(Equation):
    """√(u + ε)/√(s + ε)·g, or (√u + ε)/(√s + ε)·g with ε outside; operands g, u, s, ε."""

    name = "rescaled"
    inside: bool = True

    def numbers(self, *arrays: Array) -> Array:
        g, u, s, epsilon = arrays
        if self.inside:
            return np.asarray(np.sqrt(u + epsilon) / np.sqrt(s + epsilon) * g)
        return np.asarray((np.sqrt(u) + epsilon) / (np.sqrt(s) + epsilon) * g)

    def value(self, *operands: Expr) -> Expr:
        g, u, s, epsilon = operands
        if self.inside:
            return sqrt(u + epsilon) / sqrt(s + epsilon) * g
        return (sqrt(u) + epsilon) / (sqrt(s) + epsilon) * g

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        g, u, s = random_array(rng, 3), random_array(rng, 3, low=0.0), random_array(rng, 3, low=0.1)
        return [(cls(inside), (g, u, s, 1e-6)) for inside in (True, False)]


class Adadelta(OptimizerSpec):
    """s = ρ·s + (1-ρ)·g², Δ = √(u + ε)/√(s + ε)·g, u = ρ·u + (1-ρ)·Δ², w - η·Δ."""

    type: Literal["adadelta"]
    learning_rate: NotNegative = 1.0
    decay: Rate = 0.9
    initial_accumulator: NotNegative = 0.0
    epsilon: NotNegative = 1e-6
    epsilon_at: EpsilonAt = "inside"

    def equations(self, update: Update) -> Node:
        rate, g = update.rate, update.gradient
        decay, epsilon = update.setting("decay", "ρ", self.decay), update.setting("epsilon", "ε", self.epsilon)
        s, u = update.state("s", self.initial_accumulator), update.state("u")
        s_new = update.next_state(s, Average(squared=True), s, g, decay)
        change = update.named("change", "Δ", Rescaled(self.epsilon_at == "inside"), g, u, s_new, epsilon)
        update.next_state(u, Average(squared=True), u, change, decay)
        return update.moved(Scaled(), change, rate)
