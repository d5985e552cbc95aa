"""Adam and its kin: moments m and v of the gradient, freed of their start at 0."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from bptrace.formula.expr import Expr, Function
from bptrace.graph.node import Node
from bptrace.graph.op import Sample
from bptrace.ops.arithmetic import random_array
from bptrace.ops.lazy import np
from bptrace.optimizers.base import NotNegative, OptimizerSpec, Rate, Update
from bptrace.optimizers.common import Average, Corrected, OverRoot
from bptrace.optimizers.equation import Equation

if TYPE_CHECKING:
    from bptrace.graph.op import Array


class Larger(Equation):
    """max(a, b), element by element; AMSGrad keeps the largest v."""

    name = "largest"

    def numbers(self, *arrays: Array) -> Array:
        return np.maximum(*arrays)

    def value(self, *operands: Expr) -> Expr:
        return Function("max", operands)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 3), random_array(rng, 3)))]


class Shrunk(Equation):
    """w - η·λ·w: weight decay apart from the gradient; operands w, η, λ."""

    name = "shrunk"

    def numbers(self, *arrays: Array) -> Array:
        w, rate, decay = arrays
        return np.asarray(w - rate * decay * w)

    def value(self, *operands: Expr) -> Expr:
        w, rate, decay = operands
        return w - rate * decay * w

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 3), 0.1, 0.01))]


class Adam(OptimizerSpec):
    """m = β1·m + (1-β1)·g, v = β2·v + (1-β2)·g², m̂ = m/(1-β1^t), v̂ = v/(1-β2^t), w - η·m̂/(√v̂ + ε)."""

    type: Literal["adam", "amsgrad", "adamw"]
    learning_rate: NotNegative = 0.001
    beta1: Rate = 0.9
    beta2: Rate = 0.999
    epsilon: NotNegative = 1e-8
    epsilon_at: Literal["outside", "inside"] = "outside"
    bias_correction: bool = True
    first_step: int = 1

    def decays_gradient(self) -> bool:
        return self.type != "adamw"

    def equations(self, update: Update) -> Node:
        g, rate = update.gradient, update.rate
        beta1, beta2 = update.setting("beta1", "β1", self.beta1), update.setting("beta2", "β2", self.beta2)
        epsilon = update.setting("epsilon", "ε", self.epsilon)
        m, v = update.state("m"), update.state("v")
        m_new = update.next_state(m, Average(), m, g, beta1)
        v_new = update.next_state(v, Average(squared=True), v, g, beta2)
        if self.type == "amsgrad":
            largest = update.state("vmax")
            v_new = update.next_state(largest, Larger(), largest, v_new)
        if self.bias_correction:
            t = update.step_number(self.first_step)
            m_new = update.named("m_hat", "m̂", Corrected(), m_new, beta1, t)
            v_new = update.named("v_hat", "v̂", Corrected(), v_new, beta2, t)
        start = update.parameter
        if self.type == "adamw" and self.weight_decay:
            decay = update.setting("weight_decay", "λ", self.weight_decay)
            start = update.inline(Shrunk(), update.parameter, rate, decay)
        return update.moved(OverRoot(self.epsilon_at == "inside"), m_new, v_new, rate, epsilon, start=start)
