"""A pocket calculator with 60 digits and with intervals, for the numeric forms of a printed page.

`read_form` reads a form as it is printed, `Arithmetic` works it out. Nothing of bptrace is used.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

PRECISION = 60


class UnreadableError(Exception):
    """A line that no rule explains, or a form that cannot be typed into a calculator."""


# arithmetic: a tree of tuples, read from text as it is printed

Tree = tuple[Any, ...]
_TOKEN = re.compile(
    r"(?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?|∞)|(?P<name>[a-z]+)|(?P<power>[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+)|(?P<sign>[-+·/^√|(),>≥≤<=≠])"
)
_PLAIN = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_FUNCTIONS = ("exp", "ln", "tanh", "sin", "cos", "erf", "max", "min", "largest", "abs", "sqrt")


class _Reader:
    """Reads a numeric form. A sign between two operands stands between spaces; one that belongs to a
    number, a bracket or a function touches it. So two numbers that stand side by side are no form."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str, bool, bool]] = []
        at = 0
        while at < len(text):
            if text[at] == " ":
                at += 1
                continue
            found = _TOKEN.match(text, at)
            if not found:
                raise UnreadableError(f"{text[at:]!r} in {text!r}")
            before, after = text[at - 1 : at] in ("", " "), text[found.end() : found.end() + 1] in ("", " ")
            self.tokens.append((str(found.lastgroup), found[0], before, after))
            at = found.end()
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def take(self, expected: str = "") -> str:
        token = self.peek()
        if not token or (expected and token != expected):
            raise UnreadableError(f"{expected or 'more'} expected after {self.at} signs of {self.text!r}")
        self.at += 1
        return token

    def whole(self) -> Tree:
        tree = self.choice()
        if self.peek():
            raise UnreadableError(f"{self.peek()!r} is left over in {self.text!r}")
        return tree

    def choice(self) -> Tree:
        tree = self.sum()
        while self.peek() == "since":
            self.take()
            left, relation, right = self.sum(), self.take(), self.sum()
            if relation not in ">≥≤<=≠":
                raise UnreadableError(f"no relation in {self.text!r}")
            tree = ("since", tree, left, relation, right)
        return tree

    def sum(self) -> Tree:
        terms = [(1, self.product())]
        while self.peek() in ("+", "-"):
            _, sign, before, after = self.tokens[self.at]
            if not (before and after):
                raise UnreadableError(f"a sign between operands stands between spaces: {self.text!r}")
            self.take()
            terms.append((1 if sign == "+" else -1, self.product()))
        return terms[0][1] if len(terms) == 1 else ("sum", terms)

    def product(self) -> Tree:
        factors = [("·", self.factor())]
        while self.peek() in ("·", "/"):
            factors.append((self.take(), self.factor()))
        return factors[0][1] if len(factors) == 1 else ("product", factors)

    def factor(self) -> Tree:
        if self.peek() == "-":
            if self.tokens[self.at][3]:
                raise UnreadableError(f"a sign of a number touches it: {self.text!r}")
            self.take()
            return ("minus", self.factor())
        if self.peek() == "√":
            self.take()
            return ("function", "sqrt", [self.factor()])
        if self.peek() == "ln" and self.tokens[self.at][3]:
            self.take()
            return ("function", "ln", [self.factor()])
        base = self.atom()
        if self.peek() == "^":
            self.take()
            return ("power", base, self.atom())
        if self.at < len(self.tokens) and self.tokens[self.at][0] == "power":
            text = self.take().translate(_PLAIN)
            return ("power", base, ("number", text))
        return base

    def atom(self) -> Tree:
        kind = self.tokens[self.at][0] if self.at < len(self.tokens) else ""
        token = self.take()
        if kind == "number":
            return ("number", token)
        if token == "(":
            tree = self.choice()
            self.take(")")
            return tree
        if token == "|":
            tree = self.sum()
            self.take("|")
            return ("function", "abs", [tree])
        if token in _FUNCTIONS:
            self.take("(")
            arguments = [self.sum()]
            while self.peek() == ",":
                self.take()
                arguments.append(self.sum())
            self.take(")")
            return ("function", token, arguments)
        raise UnreadableError(f"{token!r} cannot stand there in {self.text!r}")


def read_form(text: str) -> Tree:
    """The tree of a numeric form; raises where it could not be typed into a calculator."""
    return _Reader(text).whole()


Span = tuple[Decimal, Decimal]


HALF_PLACE = Decimal(2) ** -53
"""Half a unit of the last place of a float, for its size."""


class Arithmetic:
    """Interval arithmetic. `decimals` is the page's number of decimals: an operand with as many (or with an
    exponent) was rounded, so it may be off by half a unit of its last digit; others are exact. Without
    it all operands are taken as they stand, and the interval is a point.

    The value was computed with floats, of which each number and each operation may be off by half a unit of
    their last place: where large terms cancel, that is what is left."""

    def __init__(self, decimals: int | None = None) -> None:
        self.decimals = decimals

    def number(self, text: str) -> Span:
        if text == "∞":
            return Decimal("Infinity"), Decimal("Infinity")
        value = Decimal(text)
        exponent = int(value.as_tuple().exponent)
        rounded = self.decimals is not None and ("e" in text or -exponent == self.decimals)
        off = Decimal(5).scaleb(exponent - 1) if rounded else Decimal(0)
        return self._as_floats((value - off, value + off), abs(value))

    def _as_floats(self, span: Span, size: Decimal) -> Span:
        """The interval with the rounding of floats, whose numbers are of this size."""
        off = size * HALF_PLACE if self.decimals is not None and size.is_finite() else Decimal(0)
        return span[0] - off, span[1] + off

    def __call__(self, tree: Tree) -> Span:
        match tree:
            case ("number", text):
                return self.number(text)
            case ("minus", of):
                low, high = self(of)
                return -high, -low
            case ("sum", terms):
                low = high = size = Decimal(0)
                for sign, term in terms:
                    a, b = self(term)
                    low, high = (low + a, high + b) if sign > 0 else (low - b, high - a)
                    size += max(abs(a), abs(b))  # of this size are the sums on the way at most
                return self._as_floats((low, high), size * len(terms))
            case ("product", factors):
                span = (Decimal(1), Decimal(1))
                for operator, factor in factors:
                    span = _times(span, self(factor) if operator == "·" else _inverse(self(factor)))
                return self._as_floats(span, max(map(abs, span)) * len(factors))
            case ("power", base, ("number", text)) if "." not in text and "e" not in text:
                return _power(self(base), int(text))
            case ("power", base, exponent):
                low, high = self(base)
                if low <= 0:
                    raise UnreadableError("a broken power of a number that is not positive")
                logs = _times((low.ln(), high.ln()), self(exponent))
                return logs[0].exp(), logs[1].exp()
            case ("function", name, arguments):
                return _function(name, [self(argument) for argument in arguments])
            case ("since", then, left, relation, right):
                if not _may_hold(self(left), relation, self(right)):
                    raise UnreadableError("the reason after `since` does not hold")
                return self(then)
        raise UnreadableError(str(tree))


def _times(a: Span, b: Span) -> Span:
    if a == (0, 0) or b == (0, 0):
        return Decimal(0), Decimal(0)  # 0·ln 0 = 0
    products = [x * y for x in a for y in b]
    return min(products), max(products)


def _inverse(a: Span) -> Span:
    if a[0] <= 0 <= a[1]:
        if a[0] == a[1]:
            raise UnreadableError("division by zero")
        return Decimal("-Infinity"), Decimal("Infinity")
    return 1 / a[1], 1 / a[0]


def _power(a: Span, exponent: int) -> Span:
    if exponent < 0:
        return _inverse(_power(a, -exponent))
    ends = [_whole_power(x, exponent) for x in a]
    if exponent % 2 == 0 and a[0] < 0 < a[1]:
        ends.append(Decimal(0))
    return min(ends), max(ends)


def _whole_power(x: Decimal, exponent: int) -> Decimal:
    made = Decimal(1)
    for _ in range(exponent):
        made *= x
    return made


def _function(name: str, spans: Sequence[Span]) -> Span:
    low, high = spans[0]
    match name:
        case "max":
            return max(a for a, _ in spans), max(b for _, b in spans)
        case "min":
            return min(a for a, _ in spans), min(b for _, b in spans)
        case "largest":
            place = int(low) - 1  # largest(3, …): the third largest
            return tuple(sorted(ends, reverse=True)[place] for ends in zip(*spans[1:], strict=True))  # type: ignore[return-value]
        case "abs":
            ends = sorted((abs(low), abs(high)))
            return (Decimal(0) if low < 0 < high else ends[0]), ends[1]
        case "exp":
            return low.exp(), high.exp()
        case "ln":
            if high < 0:
                raise UnreadableError("ln of a negative number")
            return max(low, Decimal(0)).ln(), high.ln()
        case "sqrt":
            return max(low, Decimal(0)).sqrt(), high.sqrt()
        case "tanh":
            return _tanh(low), _tanh(high)
        case "erf":
            return _erf(low), _erf(high)
        case "sin" | "cos":
            middle, off = (low + high) / 2, (high - low) / 2
            value = _sine(middle if name == "sin" else middle + _half_pi())
            return value - off, value + off
    raise UnreadableError(name)


def _tanh(x: Decimal) -> Decimal:
    if abs(x) > 100:
        return Decimal(1).copy_sign(x)
    grown = (2 * x).exp()
    return (grown - 1) / (grown + 1)


def _sine(x: Decimal) -> Decimal:
    term, total, k = x, x, 1
    while abs(term) > Decimal(10) ** -PRECISION:
        term = -term * x * x / ((k + 1) * (k + 2))
        total, k = total + term, k + 2
    return total


def _half_pi() -> Decimal:
    # Newton's method on the sine's zero at π converges with the third power
    x = Decimal("3.14159265358979")
    for _ in range(3):
        x += _sine(x)
    return x / 2


def _erf(x: Decimal) -> Decimal:
    term, total, k = x, x, 0
    while abs(term) > Decimal(10) ** -PRECISION:
        k += 1
        term = -term * x * x / k
        total += term / (2 * k + 1)
    return 2 * total / (2 * _half_pi()).sqrt()


def _may_hold(a: Span, relation: str, b: Span) -> bool:
    """Whether a relation holds for some numbers of the intervals."""
    match relation:
        case ">":
            return a[1] > b[0]
        case "≥":
            return a[1] >= b[0]
        case "<":
            return a[0] < b[1]
        case "≤":
            return a[0] <= b[1]
        case "=":
            return a[0] <= b[1] and b[0] <= a[1]
        case _:
            return not a[0] == a[1] == b[0] == b[1]
