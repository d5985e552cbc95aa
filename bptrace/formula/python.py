"""Formulas as Python source, for generated code.

Elements are written by the names that the caller gives them (slots such as `v17`, or literals; never
user text). The code gives the same bits as `evaluate` with floats: the same operations in the same
order, sums from left to right.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isfinite

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
    Relation,
    Sum,
    Worked,
)

LONGEST_SUM = 40
"""Terms of a sum in one statement; longer ones are accumulated, since Python nests what it parses."""

FUNCTIONS = {
    "exp": "exp",
    "ln": "log",
    "sqrt": "sqrt",
    "tanh": "tanh",
    "sin": "sin",
    "cos": "cos",
    "erf": "erf",
    "abs": "abs",
    "max": "max",
    "min": "min",
    "largest": "largest",
}
"""Names of functions in generated code: those of `math`, three built-in ones, and `largest`."""

_RELATIONS: dict[Relation, str] = {">": ">", ">=": ">=", "=": "==", "<": "<", "<=": "<="}
_SUM, _PRODUCT, _NEGATION, _POWER, _ATOM = 1, 2, 3, 4, 5


class TooLongError(Exception):
    """The code would have more terms than asked for."""


class PythonWriter:
    """Writes formulas as statements, one after the other, into `lines`.

    A function of a single element is worked out once and used again, as a softmax needs it. `most`
    is the number of terms above which `TooLongError` is raised; `risky` says whether an operation
    that can raise was written since it was last set to False. `streams` are the random numbers that
    the code asks for, and how many of each: `drawn0(i)` gives those of the first stream.
    """

    def __init__(self, name: Callable[[Ref], str], most: int) -> None:
        self.name = name
        self.lines: list[str] = []
        self.risky = False
        self.streams: dict[str, int] = {}
        self._left = most
        self._names = 0
        self._known: dict[str, str] = {}
        self._choices = 0

    def forget(self) -> None:
        """Start a new stretch of code that may not use what was worked out before."""
        self._known.clear()

    def write(self, expr: Expr) -> str:
        """The formula as one expression; what does not fit into one goes into `lines` before it."""
        return self._write(expr)[0]

    def _temporary(self, text: str) -> str:
        self._names += 1
        self.lines.append(f"t{self._names} = {text}")
        return f"t{self._names}"

    def _in(self, expr: Expr, least: int) -> str:
        text, level = self._write(expr)
        return text if level >= least else f"({text})"

    def _write(self, expr: Expr) -> tuple[str, int]:
        """The text of a formula and how tightly its outermost operation binds."""
        match expr:
            case Ref():
                self._left -= 1
                if self._left < 0:
                    raise TooLongError
                return self.name(expr), _ATOM
            case Infinite():
                return literal(inf), _ATOM
            case Number(value):
                return literal(value.numerator / value.denominator), _ATOM
            case Sum(terms) if len(terms) == 1:
                return self._write(terms[0])
            case Sum():
                return self._sum(expr), _SUM
            case Product(factors):
                first, *rest = factors
                parts = [self._in(first, _PRODUCT), *(self._in(factor, _NEGATION) for factor in rest)]
                return "*".join(parts), _PRODUCT
            case Quotient(top, bottom):
                self.risky = True
                return f"{self._in(top, _PRODUCT)}/{self._in(bottom, _NEGATION)}", _PRODUCT
            case Power():
                return self._power(expr)
            case Negation(of):
                return f"-{self._in(of, _NEGATION)}", _NEGATION
            case Function("drawn", (Number() as stream, step, Number() as place)):
                return self._drawn(stream.text, step, int(place.value)), _ATOM
            case Function():
                return self._function(expr)
            case Choice(left, relation, right, then, otherwise):
                self._choices += 1
                condition = f"{self._in(left, _SUM)} {_RELATIONS[relation]} {self._in(right, _SUM)}"
                text = f"({self._in(then, _SUM)} if {condition} else {self._in(otherwise, _SUM)})"
                self._choices -= 1
                return text, _ATOM
            case Worked(of):
                return self._write(of)
            case _:
                raise TypeError(f"not a kind of formula: {expr!r}")

    def _sum(self, expr: Sum) -> str:
        text, count = "", 0
        for signed in expr.terms:
            term, sign = (signed.of, " - ") if isinstance(signed, Negation) else (signed, " + ")
            if not text:
                text = self._in(signed, _SUM)
            else:
                text += sign + self._in(term, _PRODUCT)
            count += 1
            if count == LONGEST_SUM:
                text, count = self._temporary(text), 1
        return text or "0.0"

    def _power(self, expr: Power) -> tuple[str, int]:
        base, exponent = expr.base, expr.exponent
        self.risky = True
        if isinstance(exponent, Number) and exponent.value.denominator == 1:
            return f"{self._in(base, _ATOM)}**{literal(float(exponent.value))}", _POWER
        return f"pow({self.write(base)}, {self.write(exponent)})", _ATOM

    def _drawn(self, stream: str, step: Expr, place: int) -> str:
        self.streams[stream] = max(place, self.streams.get(stream, 0))
        call = f"drawn{list(self.streams).index(stream)}({self.write(step)})"
        if call not in self._known:
            self._known[call] = self._temporary(call)
        return f"{self._known[call]}[{place - 1}]"

    def _function(self, expr: Function) -> tuple[str, int]:
        arguments = [self._write(argument) for argument in expr.arguments]
        texts = [text for text, _ in arguments]
        plain = all(level == _ATOM for _, level in arguments)
        if expr.name in ("max", "min") and len(texts) == 1:  # a window of one place
            return arguments[0]
        if expr.name in ("max", "min") and len(texts) == 2 and plain:
            relation = ">" if expr.name == "max" else "<"
            return f"({texts[1]} if {texts[1]} {relation} {texts[0]} else {texts[0]})", _ATOM
        if expr.name == "abs":
            return f"abs({texts[0]})", _ATOM
        self.risky = True
        if expr.name == "times_ln":
            factor = self._in(expr.arguments[0], _PRODUCT)
            if factor == "0.0":
                return "0.0", _ATOM
            # the logarithm of a number that no factor asks for is not taken
            return f"(0.0 if {factor} == 0.0 else {factor}*log({texts[1]}))", _ATOM
        text = f"{FUNCTIONS[expr.name]}({', '.join(texts)})"
        if text in self._known:
            return self._known[text], _ATOM
        if plain and not self._choices and expr.name not in ("max", "min", "largest"):
            self._known[text] = name = self._temporary(text)
            return name, _ATOM
        return text, _ATOM


def literal(value: float) -> str:
    """A float as Python source that binds like a name."""
    if not isfinite(value):
        return f"float('{value}')"
    return f"({value!r})" if value < 0 or repr(value).startswith("-") else repr(value)
