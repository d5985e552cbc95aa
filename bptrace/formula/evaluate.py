"""The value of a formula, in floats, decimals or fractions: the witness of every kernel.

One walk serves three arithmetics. Sums run from left to right, as a person adds them (and never
through the built-in `sum`, which compensates since Python 3.12).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal, localcontext
from fractions import Fraction
from typing import Any, Protocol, TypeVar

from bptrace.formula.drawn import drawn
from bptrace.formula.expr import (
    Choice,
    Expr,
    Function,
    Infinite,
    Negation,
    Number,
    Power,
    Product,
    Quotient,
    Ref,
    Sum,
    Worked,
)

Lookup = Callable[[Ref], Any]


class NotExactError(ArithmeticError):
    """A function whose value is no fraction was met in exact mode."""


class Arithmetic(Protocol):
    """What the walk needs of a kind of number."""

    def constant(self, value: Fraction) -> Any: ...

    def infinity(self) -> Any: ...

    def power(self, base: Any, exponent: Any) -> Any: ...

    def function(self, name: str, arguments: list[Any]) -> Any: ...

    def divide(self, top: Any, bottom: Any) -> Any: ...

    def after(self, value: Any) -> Any:
        """Called on the result of each operation (paper mode may round there)."""


class Floats:
    """Binary floating point, with IEEE's infinities and NaN where Python would raise."""

    def constant(self, value: Fraction) -> float:
        return value.numerator / value.denominator

    def infinity(self) -> float:
        return math.inf

    def divide(self, top: float, bottom: float) -> float:
        if bottom == 0.0:
            if top == 0.0 or math.isnan(top):
                return math.nan
            return math.copysign(math.inf, top) * math.copysign(1.0, bottom)
        return top / bottom

    def power(self, base: float, exponent: float) -> float:
        try:
            return math.pow(base, exponent)
        except OverflowError:
            return math.inf if base > 0 or exponent % 2 == 0 else -math.inf
        except ValueError:
            return math.inf if base == 0.0 else math.nan

    def function(self, name: str, arguments: list[float]) -> float:
        try:
            return _FLOATS[name](*arguments)
        except OverflowError:
            return math.inf
        except ValueError:
            if name in ("ln", "times_ln") and arguments[-1] == 0.0:
                return -math.inf if name == "ln" or arguments[0] > 0 else math.inf
            return math.nan

    def after(self, value: float) -> float:
        return value


_FLOATS: dict[str, Callable[..., float]] = {
    "exp": math.exp,
    "ln": math.log,
    "sqrt": math.sqrt,
    "tanh": math.tanh,
    "sin": math.sin,
    "cos": math.cos,
    "erf": math.erf,
    "abs": abs,
    "max": lambda *values: math.nan if any(map(math.isnan, values)) else max(values),
    "min": lambda *values: math.nan if any(map(math.isnan, values)) else min(values),
    "largest": lambda place, *values: largest(place, *values),
    "times_ln": lambda factor, x: 0.0 if factor == 0.0 else factor * math.log(x),
}


Kind = TypeVar("Kind", float, Fraction, Decimal)


def largest(place: Kind, *values: Kind) -> Kind:
    """The `place`-th largest of some numbers; the first is the largest. NaN where one of them is NaN."""
    nan = next((x for x in values if x != x), None)
    return sorted(values, reverse=True)[int(place) - 1] if nan is None else nan


class Fractions:
    """Exact arithmetic; an irrational function is an error that names itself."""

    def constant(self, value: Fraction) -> Fraction:
        return value

    def infinity(self) -> Fraction:
        raise NotExactError("an infinity is no fraction")

    def divide(self, top: Fraction, bottom: Fraction) -> Fraction:
        return top / bottom

    def power(self, base: Fraction, exponent: Fraction) -> Fraction:
        if exponent.denominator != 1:
            raise NotExactError(f"a power with exponent {exponent} is no fraction")
        return Fraction(base ** int(exponent))

    def function(self, name: str, arguments: list[Fraction]) -> Fraction:
        match name:
            case "abs":
                return abs(arguments[0])
            case "max":
                return max(arguments)
            case "min":
                return min(arguments)
            case "largest":
                return largest(*arguments)
            case "times_ln" if arguments[0] == 0 or arguments[1] == 1:
                return Fraction(0)
            case "exp" | "sin" | "tanh" | "erf" if arguments[0] == 0:
                return Fraction(name == "exp")
            case "cos" if arguments[0] == 0:
                return Fraction(1)
            case "ln" if arguments[0] == 1:
                return Fraction(0)
            case "sqrt":
                top, bottom = math.isqrt(abs(arguments[0].numerator)), math.isqrt(arguments[0].denominator)
                if Fraction(top * top, bottom * bottom) == arguments[0]:
                    return Fraction(top, bottom)
        raise NotExactError(f"{name} of {arguments[0]} is no fraction")

    def after(self, value: Fraction) -> Fraction:
        return value


class Rounding:
    """Rounding as on paper, to a number of decimals or of significant digits."""

    def __init__(self, digits: int, kind: str = "decimals", mode: str = "half_up") -> None:
        self.digits = digits
        self.significant = kind == "significant"
        self.mode = ROUND_HALF_UP if mode == "half_up" else ROUND_HALF_EVEN

    def __call__(self, value: Decimal) -> Decimal:
        if not value.is_finite():
            return value
        if not value:  # zero has no sign, and as many decimals as other numbers
            return Decimal(0) if self.significant else Decimal(0).scaleb(-self.digits)
        places = self.digits - 1 - value.adjusted() if self.significant else self.digits
        rounded = value.quantize(Decimal(1).scaleb(-places), rounding=self.mode, context=_WIDE)
        return rounded if rounded else abs(rounded)


_WIDE = Context(prec=80)


class Decimals:
    """Decimal arithmetic with 50 digits; with `rounding`, each operation's result is rounded."""

    def __init__(self, rounding: Rounding | None = None) -> None:
        self.rounding = rounding
        self.context = Context(prec=50, Emin=-999_999, Emax=999_999)

    def constant(self, value: Fraction) -> Decimal:
        return self.context.divide(Decimal(value.numerator), Decimal(value.denominator))

    def infinity(self) -> Decimal:
        return Decimal("Infinity")

    def divide(self, top: Decimal, bottom: Decimal) -> Decimal:
        return self.context.divide(top, bottom)

    def power(self, base: Decimal, exponent: Decimal) -> Decimal:
        return self.context.power(base, exponent)

    def function(self, name: str, arguments: list[Decimal]) -> Decimal:
        x, c = arguments[0], self.context
        match name:
            case "exp":
                return c.exp(x)
            case "ln":
                return c.ln(x)
            case "times_ln":
                return x if not x else c.multiply(x, c.ln(arguments[1]))
            case "sqrt":
                return c.sqrt(x)
            case "tanh":
                if abs(x) > 60:
                    return Decimal(1).copy_sign(x)
                grown = c.exp(c.multiply(Decimal(2), x))
                return c.divide(c.subtract(grown, Decimal(1)), c.add(grown, Decimal(1)))
            case "abs":
                return abs(x)
            case "max":
                return max(arguments)
            case "min":
                return min(arguments)
            case "largest":
                return largest(*arguments)
            case "sin" | "cos" | "erf":
                return _series(name, x)
        raise NotExactError(f"{name} has no decimal form")

    def after(self, value: Decimal) -> Decimal:
        return self.rounding(value) if self.rounding else value


def _series(name: str, x: Decimal) -> Decimal:
    """sin, cos and erf by their Taylor series, with digits to spare for the cancelling terms."""
    if name != "erf" and abs(x) > 8:
        x = _within_a_turn(x)
    wide = Context(prec=60 + min(400, int(abs(x) * abs(x) if name == "erf" else abs(x))))
    if name == "erf" and abs(x) > 12:
        return Decimal(1).copy_sign(x)
    square = wide.multiply(x, x)
    power, total, k = (Decimal(1) if name == "cos" else x), Decimal(0), 0
    while True:
        term = power if name != "erf" else wide.divide(power, Decimal(2 * k + 1))
        total = wide.add(total, term)
        if not term or (term.adjusted() < -58 and k > abs(x)):
            break
        k += 1
        if name == "erf":
            power = wide.divide(wide.multiply(power, -square), Decimal(k))
        else:
            order = 2 * k * (2 * k - 1) if name == "cos" else 2 * k * (2 * k + 1)
            power = wide.divide(wide.multiply(power, -square), Decimal(order))
    return wide.multiply(total, _TWO_OVER_ROOT_PI) if name == "erf" else total


def _within_a_turn(x: Decimal) -> Decimal:
    """An angle less whole turns, with as many digits of π as its size takes away."""
    with localcontext(Context(prec=70 + x.adjusted())):
        pi, last, term, n, d = Decimal(3), Decimal(0), Decimal(3), Decimal(1), Decimal(0)
        na, da = 0, 24
        while pi != last:  # π = 3·(1 + 1/24 + ...), the recipe of the decimal module's documentation
            last = pi
            n, na = n + na, na + 8
            d, da = d + da, da + 32
            term = term * n / d
            pi += term
        return x.remainder_near(2 * pi)


_TWO_OVER_ROOT_PI = Decimal("1.1283791670955125738961589031215451716881012586579977136881714434212849368829868")

HOLDS: dict[str, Callable[[Any, Any], bool]] = {
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "=": lambda a, b: a == b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}


def evaluate(expr: Expr, lookup: Lookup, arithmetic: Arithmetic, worked: Callable[[Worked], Any] | None = None) -> Any:
    """The value of `expr` with the elements that `lookup` gives, from left to right.

    An operation that the page has worked out is worked out here too, unless `worked` gives the
    number that stands for it.
    """
    a = arithmetic

    def value(e: Expr) -> Any:
        match e:
            case Ref():
                return lookup(e)
            case Infinite():
                return a.infinity()
            case Number():
                return a.constant(e.value)
            case Sum(terms):
                total = None
                for term in terms:
                    total = value(term) if total is None else a.after(total + value(term))
                return a.constant(Fraction(0)) if total is None else total
            case Product(factors):
                product = value(factors[0])
                for factor in factors[1:]:
                    product = a.after(product * value(factor))
                return product
            case Quotient(top, bottom):
                return a.after(a.divide(value(top), value(bottom)))
            case Power(base, exponent):
                return a.after(a.power(value(base), value(exponent)))
            case Negation(of):
                return -value(of)
            case Function("drawn", (Number() as stream, step, Number() as place)):
                return a.constant(Fraction(repr(drawn(stream.text, int(value(step)), int(place.value)))))
            case Function(name, arguments):
                return a.after(a.function(name, [value(argument) for argument in arguments]))
            case Choice(left, relation, right, then, otherwise):
                return value(then if HOLDS[relation](value(left), value(right)) else otherwise)
            case Worked(of):
                return value(of) if worked is None else worked(e)
            case _:
                raise TypeError(f"not a kind of formula: {e!r}")

    if isinstance(arithmetic, Decimals):
        with localcontext(arithmetic.context):
            return value(expr)
    return value(expr)
