"""Stochastic gradient descent, plain and with momentum in its published forms."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from bptrace.formula.expr import ONE, Expr, Index, choose
from bptrace.graph.node import Node, Of, Shape
from bptrace.graph.op import Call, Emit, Op, Operand, Read, Sample, Scratch, Term
from bptrace.ops.arithmetic import Add, copy_of, random_array
from bptrace.ops.lazy import np
from bptrace.optimizers.base import NotNegative, OptimizerSpec, Rate, Update, Updates
from bptrace.optimizers.common import Average, Scaled
from bptrace.optimizers.equation import Equation
from bptrace.spec.base import refuse

if TYPE_CHECKING:
    from bptrace.graph.op import Array


@dataclass(frozen=True)
class Descent(Op):
    """w - η·g, or w + η·g where the output is maximised; operands w, η, g."""

    name = "descent"
    elementwise = True
    ascend: bool = False

    def shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        w, rate, g = arrays
        moved = scratch(out.shape)
        return [(np.multiply, (g, rate, moved)), (np.add if self.ascend else np.subtract, (w, moved, out))]

    def compute(self, *arrays: Array) -> Array:
        w, rate, g = arrays
        return np.asarray(w + rate * g if self.ascend else w - rate * g)

    def formula(self, at: Index, *operands: Operand) -> Expr:
        w, rate, g = operands
        moved = rate[()] * g[at]
        return w[at] + moved if self.ascend else w[at] - moved

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(up), (random_array(rng, 2, 2), 0.5, random_array(rng, 2, 2))) for up in (False, True)]


@dataclass(frozen=True)
class Velocity(Equation):
    """μ·v + (1 - τ)·g, but g itself in the first iteration; operands v, g, μ, τ, t.

    A velocity that the YAML gives (`begun`) without a step has had its first iteration; then there is no t.
    """

    name = "velocity"
    begun: bool = False

    def numbers(self, *arrays: Array) -> Array:
        v, g, momentum, dampening, *t = arrays
        later = momentum * v + (1.0 - dampening) * g
        return later if self.begun else np.where(t[0] == 1.0, g, later)

    def value(self, *operands: Expr) -> Expr:
        v, g, momentum, dampening, *t = operands
        later = momentum * v + (ONE - dampening) * g
        return later if self.begun else choose(t[0], "=", ONE, g, later)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        given = (random_array(rng, 3), random_array(rng, 3), 0.9, 0.5)
        return [(cls(True), given), *((cls(), (*given, t)) for t in (1.0, 2.0))]


class PlainVelocity(Equation):
    """μ·v + g; operands v, g, μ."""

    name = "plain_velocity"

    def numbers(self, *arrays: Array) -> Array:
        v, g, momentum = arrays
        return np.asarray(momentum * v + g)

    def value(self, *operands: Expr) -> Expr:
        v, g, momentum = operands
        return momentum * v + g

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 3), random_array(rng, 3), 0.9))]


class RateVelocity(Equation):
    """μ·v - η·g: the velocity holds the learning rate; operands v, g, μ, η."""

    name = "rate_velocity"

    def numbers(self, *arrays: Array) -> Array:
        v, g, momentum, rate = arrays
        return np.asarray(momentum * v - rate * g)

    def value(self, *operands: Expr) -> Expr:
        v, g, momentum, rate = operands
        return momentum * v - rate * g

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 3), random_array(rng, 3), 0.9, 0.1))]


@dataclass(frozen=True)
class Rewritten(Equation):
    """η·(g + μ·v), or η·g - μ·v where v holds the rate: Nesterov's step by the gradient at w.

    Operands g, v, μ, η; v is the new velocity.
    """

    name = "rewritten"
    rate_inside: bool = False

    def numbers(self, *arrays: Array) -> Array:
        g, v, momentum, rate = arrays
        return np.asarray(rate * g - momentum * v if self.rate_inside else rate * (g + momentum * v))

    def value(self, *operands: Expr) -> Expr:
        g, v, momentum, rate = operands
        return rate * g - momentum * v if self.rate_inside else rate * (g + momentum * v)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(inside), (random_array(rng, 3), random_array(rng, 3), 0.9, 0.1)) for inside in (False, True)]


@dataclass(frozen=True)
class Ahead(Equation):
    """w - η·μ·v, or w + μ·v where v holds the rate: where w will come by its momentum alone.

    Operands w, v, μ and, without `rate_inside`, η. A function of w with the derivative 1.
    """

    name = "ahead"
    rate_inside: bool = False

    def numbers(self, *arrays: Array) -> Array:
        w, v, momentum, *rate = arrays
        return np.asarray(w + momentum * v if self.rate_inside else w - rate[0] * momentum * v)

    def value(self, *operands: Expr) -> Expr:
        w, v, momentum, *rate = operands
        return w + momentum * v if self.rate_inside else w - rate[0] * momentum * v

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term | None:
        return copy_of(cotangent) if k == 0 else None

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term | None:
        return copy_of(tangent) if k == 0 else None

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        w, v = random_array(rng, 2, 2), random_array(rng, 2, 2)
        return [(cls(True), (w, v, 0.9)), (cls(), (w, v, 0.9, 0.1))]


class Sgd(OptimizerSpec):
    """w - η·g; with momentum a velocity v is kept, and w - η·v (three published forms)."""

    type: Literal["sgd", "momentum", "nesterov"]
    learning_rate: NotNegative = 0.001
    momentum: Rate = 0.0
    dampening: NotNegative = 0.0
    nesterov: bool | Literal["rewritten", "lookahead"] = False
    momentum_form: Literal["velocity", "learning_rate_inside", "average"] = "velocity"

    @model_validator(mode="before")
    @classmethod
    def _named_types(cls, value: object) -> object:
        if isinstance(value, dict) and value.get("type") == "momentum":
            return {"momentum": 0.9, **value}
        if isinstance(value, dict) and value.get("type") == "nesterov":
            return {"momentum": 0.9, "nesterov": "lookahead", **value}
        return value

    @model_validator(mode="after")
    def _fits(self) -> Sgd:
        key = "nesterov" if self.type != "nesterov" else "momentum"
        if self.nesterov and not self.momentum:
            raise refuse("nesterov needs a momentum", "momentum: 0.9", at=[key], at_key=True)
        if self.nesterov and self.dampening:
            raise refuse("nesterov has no dampening", at=["dampening"], at_key=True)
        if self.nesterov in (True, "rewritten") and self.momentum_form == "average":
            raise refuse("nesterov rewritten has no form average", "velocity", at=["momentum_form"])
        if self.dampening and self.momentum_form != "velocity":
            raise refuse(f"the form {self.momentum_form} has no dampening", "velocity", at=["momentum_form"])
        return self

    def looks_ahead(self, updates: Updates, parameter: Node) -> Node | None:
        if self.nesterov != "lookahead":
            return None
        v = updates.state("v", parameter)
        momentum = updates.setting("momentum", "μ", self.momentum)
        inside = self.momentum_form == "learning_rate_inside"
        operands = [parameter, v, momentum] if inside else [parameter, v, momentum, updates.rate(parameter)]
        return updates.graph.add(
            f"ahead.{parameter.id}", Ahead(inside), *operands,
            phase="forward", symbol=Of("ahead", parameter), axes=parameter.axes, layer=parameter.layer, quiet=True,
            word=parameter.word,
        )  # fmt: skip

    def equations(self, update: Update) -> Node:
        if not self.momentum:
            rate, ascend = update.rate, self.maximize and not self.weight_decay
            gradient = update.gradient.inputs[0] if ascend else update.gradient
            return update.new(Descent(ascend), update.parameter, rate, gradient)
        rate, v, g = update.rate, update.state("v"), update.gradient
        momentum = update.setting("momentum", "μ", self.momentum)
        inside = self.momentum_form == "learning_rate_inside"
        if inside:
            after = update.next_state(v, RateVelocity(), v, g, momentum, rate)
        elif self.momentum_form == "average":
            after = update.next_state(v, Average(), v, g, momentum)
        elif self.dampening:
            dampening = update.setting("dampening", "τ", self.dampening)
            begun = update.updates.begun("v", update.parameter) and "step" not in self.state
            t = [] if begun else [update.step_number()]
            after = update.next_state(v, Velocity(begun), v, g, momentum, dampening, *t)
        else:
            after = update.next_state(v, PlainVelocity(), v, g, momentum)
        if self.nesterov and self.nesterov != "lookahead":
            return update.moved(Rewritten(inside), g, after, momentum, rate)
        if inside:
            update.graph.alias(f"step.{update.parameter.id}", after)
            return update.new(Add(), update.parameter, after)
        return update.moved(Scaled(), after, rate)
