"""Equations that several optimizers share."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bptrace.formula.expr import ONE, ZERO, Expr, Function, choose, sqrt
from bptrace.graph.op import Sample
from bptrace.ops.arithmetic import Pointwise, random_array
from bptrace.ops.lazy import np
from bptrace.optimizers.equation import Equation

if TYPE_CHECKING:
    from bptrace.graph.op import Array


class Next(Pointwise):
    """The next number: t + 1."""

    name = "next"

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(arrays[0] + 1.0)

    def value(self, *operands: Expr) -> Expr:
        return operands[0] + ONE

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (3.0,))]


class Decayed(Equation):
    """g + λ·w: weight decay as part of the gradient; operands g, λ, w."""

    name = "decayed"

    def numbers(self, *arrays: Array) -> Array:
        g, decay, w = arrays
        return np.asarray(g + decay * w)

    def value(self, *operands: Expr) -> Expr:
        g, decay, w = operands
        return g + decay * w

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 2, 2), 0.1, random_array(rng, 2, 2)))]


@dataclass(frozen=True)
class Average(Equation):
    """β·m + (1 - β)·g, the exponential average; squared: of g². Operands m, g, β."""

    name = "average"
    squared: bool = False

    def numbers(self, *arrays: Array) -> Array:
        m, g, beta = arrays
        return np.asarray(beta * m + (1.0 - beta) * (g * g if self.squared else g))

    def value(self, *operands: Expr) -> Expr:
        m, g, beta = operands
        return beta * m + (ONE - beta) * (g**2 if self.squared else g)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(squared), (random_array(rng, 3), random_array(rng, 3), 0.9)) for squared in (False, True)]


class Corrected(Equation):
    """m/(1 - β^t): an average freed of its start at 0; operands m, β, t."""

    name = "corrected"

    def numbers(self, *arrays: Array) -> Array:
        m, beta, t = arrays
        return np.asarray(m / (1.0 - beta**t))

    def value(self, *operands: Expr) -> Expr:
        m, beta, t = operands
        return m / (ONE - beta**t)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 3), 0.9, t)) for t in (1.0, 2.0, 50.0)]


class CorrectedAtOnce(Equation):
    """m/(1 - β): the correction of the first iteration, kept in all; operands m, β."""

    name = "corrected_at_once"

    def numbers(self, *arrays: Array) -> Array:
        m, beta = arrays
        return np.asarray(m / (1.0 - beta))

    def value(self, *operands: Expr) -> Expr:
        m, beta = operands
        return m / (ONE - beta)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 3), 0.9))]


class Grown(Equation):
    """s + g²: the sum of the squares so far; operands s, g."""

    name = "grown"

    def numbers(self, *arrays: Array) -> Array:
        s, g = arrays
        return np.asarray(s + g * g)

    def value(self, *operands: Expr) -> Expr:
        s, g = operands
        return s + g**2

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 3, low=0.0), random_array(rng, 3)))]


class Larger(Equation):
    """max(a, b), element by element."""

    name = "larger_of"

    def numbers(self, *arrays: Array) -> Array:
        return np.maximum(*arrays)

    def value(self, *operands: Expr) -> Expr:
        return Function("max", operands)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 3), random_array(rng, 3)))]


@dataclass(frozen=True)
class OverRoot(Equation):
    """η·m/(√v + ε), or η·m/√(v + ε) with ε inside; operands m, v, η, ε."""

    name = "rate_over_root"
    inside: bool = False

    def numbers(self, *arrays: Array) -> Array:
        m, v, rate, epsilon = arrays
        root = np.sqrt(v + epsilon) if self.inside else np.sqrt(v) + epsilon
        return np.asarray(rate * m / root)

    def value(self, *operands: Expr) -> Expr:
        m, v, rate, epsilon = operands
        return rate * m / (sqrt(v + epsilon) if self.inside else sqrt(v) + epsilon)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [
            (cls(inside), (random_array(rng, 3), random_array(rng, 3, low=0.1), 0.1, 1e-8)) for inside in (False, True)
        ]


class Scaled(Equation):
    """η·g; operands g, η."""

    name = "rate_times"

    def numbers(self, *arrays: Array) -> Array:
        return np.asarray(arrays[1] * arrays[0])

    def value(self, *operands: Expr) -> Expr:
        return operands[1] * operands[0]

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 3), 0.5))]


class Sign(Equation):
    """1, -1 or 0."""

    name = "sign"

    def numbers(self, *arrays: Array) -> Array:
        return np.sign(arrays[0])

    def value(self, *operands: Expr) -> Expr:
        (x,) = operands
        return choose(x, ">", ZERO, 1, choose(x, "<", ZERO, -1, 0))

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), ([0.5, -0.25, 0.0],))]
