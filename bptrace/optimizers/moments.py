"""What Adam and its kin share: the averages m of the gradient and v of its square."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from bptrace.formula.expr import ONE, Expr
from bptrace.graph.node import Node
from bptrace.graph.op import Sample
from bptrace.ops.lazy import np
from bptrace.optimizers.base import NotNegative, Rate, Stepped, Update
from bptrace.optimizers.common import Average, Corrected, CorrectedAtOnce
from bptrace.optimizers.equation import Equation
from bptrace.spec.base import Number

if TYPE_CHECKING:
    from bptrace.graph.op import Array

BiasCorrection = bool | Literal["constant"]


class DecayedBeta(Equation):
    """β1·d^(t - 1): a momentum that fades; operands β1, d, t."""

    name = "decayed_beta"

    def numbers(self, *arrays: Array) -> Array:
        beta, decay, t = arrays
        return np.asarray(beta * np.power(decay, t - 1.0))

    def value(self, *operands: Expr) -> Expr:
        beta, decay, t = operands
        return beta * decay ** (t - ONE)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (0.9, 0.99, t)) for t in (1.0, 5.0)]


class Moments(Stepped):
    """The fields of Adam's family, and its two averages."""

    learning_rate: NotNegative = 0.001
    beta1: Rate = 0.9
    beta2: Rate = 0.999
    epsilon: NotNegative = 1e-8

    def betas(self, update: Update) -> tuple[Node, Node]:
        return update.setting("beta1", "β1", self.beta1), update.setting("beta2", "β2", self.beta2)

    def averages(self, update: Update) -> tuple[Node, Node]:
        """The new m and v."""
        beta1, beta2 = self.betas(update)
        m, v = update.state("m"), update.state("v")
        fading, g = self.fading(update, beta1), update.gradient
        m_new = update.next_state(m, Average(), m, g, fading)
        return m_new, update.next_state(v, Average(squared=True), v, g, beta2)

    def fading(self, update: Update, beta1: Node) -> Node:
        """β1 of this iteration."""
        return beta1


class Correcting(Moments):
    """Adds `bias_correction` (1 - β^t, none, or 1 - β in every iteration) and `beta1_decay`."""

    bias_correction: BiasCorrection = True
    beta1_decay: Annotated[Number, Field(gt=0, le=1)] = 1.0

    def fading(self, update: Update, beta1: Node) -> Node:
        if self.beta1_decay == 1:
            return beta1
        decay = update.setting("beta1_decay", "d", self.beta1_decay)
        return update.updates.shared("setting.beta1", "β1_t", DecayedBeta(), beta1, decay, update.step_number())

    def corrected(self, update: Update, prefix: str, symbol: str, average: Node, beta: Node) -> Node:
        """An average freed of its start at 0, as `bias_correction` says."""
        if self.bias_correction is True:
            return update.named(prefix, symbol, Corrected(), average, beta, update.step_number())
        if self.bias_correction == "constant":
            return update.named(prefix, symbol, CorrectedAtOnce(), average, beta)
        return average
