"""Stochastic gradient descent, plain and with momentum in its published forms."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from bptrace.formula.expr import ONE, Expr, Index, choose
from bptrace.graph.node import Node, Shape
from bptrace.graph.op import Call, Op, Operand, Sample, Scratch
from bptrace.ops.arithmetic import Add, random_array
from bptrace.ops.lazy import np
from bptrace.optimizers.base import NotNegative, OptimizerSpec, Rate, Update
from bptrace.optimizers.common import Scaled
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
        moved = scratch(w.shape)
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


class Velocity(Equation):
    """μ·v + (1 - τ)·g, but g itself in the first iteration; operands v, g, μ, τ, t."""

    name = "velocity"

    def numbers(self, *arrays: Array) -> Array:
        v, g, momentum, dampening, t = arrays
        return np.where(t == 1.0, g, momentum * v + (1.0 - dampening) * g)

    def value(self, *operands: Expr) -> Expr:
        v, g, momentum, dampening, t = operands
        return choose(t, "=", ONE, g, momentum * v + (ONE - dampening) * g)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 3), random_array(rng, 3), 0.9, 0.5, t)) for t in (1.0, 2.0)]


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


class AverageVelocity(Equation):
    """μ·v + (1 - μ)·g; operands v, g, μ."""

    name = "average_velocity"

    def numbers(self, *arrays: Array) -> Array:
        v, g, momentum = arrays
        return np.asarray(momentum * v + (1.0 - momentum) * g)

    def value(self, *operands: Expr) -> Expr:
        v, g, momentum = operands
        return momentum * v + (ONE - momentum) * g

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 3), random_array(rng, 3), 0.9))]


class Ahead(Equation):
    """η·(g + μ·v): Nesterov's step rewritten for the gradient at w; operands g, v, μ, η."""

    name = "ahead"

    def numbers(self, *arrays: Array) -> Array:
        g, v, momentum, rate = arrays
        return np.asarray(rate * (g + momentum * v))

    def value(self, *operands: Expr) -> Expr:
        g, v, momentum, rate = operands
        return rate * (g + momentum * v)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 3), random_array(rng, 3), 0.9, 0.1))]


class Sgd(OptimizerSpec):
    """w - η·g; with momentum a velocity v is kept, and w - η·v (three published forms)."""

    type: Literal["sgd", "momentum"]
    momentum: Rate = 0.0
    dampening: NotNegative = 0.0
    nesterov: bool | Literal["rewritten"] = False
    momentum_form: Literal["velocity", "learning_rate_inside", "average"] = "velocity"

    @model_validator(mode="before")
    @classmethod
    def _momentum(cls, value: object) -> object:
        if isinstance(value, dict) and value.get("type") == "momentum":
            return {"momentum": 0.9, **value}
        return value

    @model_validator(mode="after")
    def _fits(self) -> Sgd:
        if self.nesterov and (not self.momentum or self.dampening):
            raise refuse("nesterov needs a momentum and no dampening", at=["nesterov"], at_key=True)
        if self.nesterov and self.momentum_form != "velocity":
            raise refuse("nesterov has the form velocity", "velocity", at=["momentum_form"])
        return self

    def equations(self, update: Update) -> Node:
        if not self.momentum:
            ascend = self.maximize and not self.weight_decay
            gradient = update.gradient.inputs[0] if ascend else update.gradient
            return update.new(Descent(ascend), update.parameter, update.rate, gradient)
        v, g, rate = update.state("v"), update.gradient, update.rate
        momentum = update.setting("momentum", "μ", self.momentum)
        if self.momentum_form == "learning_rate_inside":
            after = update.next_state(v, RateVelocity(), v, g, momentum, rate)
            return update.new(Add(), update.parameter, after)
        if self.momentum_form == "average":
            after = update.next_state(v, AverageVelocity(), v, g, momentum)
        elif self.dampening:
            dampening = update.setting("dampening", "τ", self.dampening)
            after = update.next_state(v, Velocity(), v, g, momentum, dampening, update.step_number())
        else:
            after = update.next_state(v, PlainVelocity(), v, g, momentum)
        if self.nesterov:
            return update.moved(Ahead(), g, after, momentum, rate)
        return update.moved(Scaled(), after, rate)
