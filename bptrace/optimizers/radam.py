"""RAdam: Adam that divides by the root of v only once v is known well enough."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bptrace.formula.expr import ONE, ZERO, Expr, choose, number, sqrt
from bptrace.graph.node import Node
from bptrace.graph.op import Sample
from bptrace.ops.arithmetic import random_array
from bptrace.ops.lazy import np
from bptrace.optimizers.base import Update
from bptrace.optimizers.common import Corrected
from bptrace.optimizers.equation import Equation
from bptrace.optimizers.moments import Moments

if TYPE_CHECKING:
    from bptrace.graph.op import Array

ENOUGH = 5
"""The length ρ of the average from which on v is used."""


class FullLength(Equation):
    """2/(1 - β2) - 1; operand β2."""

    name = "full_length"

    def numbers(self, *arrays: Array) -> Array:
        return np.asarray(2.0 / (1.0 - arrays[0]) - 1.0)

    def value(self, *operands: Expr) -> Expr:
        return number(2) / (ONE - operands[0]) - ONE

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (beta,)) for beta in (0.999, 0.9)]


class Length(Equation):
    """ρ∞ - 2·t·β2^t/(1 - β2^t); operands ρ∞, β2, t."""

    name = "length"

    def numbers(self, *arrays: Array) -> Array:
        full, beta, t = arrays
        power = np.power(beta, t)
        return np.asarray(full - 2.0 * t * power / (1.0 - power))

    def value(self, *operands: Expr) -> Expr:
        full, beta, t = operands
        return full - number(2) * t * beta**t / (ONE - beta**t)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (19.0, 0.9, t)) for t in (1.0, 6.0, 40.0)]


class Rectification(Equation):
    """√((ρ - 4)·(ρ - 2)·ρ∞/((ρ∞ - 4)·(ρ∞ - 2)·ρ)) where ρ > 5, else 0; operands ρ, ρ∞."""

    name = "rectification"

    def numbers(self, *arrays: Array) -> Array:
        length, full = arrays
        if not length > ENOUGH:
            return np.asarray(0.0)
        return np.sqrt((length - 4.0) * (length - 2.0) * full / ((full - 4.0) * (full - 2.0) * length))

    def value(self, *operands: Expr) -> Expr:
        length, full = operands
        four, two = number(4), number(2)
        top = (length - four) * (length - two) * full
        return choose(length, ">", ENOUGH, sqrt(top / ((full - four) * (full - two) * length)), ZERO)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (length, 1999.0)) for length in (1.0, 5.5, 30.0)]


@dataclass(frozen=True)
class Rectified(Equation):
    """η·r·m̂/(√v̂ + ε) where r > 0, else η·m̂; operands m̂, v̂, η, r, ε."""

    name = "rectified"
    inside: bool = False

    def numbers(self, *arrays: Array) -> Array:
        m, v, rate, r, epsilon = arrays
        if not r > 0:
            return np.asarray(rate * m)
        return np.asarray(rate * r * m / (np.sqrt(v + epsilon) if self.inside else np.sqrt(v) + epsilon))

    def value(self, *operands: Expr) -> Expr:
        m, v, rate, r, epsilon = operands
        root = sqrt(v + epsilon) if self.inside else sqrt(v) + epsilon
        return choose(r, ">", ZERO, rate * r * m / root, rate * m)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        m, v = random_array(rng, 3), random_array(rng, 3, low=0.1)
        return [(cls(inside), (m, v, 0.1, r, 1e-8)) for inside in (False, True) for r in (0.0, 0.3)]


class RectifiedUncorrected(Equation):
    """η·r·m̂·√(1 - β2^t)/(√v + ε) where r > 0, else η·m̂; operands m̂, v, η, r, ε, β2, t."""

    name = "rectified_uncorrected"

    def numbers(self, *arrays: Array) -> Array:
        m, v, rate, r, epsilon, beta, t = arrays
        if not r > 0:
            return np.asarray(rate * m)
        return np.asarray(rate * r * m * np.sqrt(1.0 - np.power(beta, t)) / (np.sqrt(v) + epsilon))

    def value(self, *operands: Expr) -> Expr:
        m, v, rate, r, epsilon, beta, t = operands
        adapted = rate * r * m * sqrt(ONE - beta**t) / (sqrt(v) + epsilon)
        return choose(r, ">", ZERO, adapted, rate * m)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        m, v = random_array(rng, 3), random_array(rng, 3, low=0.1)
        return [(cls(), (m, v, 0.1, r, 1e-8, 0.999, 7.0)) for r in (0.0, 0.3)]


class Radam(Moments):
    """m̂ = m/(1-β1^t); with ρ > 5 η·r·m̂·√(1-β2^t)/(√v + ε) is subtracted, before that η·m̂."""

    type: Literal["radam"]
    epsilon_at: Literal["uncorrected", "outside", "inside"] = "uncorrected"

    def equations(self, update: Update) -> Node:
        rate, t, share = update.rate, update.step_number(), update.updates.shared
        beta1, beta2 = self.betas(update)
        epsilon = update.setting("epsilon", "ε", self.epsilon)
        full = share("setting.rho_inf", "ρ∞", FullLength(), beta2)
        length = share("setting.rho", "ρ", Length(), full, beta2, t)
        r = share("setting.rectification", "r", Rectification(), length, full)
        m, v = self.averages(update)
        m_hat = update.named("m_hat", "m̂", Corrected(), m, beta1, t)
        if self.epsilon_at == "uncorrected":
            return update.moved(RectifiedUncorrected(), m_hat, v, rate, r, epsilon, beta2, t)
        v_hat = update.named("v_hat", "v̂", Corrected(), v, beta2, t)
        return update.moved(Rectified(self.epsilon_at == "inside"), m_hat, v_hat, rate, r, epsilon)
