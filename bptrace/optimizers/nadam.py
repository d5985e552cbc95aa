"""NAdam: Adam with Nesterov's momentum, whose share grows by a schedule."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bptrace.formula.expr import ONE, Expr, number
from bptrace.graph.node import Node
from bptrace.graph.op import Sample
from bptrace.ops.arithmetic import Multiply, random_array
from bptrace.ops.lazy import np
from bptrace.optimizers.base import EpsilonAt, NotNegative, Update
from bptrace.optimizers.common import Corrected, OverRoot
from bptrace.optimizers.equation import Equation
from bptrace.optimizers.moments import Moments

if TYPE_CHECKING:
    from bptrace.graph.op import Array


@dataclass(frozen=True)
class Share(Equation):
    """β1·(1 - 0.5·0.96^(t·ψ)), of the next iteration with t + 1; operands β1, t, ψ."""

    name = "share"
    following: bool = False

    def numbers(self, *arrays: Array) -> Array:
        beta, t, decay = arrays
        return np.asarray(beta * (1.0 - 0.5 * np.power(0.96, (t + float(self.following)) * decay)))

    def value(self, *operands: Expr) -> Expr:
        beta, t, decay = operands
        when = t + ONE if self.following else t
        return beta * (ONE - number(0.5) * number(0.96) ** (when * decay))

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(following), (0.9, t, 0.004)) for following in (False, True) for t in (1.0, 9.0)]


class Foreseen(Equation):
    """μ'·m/(1 - Πμ·μ') + (1 - μ)·g/(1 - Πμ); operands m, g, μ, μ', Πμ."""

    name = "foreseen"

    def numbers(self, *arrays: Array) -> Array:
        m, g, share, following, product = arrays
        return np.asarray(following * m / (1.0 - product * following) + (1.0 - share) * g / (1.0 - product))

    def value(self, *operands: Expr) -> Expr:
        m, g, share, following, product = operands
        return following * m / (ONE - product * following) + (ONE - share) * g / (ONE - product)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 3), random_array(rng, 3), 0.45, 0.46, 0.2))]


class Nadam(Moments):
    """μ = β1·(1 - 0.5·0.96^(t·ψ)), m̂ = μ'·m/(1 - Πμ·μ') + (1 - μ)·g/(1 - Πμ), v̂ as Adam's, w - η·m̂/(√v̂ + ε)."""

    type: Literal["nadam"]
    learning_rate: NotNegative = 0.002
    momentum_decay: NotNegative = 0.004
    epsilon_at: EpsilonAt = "outside"

    def equations(self, update: Update) -> Node:
        rate, t = update.rate, update.step_number()
        beta1, beta2 = self.betas(update)
        epsilon = update.setting("epsilon", "ε", self.epsilon)
        decay = update.setting("momentum_decay", "ψ", self.momentum_decay)
        share = update.updates.shared("setting.mu", "μ", Share(), beta1, t, decay)
        following = update.updates.shared("setting.mu_next", "μ'", Share(following=True), beta1, t, decay)
        _, product = update.updates.product("mu_product", "Πμ", Multiply(), share)
        m, v = self.averages(update)
        m_hat = update.named("m_hat", "m̂", Foreseen(), m, update.gradient, share, following, product)
        v_hat = update.named("v_hat", "v̂", Corrected(), v, beta2, t)
        return update.moved(OverRoot(self.epsilon_at == "inside"), m_hat, v_hat, rate, epsilon)
