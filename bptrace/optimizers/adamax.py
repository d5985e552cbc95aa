"""Adamax: Adam with the largest gradient so far, fading, in place of the root of v."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bptrace.formula.expr import Expr, Function
from bptrace.graph.node import Node
from bptrace.graph.op import Sample
from bptrace.ops.arithmetic import random_array
from bptrace.ops.lazy import np
from bptrace.optimizers.base import EpsilonAt, NotNegative, Update
from bptrace.optimizers.common import Average
from bptrace.optimizers.equation import Equation
from bptrace.optimizers.moments import Correcting

if TYPE_CHECKING:
    from bptrace.graph.op import Array


class Largest(Equation):
    """max(β·u, |g| + ε), or without ε; operands u, g, β, and ε."""

    name = "largest"

    def numbers(self, *arrays: Array) -> Array:
        u, g, beta, *epsilon = arrays
        return np.asarray(np.maximum(beta * u, np.abs(g) + epsilon[0] if epsilon else np.abs(g)))

    def value(self, *operands: Expr) -> Expr:
        u, g, beta, *epsilon = operands
        size: Expr = Function("abs", (g,))
        return Function("max", (beta * u, size + epsilon[0] if epsilon else size))

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        u, g = random_array(rng, 3, low=0.0), random_array(rng, 3)
        return [(cls(), (u, g, 0.999)), (cls(), (u, g, 0.999, 1e-8))]


@dataclass(frozen=True)
class OverLargest(Equation):
    """η·m/u, or with ε outside η·m/(u + ε); operands m, u, η, and ε."""

    name = "over_largest"

    def numbers(self, *arrays: Array) -> Array:
        m, u, rate, *epsilon = arrays
        return np.asarray(rate * m / (u + epsilon[0] if epsilon else u))

    def value(self, *operands: Expr) -> Expr:
        m, u, rate, *epsilon = operands
        return rate * m / (u + epsilon[0] if epsilon else u)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        m, u = random_array(rng, 3), random_array(rng, 3, low=0.1)
        return [(cls(), (m, u, 0.1)), (cls(), (m, u, 0.1, 1e-8))]


class Adamax(Correcting):
    """m = β1·m + (1-β1)·g, u = max(β2·u, |g| + ε), m̂ = m/(1-β1^t), w - η·m̂/u."""

    type: Literal["adamax"]
    learning_rate: NotNegative = 0.002
    epsilon_at: EpsilonAt = "inside"

    def equations(self, update: Update) -> Node:
        rate = update.rate
        beta1, beta2 = self.betas(update)
        epsilon = update.setting("epsilon", "ε", self.epsilon)
        m, u = update.state("m"), update.state("u")
        fading, g = self.fading(update, beta1), update.gradient
        m_new = update.next_state(m, Average(), m, g, fading)
        inside = self.epsilon_at == "inside"
        u_new = update.next_state(u, Largest(), u, g, beta2, *([epsilon] if inside else []))
        m_hat = self.corrected(update, "m_hat", "m̂", m_new, beta1)
        return update.moved(OverLargest(), m_hat, u_new, rate, *([] if inside else [epsilon]))
