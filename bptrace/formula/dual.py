"""Dual numbers: a value together with its derivative in one direction.

Any formula that `evaluate` can work out is differentiated by working it out with these: a second
statement of every derivative rule, exact but for rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from bptrace.formula.evaluate import Floats

__all__ = ["Dual", "Duals"]

_PLAIN = Floats()
_ROOT = 2 / math.sqrt(math.pi)


@dataclass(frozen=True, slots=True)
class Dual:
    """value + slope·ε, where ε² = 0."""

    value: float
    slope: float = 0.0

    def __add__(self, other: Dual) -> Dual:
        return Dual(self.value + other.value, self.slope + other.slope)

    def __mul__(self, other: Dual) -> Dual:
        return Dual(self.value * other.value, _times(self.slope, other.value) + _times(other.slope, self.value))

    def __neg__(self) -> Dual:
        return Dual(-self.value, -self.slope)

    # which of two cases of a formula holds is decided by the values alone

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dual) and self.value == other.value

    def __lt__(self, other: Dual) -> bool:
        return self.value < other.value

    def __le__(self, other: Dual) -> bool:
        return self.value <= other.value

    def __gt__(self, other: Dual) -> bool:
        return self.value > other.value

    def __ge__(self, other: Dual) -> bool:
        return self.value >= other.value

    __hash__ = None  # type: ignore[assignment]


def _times(slope: float, factor: float) -> float:
    """What does not move contributes nothing, whatever it is multiplied with."""
    return slope * factor if slope else 0.0


_SLOPES: dict[str, Callable[[float, float], float]] = {
    "exp": lambda x, y: y,
    "ln": lambda x, y: _PLAIN.divide(1.0, x),
    "sqrt": lambda x, y: _PLAIN.divide(0.5, y),
    "tanh": lambda x, y: 1.0 - y * y,
    "sin": lambda x, y: math.cos(x),
    "cos": lambda x, y: -math.sin(x),
    "erf": lambda x, y: _ROOT * math.exp(-x * x),
    "abs": lambda x, y: math.copysign(1.0, x) if x else 0.0,
}
"""The derivative of a function of one number x with the value y."""


class Duals:
    """Arithmetic of dual numbers, for `evaluate`. A function without a rule is a KeyError of its name."""

    def constant(self, value: Fraction) -> Dual:
        return Dual(value.numerator / value.denominator)

    def infinity(self) -> Dual:
        return Dual(math.inf)

    def divide(self, top: Dual, bottom: Dual) -> Dual:
        value = _PLAIN.divide(top.value, bottom.value)
        slope = _times(top.slope, _PLAIN.divide(1.0, bottom.value))
        return Dual(value, slope - _times(bottom.slope, _PLAIN.divide(value, bottom.value)))

    def power(self, base: Dual, exponent: Dual) -> Dual:
        value, n = _PLAIN.power(base.value, exponent.value), exponent.value
        slope = _times(base.slope, n * _PLAIN.power(base.value, n - 1.0)) if base.slope and n else 0.0
        if exponent.slope:
            slope += exponent.slope * value * _PLAIN.function("ln", [base.value])
        return Dual(value, slope)

    def function(self, name: str, arguments: list[Dual]) -> Dual:
        value = _PLAIN.function(name, [argument.value for argument in arguments])
        if name in ("max", "min"):
            return next((argument for argument in arguments if argument.value == value), Dual(value))
        if name == "largest":
            return next((argument for argument in arguments[1:] if argument.value == value), Dual(value))
        if name == "times_ln":
            factor, x = arguments
            slope = _times(factor.slope, _PLAIN.function("ln", [x.value])) if factor.slope else 0.0
            return Dual(value, slope + _times(x.slope, _PLAIN.divide(factor.value, x.value)) if factor.value else slope)
        (argument,) = arguments
        rule = _SLOPES[name]
        return Dual(value, argument.slope * rule(argument.value, value) if argument.slope else 0.0)

    def after(self, value: Dual) -> Dual:
        return value
