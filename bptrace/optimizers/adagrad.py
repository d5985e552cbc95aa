"""Adagrad: each number has its own rate, the smaller the more its gradients have added up to."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from bptrace.formula.expr import ONE, Expr
from bptrace.graph.node import Node
from bptrace.graph.op import Sample
from bptrace.ops.lazy import np
from bptrace.optimizers.base import EpsilonAt, NotNegative, OptimizerSpec, Update
from bptrace.optimizers.common import Grown, OverRoot
from bptrace.optimizers.equation import Equation

if TYPE_CHECKING:
    from bptrace.graph.op import Array


class DecayedRate(Equation):
    """η/(1 + (t - 1)·d); operands η, t, d."""

    name = "decayed_rate"

    def numbers(self, *arrays: Array) -> Array:
        rate, t, decay = arrays
        return np.asarray(rate / (1.0 + (t - 1.0) * decay))

    def value(self, *operands: Expr) -> Expr:
        rate, t, decay = operands
        return rate / (ONE + (t - ONE) * decay)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (0.1, t, 0.5)) for t in (1.0, 4.0)]


class Adagrad(OptimizerSpec):
    """s = s + g², w - η·g/(√s + ε)."""

    type: Literal["adagrad"]
    learning_rate: NotNegative = 0.01
    lr_decay: NotNegative = 0.0
    initial_accumulator: NotNegative = 0.0
    epsilon: NotNegative = 1e-10
    epsilon_at: EpsilonAt = "outside"

    def equations(self, update: Update) -> Node:
        rate = update.rate
        if self.lr_decay:
            decay = update.setting("lr_decay", "d", self.lr_decay)
            owner = rate.id.partition(".rates.")[2]
            id = f"setting.decayed_rate.{owner}" if owner else "setting.decayed_rate"
            rate = update.updates.shared(id, "η_t", DecayedRate(), rate, update.step_number(), decay)
        epsilon = update.setting("epsilon", "ε", self.epsilon)
        s = update.state("s", self.initial_accumulator)
        g = update.gradient
        s_new = update.next_state(s, Grown(), s, g)
        return update.moved(OverRoot(self.epsilon_at == "inside"), g, s_new, rate, epsilon)
