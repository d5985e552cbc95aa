"""Adam, AMSGrad and AdamW: moments m and v of the gradient, freed of their start at 0."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from bptrace.formula.expr import ONE, Expr, sqrt
from bptrace.graph.node import Node
from bptrace.graph.op import Sample
from bptrace.ops.arithmetic import random_array
from bptrace.ops.lazy import np
from bptrace.optimizers.base import Update
from bptrace.optimizers.common import Larger, OverRoot
from bptrace.optimizers.equation import Equation
from bptrace.optimizers.moments import Correcting

if TYPE_CHECKING:
    from bptrace.graph.op import Array


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


@dataclass(frozen=True)
class Uncorrected(Equation):
    """η·√(1 - β2^t)/(1 - β1^t)·m/(√v + ε), both averages as they are; operands m, v, η, β1, β2, ε, t.

    At once: with 1 - β instead of 1 - β^t, and no t.
    """

    name = "uncorrected"
    at_once: bool = False

    def numbers(self, *arrays: Array) -> Array:
        m, v, rate, beta1, beta2, epsilon, *t = arrays
        power = 1.0 if self.at_once else t[0]
        size = rate * np.sqrt(1.0 - beta2**power) / (1.0 - beta1**power)
        return np.asarray(size * m / (np.sqrt(v) + epsilon))

    def value(self, *operands: Expr) -> Expr:
        m, v, rate, beta1, beta2, epsilon, *t = operands
        if not self.at_once:
            beta1, beta2 = beta1 ** t[0], beta2 ** t[0]
        return rate * sqrt(ONE - beta2) / (ONE - beta1) * m / (sqrt(v) + epsilon)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        given = (random_array(rng, 3), random_array(rng, 3, low=0.1), 0.1, 0.9, 0.999, 1e-8)
        return [(cls(True), given), *((cls(), (*given, t)) for t in (1.0, 7.0))]


class Adam(Correcting):
    """m = β1·m + (1-β1)·g, v = β2·v + (1-β2)·g², m̂ = m/(1-β1^t), v̂ = v/(1-β2^t), w - η·m̂/(√v̂ + ε)."""

    type: Literal["adam", "amsgrad", "adamw"]
    epsilon_at: Literal["outside", "inside", "uncorrected"] = "outside"

    @model_validator(mode="before")
    @classmethod
    def _decay(cls, value: object) -> object:
        if isinstance(value, dict) and value.get("type") == "adamw":
            return {"weight_decay": 0.01, **value}
        return value

    def decays_gradient(self) -> bool:
        return self.type != "adamw"

    def equations(self, update: Update) -> Node:
        rate = update.rate
        beta1, beta2 = self.betas(update)
        epsilon = update.setting("epsilon", "ε", self.epsilon)
        m, v = self.averages(update)
        if self.type == "amsgrad":
            largest = update.state("vmax")
            v = update.next_state(largest, Larger(), largest, v)
        start = update.parameter
        if self.type == "adamw" and self.weight_decay:
            decay = update.setting("weight_decay", "λ", self.weight_decay)
            start = update.inline(Shrunk(), update.parameter, rate, decay)
        if self.epsilon_at == "uncorrected" and self.bias_correction:
            t = [update.step_number()] if self.bias_correction is True else []
            return update.moved(Uncorrected(not t), m, v, rate, beta1, beta2, epsilon, *t, start=start)
        m = self.corrected(update, "m_hat", "m̂", m, beta1)
        v = self.corrected(update, "v_hat", "v̂", v, beta2)
        return update.moved(OverRoot(self.epsilon_at == "inside"), m, v, rate, epsilon, start=start)
