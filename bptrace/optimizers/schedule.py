"""Schedules of the learning rate: η from η0 and the number k = t - 1 of updates done.

Each schedule is a model of its fields, named after PyTorch's, and one or two equations. The rate is
a node like any other, so that a page shows how it came about.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field, model_validator

from bptrace.formula.expr import ONE, ZERO, Expr, Function, Index, Sum, choose, number
from bptrace.graph.node import Node, Own, Shape
from bptrace.graph.op import Op, Operand, Sample
from bptrace.ops.arithmetic import Divide
from bptrace.ops.lazy import np
from bptrace.optimizers.equation import Equation
from bptrace.spec.base import Check, Complaint, Count, Number, Positive, Strict, describe, refuse, refuse_all
from bptrace.spec.translate import Refused, validate

if TYPE_CHECKING:
    from bptrace.graph.op import Array
    from bptrace.optimizers.base import Updates

NotNegative = Annotated[Number, Field(ge=0)]
Fraction01 = Annotated[Number, Field(ge=0, le=1)]


class ScheduleSpec(Strict):
    """What all schedules have: `rate` adds the nodes that compute η.

    `absolute` schedules say η themselves, the others change the learning rate that is given.
    """

    absolute: ClassVar[bool] = False
    type: str

    def rate(self, updates: Updates, add: Callable[..., Node], base: Node, t: Node) -> Node:
        """The node of η; `add(op, *operands)` gives it its place."""
        raise NotImplementedError

    def constants(self, updates: Updates, **symbols: str) -> list[Node]:
        """Fields as settings, with their symbols."""
        return [
            updates.setting(f"schedule.{name}", symbol, float(getattr(self, name))) for name, symbol in symbols.items()
        ]


@dataclass(frozen=True)
class Timed(Equation):
    """Base: the first operand is t, and `first` is its value in the first iteration."""

    first: int = 1

    def elapsed(self, t: Expr) -> Expr:
        return t - number(self.first)


# constant and linear


class ConstantRate(Timed):
    """f·η0 for the first n updates, then η0; operands t, η0, f, n."""

    name = "constant_rate"

    def numbers(self, *arrays: Array) -> Array:
        t, rate, factor, total = arrays
        return factor * rate if t - self.first < total else rate.copy()

    def value(self, *operands: Expr) -> Expr:
        t, rate, factor, total = operands
        return choose(self.elapsed(t), "<", total, factor * rate, rate)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (t, 0.1, 0.25, 5.0)) for t in (1.0, 5.0, 6.0)]


class ConstantSchedule(ScheduleSpec):
    """η0 times `factor` in the first `total_iters` updates."""

    type: Literal["constant"]
    factor: Fraction01 = 1 / 3
    total_iters: Count = 5

    def rate(self, updates: Updates, add: Callable[..., Node], base: Node, t: Node) -> Node:
        return add(ConstantRate(updates.first), t, base, *self.constants(updates, factor="f", total_iters="n"))


class LinearRate(Timed):
    """η0·(s + (e - s)·min(k, n)/n); operands t, η0, s, e, n."""

    name = "linear_rate"

    def numbers(self, *arrays: Array) -> Array:
        t, rate, start, end, total = arrays
        return np.asarray(rate * (start + (end - start) * np.minimum(t - self.first, total) / total))

    def value(self, *operands: Expr) -> Expr:
        t, rate, start, end, total = operands
        return rate * (start + (end - start) * Function("min", (self.elapsed(t), total)) / total)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (t, 0.1, 0.25, 1.0, 5.0)) for t in (1.0, 4.0, 9.0)]


class LinearSchedule(ScheduleSpec):
    """Warm-up: from `start_factor` to `end_factor` in `total_iters` updates."""

    type: Literal["linear"]
    start_factor: Positive = 1 / 3
    end_factor: NotNegative = 1.0
    total_iters: Count = 5

    def rate(self, updates: Updates, add: Callable[..., Node], base: Node, t: Node) -> Node:
        given = self.constants(updates, start_factor="s", end_factor="e", total_iters="n")
        return add(LinearRate(updates.first), t, base, *given)


class PolynomialRate(Timed):
    """η0·(1 - min(k, n)/n)^p; operands t, η0, n, p."""

    name = "polynomial_rate"

    def numbers(self, *arrays: Array) -> Array:
        t, rate, total, power = arrays
        return np.asarray(rate * (1.0 - np.minimum(t - self.first, total) / total) ** power)

    def value(self, *operands: Expr) -> Expr:
        t, rate, total, power = operands
        return rate * (ONE - Function("min", (self.elapsed(t), total)) / total) ** power

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (t, 0.1, 5.0, p)) for t in (1.0, 4.0, 9.0) for p in (1.0, 2.0)]


class PolynomialSchedule(ScheduleSpec):
    """Down to 0 in `total_iters` updates."""

    type: Literal["polynomial"]
    total_iters: Count = 5
    power: Positive = 1.0

    def rate(self, updates: Updates, add: Callable[..., Node], base: Node, t: Node) -> Node:
        return add(PolynomialRate(updates.first), t, base, *self.constants(updates, total_iters="n", power="p"))


# powers of a factor


class PowerRate(Equation):
    """η0·γ^n; operands η0, γ, n."""

    name = "power_rate"

    def numbers(self, *arrays: Array) -> Array:
        rate, gamma, count = arrays
        return np.asarray(rate * np.power(gamma, count))

    def value(self, *operands: Expr) -> Expr:
        rate, gamma, count = operands
        return rate * gamma**count

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (0.1, 0.5, n)) for n in (0.0, 1.0, 3.0)]


class ExponentialRate(Timed):
    """η0·γ^k; operands t, η0, γ."""

    name = "exponential_rate"

    def numbers(self, *arrays: Array) -> Array:
        t, rate, gamma = arrays
        return np.asarray(rate * np.power(gamma, t - self.first))

    def value(self, *operands: Expr) -> Expr:
        t, rate, gamma = operands
        return rate * gamma ** self.elapsed(t)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (t, 0.1, 0.9)) for t in (1.0, 2.0, 7.0)]


class ExponentialSchedule(ScheduleSpec):
    """η0·gamma^k."""

    type: Literal["exponential"]
    gamma: Positive

    def rate(self, updates: Updates, add: Callable[..., Node], base: Node, t: Node) -> Node:
        return add(ExponentialRate(updates.first), t, base, *self.constants(updates, gamma="γ"))


class NextStage(Timed):
    """n + 1 once (n + 1)·s updates are done, else n; operands t, n, s."""

    name = "next_stage"

    def numbers(self, *arrays: Array) -> Array:
        t, stage, size = arrays
        return stage + 1.0 if t - self.first + 1.0 >= (stage + 1.0) * size else stage.copy()

    def value(self, *operands: Expr) -> Expr:
        t, stage, size = operands
        done = t if self.first == 1 else t - number(self.first - 1)
        return choose(done, ">=", (stage + ONE) * size, stage + ONE, stage)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (t, 1.0, 3.0)) for t in (4.0, 5.0, 6.0)]


class StepSchedule(ScheduleSpec):
    """Times `gamma` every `step_size` updates."""

    type: Literal["step"]
    step_size: Count
    gamma: Positive = 0.1

    def rate(self, updates: Updates, add: Callable[..., Node], base: Node, t: Node) -> Node:
        stage = updates.graph.by_id.get("setting.decays")
        if stage is None:
            done = (updates.start - updates.first) // self.step_size
            size = self.constants(updates, step_size="s")
            stage = updates.counter("setting.decays", "n", float(done), NextStage(updates.first), t, *size)
        return add(PowerRate(), base, *self.constants(updates, gamma="γ"), stage)


@dataclass(frozen=True)
class Passed(Timed):
    """How many of the milestones are passed; operand t."""

    name = "passed"
    milestones: tuple[int, ...] = ()

    def numbers(self, *arrays: Array) -> Array:
        return np.asarray(float(np.searchsorted(self.milestones, arrays[0] - self.first, side="right")))

    def value(self, *operands: Expr) -> Expr:
        passed = tuple(choose(self.elapsed(operands[0]), ">=", m, ONE, ZERO) for m in self.milestones)
        return passed[0] if len(passed) == 1 else Sum(passed)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(1, (2, 5)), (t,)) for t in (1.0, 3.0, 6.0)]


class MultiStepSchedule(ScheduleSpec):
    """Times `gamma` after as many updates as each of the `milestones` says."""

    type: Literal["multi_step"]
    milestones: Annotated[list[Count], Field(min_length=1, max_length=100)]
    gamma: Positive = 0.1

    @model_validator(mode="after")
    def _sorted(self) -> MultiStepSchedule:
        if sorted(self.milestones) != self.milestones:
            raise refuse("the milestones are not in order", "increasing numbers", at=["milestones"])
        return self

    def rate(self, updates: Updates, add: Callable[..., Node], base: Node, t: Node) -> Node:
        passed = Passed(updates.first, tuple(self.milestones))
        stage = updates.shared("setting.decays", "n", passed, t)
        return add(PowerRate(), base, *self.constants(updates, gamma="γ"), stage)


class InverseRate(Timed):
    """η0/(1 + λ·k); operands t, η0, λ."""

    name = "inverse_rate"

    def numbers(self, *arrays: Array) -> Array:
        t, rate, decay = arrays
        return np.asarray(rate / (1.0 + decay * (t - self.first)))

    def value(self, *operands: Expr) -> Expr:
        t, rate, decay = operands
        return rate / (ONE + decay * self.elapsed(t))

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (t, 0.1, 0.5)) for t in (1.0, 2.0, 7.0)]


class InverseTimeSchedule(ScheduleSpec):
    """η0/(1 + decay·k)."""

    type: Literal["inverse_time"]
    decay: Positive = 1.0

    def rate(self, updates: Updates, add: Callable[..., Node], base: Node, t: Node) -> Node:
        return add(InverseRate(updates.first), t, base, *self.constants(updates, decay="d"))


# cosines

PI = number(math.pi)


def _annealed(start: Expr, end: Expr, done: Expr, whole: Expr) -> Expr:
    """From `start` to `end` along half a cosine, `done` of `whole`."""
    return end + (start - end) * (ONE + Function("cos", (PI * done / whole,))) / 2


def _annealed_number(start: Any, end: Any, part: Any) -> Any:
    return end + (start - end) * (1.0 + np.cos(np.pi * part)) / 2.0


class CosineRate(Timed):
    """η_min + (η0 - η_min)·(1 + cos(π·k/T))/2; operands t, η0, η_min, T."""

    name = "cosine_rate"

    def numbers(self, *arrays: Array) -> Array:
        t, rate, least, period = arrays
        return np.asarray(_annealed_number(rate, least, (t - self.first) / period))

    def value(self, *operands: Expr) -> Expr:
        t, rate, least, period = operands
        return _annealed(rate, least, self.elapsed(t), period)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (t, 0.1, 0.01, 8.0)) for t in (1.0, 4.0, 12.0)]


class CosineSchedule(ScheduleSpec):
    """Half a cosine from η0 to `eta_min` in `t_max` updates, then back."""

    type: Literal["cosine"]
    t_max: Count
    eta_min: NotNegative = 0.0

    def rate(self, updates: Updates, add: Callable[..., Node], base: Node, t: Node) -> Node:
        return add(CosineRate(updates.first), t, base, *self.constants(updates, eta_min="η_min", t_max="T"))


@dataclass(frozen=True)
class OneCycleRate(Timed):
    """Up to the peak in the first updates, then down; operands t, η_max, η_first, η_last.

    The peak is at k = `peak`, the lowest rate from k = `last` on.
    """

    name = "one_cycle_rate"
    peak: float = 2.0
    last: int = 9
    cosine: bool = True

    def numbers(self, *arrays: Array) -> Array:
        t, highest, low, least = (float(array) for array in arrays)
        k = min(t - self.first, float(self.last))
        start, end, part = (low, highest, k / self.peak)
        if k > self.peak:
            start, end, part = highest, least, (k - self.peak) / (self.last - self.peak)
        return np.asarray(_annealed_number(start, end, part) if self.cosine else start + (end - start) * part)

    def value(self, *operands: Expr) -> Expr:
        t, highest, low, least = operands
        k, peak, last = self.elapsed(t), number(self.peak), number(self.last)
        up = self._between(low, highest, k, peak)
        down = self._between(highest, least, k - peak, number(self.last - self.peak))
        return choose(k, "<=", peak, up, choose(k, ">=", last, least, down))

    def _between(self, start: Expr, end: Expr, done: Expr, whole: Expr) -> Expr:
        return _annealed(start, end, done, whole) if self.cosine else start + (end - start) * done / whole

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        rates = (0.1, 0.004, 0.00004)
        return [(cls(1, 2.0, 9, cosine), (t, *rates)) for cosine in (True, False) for t in (1.0, 2.0, 3.0, 8.0, 12.0)]


class OneCycleSchedule(ScheduleSpec):
    """From `max_lr`/`div_factor` up to `max_lr` and down to a `final_div_factor` of the first rate."""

    absolute: ClassVar[bool] = True
    type: Literal["one_cycle"]
    max_lr: Positive
    total_steps: Annotated[int, Field(ge=2, le=2**53)]
    pct_start: Annotated[Number, Field(gt=0, lt=1)] = 0.3
    anneal_strategy: Literal["cos", "linear"] = "cos"
    div_factor: Positive = 25.0
    final_div_factor: Positive = 1e4

    @model_validator(mode="after")
    def _has_a_peak(self) -> OneCycleSchedule:
        if self.pct_start * self.total_steps <= 1:
            raise refuse(
                f"{self.pct_start:g} of {self.total_steps} steps is no way up", "more than one step", at=["pct_start"]
            )
        return self

    def rate(self, updates: Updates, add: Callable[..., Node], base: Node, t: Node) -> Node:
        highest, first, last = self.constants(updates, max_lr="η_max", div_factor="d", final_div_factor="d_final")
        low = updates.shared("setting.first_rate", "η_first", Divide(), highest, first)
        least = updates.shared("setting.last_rate", "η_last", Divide(), low, last)
        peak = self.pct_start * self.total_steps - 1
        op = OneCycleRate(updates.first, peak, self.total_steps - 1, self.anneal_strategy == "cos")
        return add(op, t, highest, low, least)


# a list


@dataclass(frozen=True)
class ListedRate(Op):
    """The rate of place k of a list; the last one holds on. Operands t, the list."""

    name = "listed_rate"
    first: int = 1

    def shape(self, *shapes: Shape) -> Shape:
        return ()

    def compute(self, *arrays: Array) -> Array:
        t, values = arrays
        return np.asarray(values[min(int(t) - self.first, len(values) - 1)])

    def formula(self, at: Index, *operands: Operand) -> Expr:
        t, values = operands
        k = t[()] - number(self.first)

        def among(low: int, high: int) -> Expr:
            """The rate of k, which lies from `low` to below `high`; halved, so that no formula nests deep."""
            if high - low == 1:
                return values[low]
            middle = (low + high) // 2
            return choose(k, "<", middle, among(low, middle), among(middle, high))

        return among(0, values.shape[0])

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (t, [0.1, 0.05, 0.01])) for t in (1.0, 2.0, 3.0)]


class ListSchedule(ScheduleSpec):
    """The rates one by one."""

    absolute: ClassVar[bool] = True
    type: Literal["list"]
    values: Annotated[list[NotNegative], Field(min_length=1, max_length=1000)]

    def rate(self, updates: Updates, add: Callable[..., Node], base: Node, t: Node) -> Node:
        id = "setting.optimizer.schedule.values"
        given = updates.graph.by_id.get(id) or updates.graph.leaf(
            id,
            (len(self.values),),
            self.values,
            phase="data",
            symbol=Own("η_k"),
            axes=("place",),
            names=[f"η{k}" for k in range(1, len(self.values) + 1)],
        )
        return add(ListedRate(updates.first), t, given)


SCHEDULES: dict[str, type[ScheduleSpec]] = {
    "constant": ConstantSchedule,
    "step": StepSchedule,
    "multi_step": MultiStepSchedule,
    "exponential": ExponentialSchedule,
    "cosine": CosineSchedule,
    "one_cycle": OneCycleSchedule,
    "linear": LinearSchedule,
    "polynomial": PolynomialSchedule,
    "inverse_time": InverseTimeSchedule,
    "list": ListSchedule,
}


def _schedule(value: object) -> Any:
    """A schedule by its type; a list of numbers is the schedule `list`."""
    if isinstance(value, list):
        try:
            return validate(ListSchedule, {"type": "list", "values": value})
        except Refused as error:
            raise refuse_all(
                [Complaint(c.path[1:], c.message, c.expected, c.known, c.got) for c in error.complaints]
            ) from None
    if not isinstance(value, dict):
        raise refuse(f"not a schedule: {describe(value)}", "{type: step, ...}, or a list of rates")
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in SCHEDULES:
        got = kind if isinstance(kind, str) else ""
        said = f"unknown schedule '{got}'" if got else "'type' is missing" if kind is None else "not a type"
        raise refuse(said, at=["type"], known=SCHEDULES, got=got)
    try:
        return validate(SCHEDULES[kind], value)
    except Refused as error:
        raise refuse_all(error.complaints) from None


_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "array", "items": {"type": "number", "minimum": 0}, "minItems": 1},
        {"type": "object", "required": ["type"], "properties": {"type": {"enum": list(SCHEDULES)}}},
    ]
}

if TYPE_CHECKING:
    Schedule: TypeAlias = ScheduleSpec
else:
    Schedule = Annotated[Any, Check(_schedule, _SCHEMA)]
