"""A pocket calculator for the text of formulas, written without a look at how that text is made.

`numbers(expr, ...)` puts numbers into the pieces of a formula, as a page does; `typed(text)` reads the
text as a person types it into a calculator: products and quotients from left to right, powers first.
"""

from __future__ import annotations

import math
import random
import re
from typing import Any

from bptrace.formula.evaluate import evaluate
from bptrace.formula.expr import Expr, Ref
from bptrace.formula.text import ChoiceSlot, Slot, pieces, place

_TOKEN = re.compile(r"\s*(\d+\.?\d*(?:e[+-]?\d+)?|[a-z]+|[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+|∞|[-+·/^√|(),])")
_DRAWN = re.compile(r"drawn\(([^,]+), (\d+), (\d+)\)")
_PLAIN = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_FUNCTIONS: dict[str, Any] = {
    "exp": math.exp, "ln": lambda x: _log(x), "tanh": math.tanh, "sin": math.sin, "cos": math.cos, "erf": math.erf,
    "max": max, "min": min, "largest": lambda place, *values: sorted(values)[-int(place)],
}  # fmt: skip
_RELATIONS: dict[str, Any] = {
    ">": float.__gt__, ">=": float.__ge__, "=": float.__eq__, "<": float.__lt__, "<=": float.__le__,
}  # fmt: skip


def numbers(expr: Expr, lookup: Any, arithmetic: Any) -> str:
    """The text of a formula with numbers, all digits shown; of a choice the branch taken."""

    def value(part: Expr) -> float:
        return float(evaluate(part, lookup, arithmetic))

    def written(part: Any) -> str:
        match part:
            case str():
                return part
            case Slot(leaf, role):
                text = leaf.text if hasattr(leaf, "text") else repr(value(leaf)).replace("inf", "∞")
                return place(text.removesuffix(".0"), role)
            case ChoiceSlot(choice, then, otherwise):
                holds = _RELATIONS[choice.relation](value(choice.left), value(choice.right))
                return "".join(written(p) for p in (then if holds else otherwise))
        raise TypeError(part)

    return "".join(written(part) for part in pieces(expr))


def name(ref: Ref) -> str:
    return f"{ref.node.id}[{','.join(map(str, ref.index))}]" if ref.index else ref.node.id


def typed(text: str) -> float:
    """What a calculator shows for a line of text."""
    return _Calculator(_DRAWN.sub(_drawn, text)).result()


def _drawn(found: re.Match[str]) -> str:
    """The k-th random number of an iteration's stream, as Python gives it."""
    stream = random.Random(f"{found[1]}:{found[2]}")
    return repr([stream.random() for _ in range(int(found[3]))][-1])


def _log(x: float) -> float:
    if x <= 0:
        raise ZeroDivisionError(f"ln {x}")
    return math.log(x)


def _sqrt(x: float) -> float:
    if x < 0:
        raise ZeroDivisionError(f"√{x}")
    return math.sqrt(x)


class _Calculator:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, int, bool]] = []
        at = 0
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            if not found:
                raise ValueError(f"cannot be typed: {text[at:]!r} of {text!r}")
            # a space after `ln` makes it a prefix: ln 0.5
            self.tokens.append((found[1], found.start(1), text[found.end() : found.end() + 1] == " "))
            at = found.end()
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take(self, expected: str = "") -> str:
        token = self.peek()
        if not token or (expected and token != expected):
            raise ValueError(f"{expected or 'more'} expected at token {self.at} of {self.text!r}")
        self.at += 1
        return token

    def result(self) -> float:
        value = self.sum()
        if self.peek():
            raise ValueError(f"left over: {self.peek()!r} in {self.text!r}")
        return value

    def sum(self) -> float:
        negative = self.peek() == "-"
        if negative:
            self.take()
        total = -self.product() if negative else self.product()
        while self.peek() in ("+", "-"):
            total = total + self.product() if self.take() == "+" else total - self.product()
        return total

    def product(self) -> float:
        value = self.power()
        while self.peek() in ("·", "/"):
            value = value * self.power() if self.take() == "·" else value / self.power()
        return value

    def power(self) -> float:
        if self.peek() == "√":
            self.take()
            return _sqrt(self.power())
        if self.peek() == "ln" and self.tokens[self.at][2]:
            self.take()
            return _log(self.power())
        base = self.atom()
        if self.peek() == "^":
            self.take()
            return math.pow(base, self.atom())
        if self.peek() and self.peek()[0] in "⁰¹²³⁴⁵⁶⁷⁸⁹⁻":
            return math.pow(base, int(self.take().translate(_PLAIN)))
        return base

    def atom(self) -> float:
        token = self.take()
        if token[0].isdigit():
            return float(token)
        if token == "∞":
            return math.inf
        if token == "(":
            value = self.sum()
            self.take(")")
            return value
        if token == "|":
            value = abs(self.sum())
            self.take("|")
            return value
        if token in _FUNCTIONS:
            self.take("(")
            arguments = [self.sum()]
            while self.peek() == ",":
                self.take()
                arguments.append(self.sum())
            self.take(")")
            return float(max(arguments) if token == "max" else min(arguments) if token == "min"
                         else _FUNCTIONS[token](*arguments))  # fmt: skip
        raise ValueError(f"{token!r} cannot stand there in {self.text!r}")
