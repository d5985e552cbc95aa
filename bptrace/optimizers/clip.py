"""Clipping gradients: each number by itself, each parameter by its norm, or all by their common norm."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import model_validator

from bptrace.formula.expr import Expr, Function, Index, Sum, Terms, choose, sqrt
from bptrace.graph.node import Shape
from bptrace.graph.op import Op, Operand, Sample
from bptrace.ops.arithmetic import random_array
from bptrace.ops.lazy import np
from bptrace.ops.penalty import over_all
from bptrace.optimizers.equation import Equation
from bptrace.spec.base import Positive, Strict, refuse

if TYPE_CHECKING:
    from bptrace.graph.op import Array

WAYS = ("value", "norm", "global_norm")


class Clip(Strict):
    """One of `value`, `norm`, `global_norm`: the largest that is let through."""

    value: Positive | None = None
    norm: Positive | None = None
    global_norm: Positive | None = None
    kind: Literal["l2", "max"] = "l2"

    @model_validator(mode="after")
    def _one_way(self) -> Clip:
        given = [way for way in WAYS if getattr(self, way) is not None]
        if len(given) != 1:
            said = f"{' and '.join(given)} are given" if given else "nothing to clip by"
            raise refuse(said, f"one of {', '.join(WAYS)}", at=given[1:2], at_key=bool(given))
        if self.value is not None and "kind" in self.model_fields_set:
            raise refuse("clipping by value has no kind of norm", "norm or global_norm", at=["kind"], at_key=True)
        return self

    @property
    def limit(self) -> float:
        return self.value or self.norm or self.global_norm or 0.0


class ClippedValue(Equation):
    """min(max(g, -c), c); operands g, c."""

    name = "clipped_value"

    def numbers(self, *arrays: Array) -> Array:
        g, limit = arrays
        return np.clip(g, -limit, limit)

    def value(self, *operands: Expr) -> Expr:
        g, limit = operands
        return Function("min", (Function("max", (g, -limit)), limit))

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 2, 3), 0.75))]


class ClippedNorm(Equation):
    """g·c/norm where the norm is above c, else g; operands g, norm, c."""

    name = "clipped_norm"

    def numbers(self, *arrays: Array) -> Array:
        g, norm, limit = arrays
        return g * limit / norm if norm > limit else g.copy()

    def value(self, *operands: Expr) -> Expr:
        g, norm, limit = operands
        return choose(norm, ">", limit, g * limit / norm, g)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 2, 3), norm, 1.0)) for norm in (2.5, 0.5)]


@dataclass(frozen=True)
class Norm(Op):
    """√Σg², or max |g|, over all elements of all operands."""

    name = "norm"
    kind: Literal["l2", "max"] = "l2"

    def shape(self, *shapes: Shape) -> Shape:
        return ()

    def compute(self, *arrays: Array) -> Array:
        if self.kind == "max":
            return np.asarray(max(np.abs(array).max() for array in arrays))
        return np.asarray(np.sqrt(sum(np.square(array).sum() for array in arrays)))

    def formula(self, at: Index, *operands: Operand) -> Expr:
        if self.kind == "max":
            return _largest(operands)
        sums = tuple(over_all(g, lambda element: element**2) for g in operands)
        return sqrt(sums[0] if len(sums) == 1 else Sum(sums))

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        g, b = random_array(rng, 2, 3), random_array(rng, 2)
        return [(cls(kind), arrays) for kind in ("l2", "max") for arrays in ((g,), (g, b, 0.5))]


def _largest(operands: Sequence[Operand]) -> Expr:
    """max |g| over all elements."""
    magnitudes = [over_all(g, lambda element: Function("abs", (element,))) for g in operands]
    places = [(m.terms, k) for m in magnitudes if isinstance(m, Sum) for k in range(len(m.terms))]
    if len(places) == 1:
        return places[0][0][0]

    def at(k: Any) -> Expr:
        terms, place = places[0] if isinstance(k, str) else places[k]
        return terms.at(k) if isinstance(k, str) and isinstance(terms, Terms) else terms[place]

    return Function("max", Terms(len(places), at, "k"))
