"""Child-Tuning: a mask that lets the gradient of only some weights, the child network, through.

Xu et al., Raise a Child in Large Language Model, 2021. The mask M is 0 or 1. `free`: each M is drawn
anew in every iteration, 1 with the probability p, and g becomes M·g/p, which is g on average. `task`:
M is 1 for the fraction p of all weights with the largest Fisher information F, which is worked out
once, before training, and g becomes M·g.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from bptrace.formula.expr import Expr, Function, Index, Terms, choose, number
from bptrace.graph.node import Node, Of, Own, Shape, Updated
from bptrace.graph.op import Op, Operand, Sample
from bptrace.ops.arithmetic import Multiply, random_array
from bptrace.ops.drawn import Drawn
from bptrace.ops.lazy import np
from bptrace.optimizers.common import Next
from bptrace.optimizers.equation import Equation
from bptrace.spec.base import Number, Strict, refuse

if TYPE_CHECKING:
    from bptrace.graph.op import Array
    from bptrace.optimizers.base import Updates

FISHER = "fisher"
"""The name of the state that holds the Fisher information of a parameter."""


class Mask(Strict):
    """Which weights are trained in an iteration, and how many of them."""

    child_tuning: Literal["free", "task"]
    p: Annotated[Number, Field(gt=0, le=1)]
    seed: Annotated[int, Field(ge=0, le=2**53)] | None = None

    @model_validator(mode="after")
    def _draws_something(self) -> Mask:
        if self.child_tuning == "task" and self.seed is not None:
            raise refuse("the mask of child_tuning: task is not drawn", "child_tuning: free", at=["seed"], at_key=True)
        return self

    @property
    def from_data(self) -> bool:
        """Whether the mask comes from the Fisher information of the data."""
        return self.child_tuning == "task"


class Below(Equation):
    """1 where a number is below a bound, else 0: of uniform numbers the share p. Operands u, p."""

    name = "below"

    def counts(self) -> bool:
        return True

    def numbers(self, *arrays: Array) -> Array:
        u, bound = arrays
        return np.asarray(u < bound, dtype=np.float64)

    def value(self, *operands: Expr) -> Expr:
        u, bound = operands
        return choose(u, "<", bound, 1, 0)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 2, 3, low=0, high=1), 0.3)), (cls(), ([0.25, 0.5, 0.75], 0.5))]


class Reaches(Equation):
    """1 where a number is at least a bound, else 0; operands F, bound."""

    name = "reaches"

    def counts(self) -> bool:
        return True

    def numbers(self, *arrays: Array) -> Array:
        information, bound = arrays
        return np.asarray(information >= bound, dtype=np.float64)

    def value(self, *operands: Expr) -> Expr:
        information, bound = operands
        return choose(information, ">=", bound, 1, 0)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 2, 3), 0.3)), (cls(), ([0.25, 0.5, 0.75], 0.5))]


class MaskedMean(Equation):
    """M·g/p: 0, or g made so much larger that it stays g on average; operands g, M, p."""

    name = "masked_mean"

    def numbers(self, *arrays: Array) -> Array:
        g, mask, share = arrays
        return np.asarray(mask * g / share)

    def value(self, *operands: Expr) -> Expr:
        g, mask, share = operands
        return mask * g / share

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 2, 2), [[0.0, 1.0], [1.0, 1.0]], 0.3))]


@dataclass(frozen=True)
class Largest(Op):
    """The `place`-th largest of all elements of all operands; the first is the largest."""

    name = "kth_largest"
    place: int = 1

    def shape(self, *shapes: Shape) -> Shape:
        return ()

    def compute(self, *arrays: Array) -> Array:
        every = np.concatenate([array.reshape(-1) for array in arrays])
        return np.asarray(np.partition(every, every.size - self.place)[every.size - self.place])

    def formula(self, at: Index, *operands: Operand) -> Expr:
        places = [(operand, index) for operand in operands for index in np.ndindex(operand.shape)]
        elements = Terms(len(places), lambda k: _named(operands) if isinstance(k, str) else _at(places[k]), "k")
        return Function("largest", (number(self.place), *elements))

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        w, b = random_array(rng, 2, 3), random_array(rng, 2)
        return [(cls(place), (w, b)) for place in (1, 3, 8)] + [(cls(2), ([1.0, 2.0, 2.0],))]


def _at(place: tuple[Operand, Index]) -> Expr:
    operand, index = place
    return operand[tuple(int(k) for k in index)]


def _named(operands: Sequence[Operand]) -> Expr:
    return operands[0][tuple("ijkl"[: len(operands[0].shape)])]


def trained_count(p: float, elements: int) -> int:
    """How many of `elements` weights are trained: those whose F reaches the (1-p)-quantile of all F.

    That is ⌊p·(n - 1)⌋ + 1, which is p·n where that is whole.
    """
    return int(Fraction(repr(p)) * (elements - 1)) + 1


def masked(updates: Updates, mask: Mask, parameter: Node, gradient: Node) -> Node:
    """The gradient as the mask lets it through."""
    by_id = updates.graph.by_id
    if f"mask.{parameter.id}" not in by_id:  # all masks stand before the first update
        for each in updates.masked_parameters():
            _add_mask(updates, mask, each)
    about = _about(parameter, "masked g", updates.spec.type)
    chosen = by_id[f"mask.{parameter.id}"]
    if mask.from_data:
        return updates.graph.add(f"masked.{parameter.id}", Multiply(), chosen, gradient, **about)
    return updates.graph.add(
        f"masked.{parameter.id}", MaskedMean(), gradient, chosen, updates.setting("mask.p", "p", mask.p), **about
    )


def _add_mask(updates: Updates, mask: Mask, parameter: Node) -> None:
    graph, id = updates.graph, f"mask.{parameter.id}"
    about = _about(parameter, "M", id)
    if mask.from_data:
        graph.add(id, Reaches(), fisher_information(updates, parameter), _threshold(updates, mask), **about)
        return
    seed = updates.seed if mask.seed is None else mask.seed
    drawn = Drawn(f"{seed}:{id}", parameter.shape)
    numbers = graph.add(f"drawn.{parameter.id}", drawn, _iteration(updates), **_about(parameter, "u", id))
    graph.add(id, Below(), numbers, updates.setting("mask.p", "p", mask.p), **about)


def _about(parameter: Node, symbol: str, block: str) -> dict[str, Any]:
    return {
        "phase": "update", "symbol": Of(symbol, parameter), "axes": parameter.axes, "layer": parameter.layer,
        "block": block,
    }  # fmt: skip


def fisher_information(updates: Updates, parameter: Node) -> Node:
    """The leaf of F, which a run fills before its first iteration; `fisher.h.W`."""
    leaf = updates.state(FISHER, parameter)
    if leaf not in updates.carry:
        leaf.symbol = Of("F", parameter)
        updates.graph.alias(f"fisher.{parameter.id}", leaf)
        updates.carry[leaf] = leaf
    return leaf


def _threshold(updates: Updates, mask: Mask) -> Node:
    found = updates.graph.by_id.get("mask.threshold")
    if found is not None:
        return found
    every = [fisher_information(updates, parameter) for parameter in updates.masked_parameters()]
    place = trained_count(mask.p, sum(node.size for node in every))
    return updates.graph.add(
        "mask.threshold", Largest(place), *every, phase="update", symbol=Own("F_p"), word="fisher_threshold"
    )


def _iteration(updates: Updates) -> Node:
    """The number of the iteration, which the masks of dropout may have brought in already."""
    id, graph = "setting.iteration", updates.graph
    if id in graph.by_id:
        return graph.by_id[id]
    leaf = graph.leaf(id, (), [1.0], phase="setting", symbol=Own("k"))
    following = graph.add(f"new.{id}", Next(), leaf, phase="update", symbol=Updated(leaf), inline=True)
    updates.carry[leaf] = following
    return leaf
