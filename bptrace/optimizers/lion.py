"""Lion: every number moves by the same amount, in the direction of an average of the gradients."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from bptrace.formula.expr import Expr
from bptrace.graph.node import Node
from bptrace.graph.op import Sample
from bptrace.ops.arithmetic import random_array
from bptrace.ops.lazy import np
from bptrace.optimizers.base import NotNegative, OptimizerSpec, Rate, Update
from bptrace.optimizers.common import Average, Scaled, Sign
from bptrace.optimizers.equation import Equation

if TYPE_CHECKING:
    from bptrace.graph.op import Array


class DecayedStep(Equation):
    """η·(s + λ·w): a direction together with weight decay; operands s, η, w, λ."""

    name = "decayed_step"

    def numbers(self, *arrays: Array) -> Array:
        direction, rate, w, decay = arrays
        return np.asarray(rate * (direction + decay * w))

    def value(self, *operands: Expr) -> Expr:
        direction, rate, w, decay = operands
        return rate * (direction + decay * w)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), ([1.0, -1.0, 0.0], 0.1, random_array(rng, 3), 0.01))]


class Lion(OptimizerSpec):
    """c = β1·m + (1-β1)·g, w - η·(sign(c) + λ·w), m = β2·m + (1-β2)·g."""

    type: Literal["lion"]
    learning_rate: NotNegative = 0.0001
    beta1: Rate = 0.9
    beta2: Rate = 0.99

    def decays_gradient(self) -> bool:
        return False

    def equations(self, update: Update) -> Node:
        rate, m, g = update.rate, update.state("m"), update.gradient
        beta1, beta2 = update.setting("beta1", "β1", self.beta1), update.setting("beta2", "β2", self.beta2)
        mixed = update.named("mixed", "c", Average(), m, g, beta1)
        update.next_state(m, Average(), m, g, beta2)
        direction = update.named("sign", "sign", Sign(), mixed)
        if not self.weight_decay:
            return update.moved(Scaled(), direction, rate)
        decay = update.setting("weight_decay", "λ", self.weight_decay)
        return update.moved(DecayedStep(), direction, rate, update.parameter, decay)
