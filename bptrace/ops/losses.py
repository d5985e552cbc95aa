"""Losses: one term an output, with the derivative by the output.

Operands are always the target t and the output y. How the terms are added up (over outputs, over
samples) is not decided here.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

from bptrace.formula.expr import ONE, ZERO, Expr, Function, Index, choose, exp, ln, number, tanh
from bptrace.graph.node import Node
from bptrace.graph.op import Call, Emit, Operand, Read, Sample, Scratch, Term
from bptrace.ops.activations import logistic
from bptrace.ops.arithmetic import Pointwise, random_array, times
from bptrace.ops.lazy import np
from bptrace.ops.softmax import AlongAxis, _softmax

if TYPE_CHECKING:
    from bptrace.graph.op import Array

HALF = number(Fraction(1, 2))


@dataclass(frozen=True)
class LossTerm(Pointwise):
    """Base: a term of the loss for one output, and its derivative by that output."""

    labels: ClassVar[str] = "real"
    """What targets are: `real` numbers, `probability` (0 to 1) or `sign` (-1 or 1)."""

    def slope(self, t: Expr, y: Expr) -> Expr:
        raise NotImplementedError

    def slope_kernel(self, t: Array, y: Array) -> Array:
        raise NotImplementedError

    def bind_slope(self, out: Array, t: Array, y: Array, scratch: Scratch) -> Iterable[Call]:
        return [(_copy_slope, (self, t, y, out))]

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term | None:
        if k == 0:
            return None  # targets are given
        return times(cotangent, emit(LossSlope(self), *node.inputs))

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term | None:
        return None if k == 0 else times(tangent, emit(LossSlope(self), *node.inputs))

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        y = random_array(rng, 2, 3, low=0.05, high=0.95)
        match cls.labels:
            case "sign":
                t: object = [[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]]
                y = random_array(rng, 2, 3)
            case "probability":
                t = [[1.0, 0.0, 0.0], [0.25, 0.5, 0.25]]
            case _:
                t = random_array(rng, 2, 3)
        return [(cls(), (t, y))]


def _copy_slope(loss: LossTerm, t: Array, y: Array, out: Array) -> None:
    out[...] = loss.slope_kernel(t, y)


@dataclass(frozen=True)
class LossSlope(Pointwise):
    """The derivative of a loss term by its output."""

    name = "loss_slope"
    loss: LossTerm

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        return self.loss.bind_slope(out, arrays[0], arrays[1], scratch)

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(self.loss.slope_kernel(*arrays))

    def value(self, *operands: Expr) -> Expr:
        return self.loss.slope(*operands)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        found = [sample for loss in loss_terms() for sample in loss.samples(rng)]
        return [(cls(op), operands) for op, operands in found if isinstance(op, LossTerm)]


class HalfSquaredError(LossTerm):
    """1/2·(t - y)²"""

    name = "half_squared_error"

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        return [
            (np.subtract, (*arrays, out)),
            (np.multiply, (out, out, out)),
            (np.multiply, (out, np.array(0.5), out)),
        ]

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(0.5 * (arrays[0] - arrays[1]) ** 2)

    def value(self, *operands: Expr) -> Expr:
        t, y = operands
        return HALF * (t - y) ** 2

    def slope(self, t: Expr, y: Expr) -> Expr:
        return y - t

    def slope_kernel(self, t: Array, y: Array) -> Array:
        return np.asarray(y - t)

    def bind_slope(self, out: Array, t: Array, y: Array, scratch: Scratch) -> Iterable[Call]:
        return [(np.subtract, (y, t, out))]


class SquaredError(LossTerm):
    """(t - y)²"""

    name = "squared_error"

    def compute(self, *arrays: Array) -> Array:
        return np.asarray((arrays[0] - arrays[1]) ** 2)

    def value(self, *operands: Expr) -> Expr:
        t, y = operands
        return (t - y) ** 2

    def slope(self, t: Expr, y: Expr) -> Expr:
        return number(2) * (y - t)

    def slope_kernel(self, t: Array, y: Array) -> Array:
        return np.asarray(2.0 * (y - t))


class AbsoluteError(LossTerm):
    """|t - y|; the derivative where both are equal is 0."""

    name = "absolute_error"

    def compute(self, *arrays: Array) -> Array:
        return np.abs(arrays[0] - arrays[1])

    def value(self, *operands: Expr) -> Expr:
        t, y = operands
        return Function("abs", (t - y,))

    def slope(self, t: Expr, y: Expr) -> Expr:
        return choose(y, ">", t, 1, choose(y, "<", t, -1, 0))

    def slope_kernel(self, t: Array, y: Array) -> Array:
        return np.sign(y - t)


@dataclass(frozen=True)
class Huber(LossTerm):
    """1/2·(t - y)² up to the threshold d, then d·(|t - y| - d/2)."""

    name = "huber"
    threshold: float = 1.0

    def compute(self, *arrays: Array) -> Array:
        distance = np.abs(arrays[0] - arrays[1])
        d = self.threshold
        return np.where(distance <= d, 0.5 * distance**2, d * (distance - 0.5 * d))

    def value(self, *operands: Expr) -> Expr:
        t, y = operands
        d, distance = number(self.threshold), Function("abs", (t - y,))
        return choose(distance, "<=", d, HALF * (t - y) ** 2, d * (distance - HALF * d))

    def slope(self, t: Expr, y: Expr) -> Expr:
        d = number(self.threshold)
        far = choose(y, ">", t, d, -d)
        return choose(Function("abs", (t - y,)), "<=", d, y - t, far)

    def slope_kernel(self, t: Array, y: Array) -> Array:
        return np.clip(y - t, -self.threshold, self.threshold)


class LogCosh(LossTerm):
    """ln((exp(d) + exp(-d))/2), d = y - t."""

    name = "log_cosh"

    def compute(self, *arrays: Array) -> Array:
        d = np.abs(arrays[1] - arrays[0])
        return np.asarray(d + np.log1p(np.exp(-2.0 * d)) - np.log(2.0))

    def value(self, *operands: Expr) -> Expr:
        t, y = operands
        return ln((exp(y - t) + exp(-(y - t))) / number(2))

    def slope(self, t: Expr, y: Expr) -> Expr:
        return tanh(y - t)

    def slope_kernel(self, t: Array, y: Array) -> Array:
        return np.asarray(np.tanh(y - t))


class Hinge(LossTerm):
    """max(0, 1 - t·y), targets -1 or 1."""

    name = "hinge"
    labels = "sign"

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(np.maximum(0.0, 1.0 - arrays[0] * arrays[1]))

    def value(self, *operands: Expr) -> Expr:
        t, y = operands
        return Function("max", (ZERO, ONE - t * y))

    def slope(self, t: Expr, y: Expr) -> Expr:
        return choose(t * y, "<", ONE, -t, 0)

    def slope_kernel(self, t: Array, y: Array) -> Array:
        return np.where(t * y < 1.0, -t, 0.0)


class SquaredHinge(LossTerm):
    """max(0, 1 - t·y)², targets -1 or 1."""

    name = "squared_hinge"
    labels = "sign"

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(np.maximum(0.0, 1.0 - arrays[0] * arrays[1]) ** 2)

    def value(self, *operands: Expr) -> Expr:
        t, y = operands
        return Function("max", (ZERO, ONE - t * y)) ** 2

    def slope(self, t: Expr, y: Expr) -> Expr:
        return number(-2) * t * Function("max", (ZERO, ONE - t * y))

    def slope_kernel(self, t: Array, y: Array) -> Array:
        return np.asarray(-2.0 * t * np.maximum(0.0, 1.0 - t * y))


def times_ln(factor: Expr, argument: Expr) -> Expr:
    """factor·ln(argument), where 0·ln 0 is 0."""
    return Function("times_ln", (factor, argument))


def _times_ln(factor: Array, argument: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(factor == 0.0, 0.0, factor * np.log(argument))


def _bound_times_ln(factor: Array, argument: Array, out: Array) -> list[Call]:
    """The same without new arrays; 0·ln 0 is put to 0 after the product."""
    nothing, zero = np.empty(out.shape, dtype=bool), np.array(0.0)
    return [
        (np.equal, (factor, zero, nothing)),
        (np.log, (argument, out)),
        (np.multiply, (factor, out, out)),
        (np.copyto, (out, zero, "same_kind", nothing)),
    ]


class BinaryCrossEntropy(LossTerm):
    """-(t·ln y + (1 - t)·ln(1 - y))"""

    name = "binary_cross_entropy"
    labels = "probability"

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        t, y = arrays
        one, other, second = (scratch(out.shape) for _ in range(3))
        return [
            *_bound_times_ln(t, y, out),
            (np.subtract, (np.array(1.0), t, one)),
            (np.subtract, (np.array(1.0), y, other)),
            *_bound_times_ln(one, other, second),
            (np.add, (out, second, out)),
            (np.negative, (out, out)),
        ]

    def compute(self, *arrays: Array) -> Array:
        t, y = arrays
        return np.asarray(-(_times_ln(t, y) + _times_ln(1.0 - t, 1.0 - y)))

    def value(self, *operands: Expr) -> Expr:
        t, y = operands
        return -(times_ln(t, y) + times_ln(ONE - t, ONE - y))

    def slope(self, t: Expr, y: Expr) -> Expr:
        return (y - t) / (y * (ONE - y))

    def slope_kernel(self, t: Array, y: Array) -> Array:
        return np.asarray((y - t) / (y * (1.0 - y)))


class BinaryCrossEntropyWithLogits(LossTerm):
    """-(t·ln σ(z) + (1 - t)·ln(1 - σ(z))), written as max(z, 0) - z·t + ln(1 + exp(-|z|))."""

    name = "binary_cross_entropy_with_logits"
    labels = "probability"

    def compute(self, *arrays: Array) -> Array:
        t, z = arrays
        return np.asarray(np.maximum(z, 0.0) - z * t + np.log1p(np.exp(-np.abs(z))))

    def value(self, *operands: Expr) -> Expr:
        t, z = operands
        return Function("max", (z, ZERO)) - z * t + ln(ONE + exp(-Function("abs", (z,))))

    def slope(self, t: Expr, y: Expr) -> Expr:
        return logistic(y) - t

    def slope_kernel(self, t: Array, y: Array) -> Array:
        return np.asarray(1.0 / (1.0 + np.exp(-y)) - t)


class CrossEntropy(LossTerm):
    """-t·ln y, written (-t)·ln y so that a target of 0 leaves no sign."""

    name = "cross_entropy"
    labels = "probability"

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        t, y = arrays
        minus = scratch(t.shape)
        return [(np.negative, (t, minus)), *_bound_times_ln(minus, y, out)]

    def compute(self, *arrays: Array) -> Array:
        t, y = arrays
        return _times_ln(-t, y)

    def value(self, *operands: Expr) -> Expr:
        t, y = operands
        return times_ln(-t, y)

    def slope(self, t: Expr, y: Expr) -> Expr:
        return -t / y

    def slope_kernel(self, t: Array, y: Array) -> Array:
        return np.asarray(-t / y)


@dataclass(frozen=True)
class FusedDelta(AlongAxis):
    """What a cross-entropy passes back through softmax (or sigmoid) at once: y - t.

    It is y·Σt - t where the targets do not add up to 1. Operands are t and y, as of a loss term.
    """

    name = "fused_delta"
    whole: bool = True

    def compute(self, *arrays: Array) -> Array:
        t, y = arrays
        return np.asarray(y - t if self.whole else y * t.sum(axis=self.axis, keepdims=True) - t)

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        t, y = arrays
        return [(np.subtract, (y, t, out))] if self.whole else super().bind(out, *arrays, scratch=scratch)

    def formula(self, at: Index, *operands: Operand) -> Expr:
        t, y = operands
        if self.whole:
            return y[at] - t[at]
        return y[at] * self.along(t, at, lambda place: t[place]) - t[at]

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        t, y = random_array(rng, 2, 3), random_array(rng, 2, 3)
        return [(cls(), (t, y)), (cls(whole=False), (t, y))]


@dataclass(frozen=True)
class CrossEntropyWithLogits(AlongAxis):
    """-t[j]·(z[j] - ln Σ exp(z[k]))"""

    name = "cross_entropy_with_logits"
    labels: ClassVar[str] = "probability"

    def compute(self, *arrays: Array) -> Array:
        t, z = arrays
        moved = z - z.max(axis=self.axis, keepdims=True)
        return np.asarray(-t * (moved - np.log(np.exp(moved).sum(axis=self.axis, keepdims=True))))

    def formula(self, at: Index, *operands: Operand) -> Expr:
        t, z = operands
        return -(t[at] * (z[at] - ln(self.along(z, at, lambda place: exp(z[place])))))

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term | None:
        if k == 0:
            return None
        return CrossEntropyLogitsChain(self.axis, self.word), (cotangent, *node.inputs)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term | None:
        return None if k == 0 else (CrossEntropyLogitsTangent(self.axis, self.word), (tangent, *node.inputs))

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), ([[1.0, 0.0, 0.0], [0.25, 0.5, 0.25]], random_array(rng, 2, 3)))]


class CrossEntropyLogitsChain(AlongAxis):
    """softmax(z)[i]·Σ g[j]·t[j] - g[i]·t[i]; operands g, t, z."""

    name = "cross_entropy_logits_chain"

    def compute(self, *arrays: Array) -> Array:
        g, t, z = arrays
        return np.asarray(_softmax(z, self.axis) * (g * t).sum(axis=self.axis, keepdims=True) - g * t)

    def formula(self, at: Index, *operands: Operand) -> Expr:
        g, t, z = operands
        p = exp(z[at]) / self.along(z, at, lambda place: exp(z[place]))
        return p * self.along(t, at, lambda place: _product(g[place], t[place])) - _product(g[at], t[at])

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), tuple(random_array(rng, 2, 3) for _ in range(3)))]


class CrossEntropyLogitsTangent(AlongAxis):
    """-t[j]·(ż[j] - Σ softmax(z)[k]·ż[k]); operands ż, t, z."""

    name = "cross_entropy_logits_tangent"

    def compute(self, *arrays: Array) -> Array:
        tangent, t, z = arrays
        p = _softmax(z, self.axis)
        return np.asarray(-t * (tangent - (p * tangent).sum(axis=self.axis, keepdims=True)))

    def formula(self, at: Index, *operands: Operand) -> Expr:
        tangent, t, z = operands
        total = self.along(z, at, lambda place: exp(z[place]))
        mean = self.along(z, at, lambda place: exp(z[place]) / total * tangent[place])
        return -(t[at] * (tangent[at] - mean))

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), tuple(random_array(rng, 2, 3) for _ in range(3)))]


def _product(left: Expr, right: Expr) -> Expr:
    """left·right without a factor of 1."""
    return right if left == ONE else left * right


def loss_terms() -> list[type[LossTerm]]:
    """Every element-by-element loss, in order of name."""
    return sorted((loss for loss in LossTerm.__subclasses__() if loss.name), key=lambda loss: loss.name)
