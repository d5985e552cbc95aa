"""Plain text of formulas: `0.5·(-0.022602540)`, `1/(1 + exp(-net))`.

The walk yields pieces: text, and slots where a number or a symbol stands. A slot knows its role,
since the sign of a number decides how it is joined: a negative later term is a subtraction, a
negative factor or base is bracketed. The pieces of a line never change between iterations, so a
page keeps them and only fills the slots anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from bptrace.formula.expr import (
    Choice,
    Expr,
    Function,
    Negation,
    Number,
    Power,
    Product,
    Quotient,
    Ref,
    Relation,
    Sum,
    Terms,
    Worked,
    flat,
)


class Role(Enum):
    """How a number is joined to what stands before it."""

    FIRST = "first"  # 0.5 or -0.5
    LATER = "later"  # " + 0.5" or " - 0.5"
    MINUS = "minus"  # " - 0.5" or " + 0.5"
    NEGATED = "negated"  # -0.5 or 0.5
    FACTOR = "factor"  # 0.5 or (-0.5)
    NEGATED_FACTOR = "negated factor"  # (-0.5) or 0.5
    LATER_FACTOR = "later factor"  # as a factor; a fraction is bracketed too
    BASE = "base"  # as a factor; exponents of ten and fractions are bracketed too


@dataclass(frozen=True, slots=True)
class Slot:
    """A place where one leaf (element, constant, worked operation) is written."""

    leaf: Ref | Number | Worked
    role: Role


@dataclass(frozen=True, slots=True)
class ChoiceSlot:
    """A choice: with numbers only the branch taken is written, and why."""

    choice: Choice
    then: tuple[Piece, ...]
    otherwise: tuple[Piece, ...]
    left: tuple[Piece, ...]
    right: tuple[Piece, ...]


Piece = str | Slot | ChoiceSlot

SUM, PRODUCT, POWER, ATOM = 1, 2, 3, 4
_LEAVES = (Ref, Number, Worked)
_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
RELATIONS: dict[Relation, str] = {">": ">", ">=": "≥", "=": "=", "<": "<", "<=": "≤"}
OPPOSITES: dict[Relation, str] = {">": "≤", ">=": "<", "=": "≠", "<": "≥", "<=": ">"}


def pieces(expr: Expr, general: bool = False) -> tuple[Piece, ...]:
    """The pieces of a formula; with `general`, long sums are written once behind a Σ."""
    return tuple(_merged(_walk(expr if general else flat(expr), 0, general)))


def place(number: str, role: Role) -> str:
    """A number's text in its role."""
    negative = number.startswith("-")
    match role:
        case Role.FIRST:
            return number
        case Role.LATER:
            return f" - {number[1:]}" if negative else f" + {number}"
        case Role.MINUS:
            return f" + {number[1:]}" if negative else f" - {number}"
        case Role.NEGATED:
            return number[1:] if negative else number if _is_zero(number) else f"-{number}"
        case Role.FACTOR:
            return f"({number})" if negative else number
        case Role.LATER_FACTOR:
            return f"({number})" if negative or "/" in number else number
        case Role.NEGATED_FACTOR:
            return number[1:] if negative else number if _is_zero(number) else f"(-{number})"
        case Role.BASE:
            return f"({number})" if negative or "e" in number or "/" in number else number


def _is_zero(number: str) -> bool:
    """Zero has no sign."""
    return number.strip("0.") == ""


def symbols(expr: Expr, name: Callable[[Ref], str], general: bool = False) -> str:
    """A formula with symbols: `w1·i1 + w2·i2 + b1`."""

    def fill(parts: tuple[Piece, ...]) -> str:
        return "".join(written(part) for part in parts)

    def written(part: Piece) -> str:
        match part:
            case str():
                return part
            case Slot(leaf, role):
                text = name(leaf) if isinstance(leaf, Ref) else getattr(leaf, "text", "?")
                if role is Role.BASE and " " in text:
                    return f"({text})"
                if role is Role.LATER_FACTOR and isinstance(leaf, Ref):
                    role = Role.FACTOR  # the slash of ∂E/∂w is no fraction's
                return place(text, role)
            case ChoiceSlot(choice):
                relation = RELATIONS[choice.relation]
                condition = f"{fill(part.left)} {relation} {fill(part.right)}"
                return f"{fill(part.then)} if {condition}, else {fill(part.otherwise)}"

    return fill(pieces(expr, general))


def _merged(parts: Iterator[Piece]) -> Iterator[Piece]:
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
        else:
            if text:
                yield text
            text = ""
            yield part
    if text:
        yield text


def _level(expr: Expr, general: bool) -> int:
    match expr:
        case Sum():
            return SUM
        case Product() | Quotient():
            return PRODUCT
        case Negation(of):
            # a negated leaf brackets itself by its role, since its sign is known only with numbers
            return ATOM if isinstance(of, _LEAVES) else SUM
        case Power():
            return POWER
        case Function("times_ln"):
            return PRODUCT
        case Function("ln", (only,)) if isinstance(only, _LEAVES):
            return POWER
        case Choice():
            return 0
        case Number():
            return PRODUCT if "/" in expr.text else ATOM
        case _:
            return ATOM


def _bracketed(expr: Expr, least: int, general: bool) -> Iterator[Piece]:
    """`expr`, in brackets where it binds less tightly than `least`."""
    if _level(expr, general) < least:
        yield "("
        yield from _walk(expr, 0, general)
        yield ")"
    else:
        yield from _walk(expr, least, general)


def _walk(expr: Expr, least: int, general: bool) -> Iterator[Piece]:
    match expr:
        case Ref() | Number() | Worked():
            roles = {PRODUCT: Role.FACTOR, POWER: Role.LATER_FACTOR, ATOM: Role.BASE}
            yield Slot(expr, roles.get(least, Role.FIRST))
        case Sum(terms, axis):
            if axis and general and isinstance(terms, Terms) and len(terms) > 1:
                yield "Σ "
                inner = terms.at(terms.letter)
                again = isinstance(inner, Sum) and inner.axis and len(inner.terms) > 1
                yield from _bracketed(inner, SUM if again else PRODUCT, general)
            else:
                yield from _sum(expr, general)
        case Product(factors):
            for k, factor in enumerate(factors):
                if k:
                    yield "·"
                # after the first factor, a quotient or a fraction needs brackets to stay one factor
                yield from _bracketed(factor, POWER if k else PRODUCT, general)
        case Quotient(top, bottom):
            yield from _bracketed(top, PRODUCT, general)
            yield "/"
            yield from _bracketed(bottom, POWER, general)
        case Power(base, exponent):
            yield from _bracketed(base, ATOM, general)
            if isinstance(exponent, Number) and exponent.value.denominator == 1:
                yield exponent.text.translate(_SUPERSCRIPT)
            else:
                yield "^"
                yield from _bracketed(exponent, ATOM, general)
        case Negation(of):
            if isinstance(of, _LEAVES):
                yield Slot(of, Role.NEGATED if least <= SUM else Role.NEGATED_FACTOR)
            else:
                yield "-"
                yield from _bracketed(of, PRODUCT, general)
        case Function(name, arguments):
            yield from _function(name, tuple(arguments), general)
        case Choice(left, _, right, then, otherwise):
            yield ChoiceSlot(
                expr, pieces(then, general), pieces(otherwise, general), pieces(left, general), pieces(right, general)
            )
        case _:
            raise TypeError(f"not a kind of formula: {expr!r}")


def _sum(expr: Sum, general: bool) -> Iterator[Piece]:
    if not expr.terms:
        yield "0"
    for k, signed in enumerate(expr.terms if general else _one_sum(expr)):
        term, minus = (signed.of, True) if isinstance(signed, Negation) else (signed, False)
        if isinstance(term, _LEAVES):
            first, later = (Role.NEGATED, Role.MINUS) if minus else (Role.FIRST, Role.LATER)
            yield Slot(term, later if k else first)
        else:
            if k:
                yield " - " if minus else " + "
            elif minus:
                yield "-"
            yield from _bracketed(term, PRODUCT if minus or isinstance(term, Choice) else SUM, general)


def _one_sum(expr: Sum) -> Iterator[Expr]:
    """The terms of a sum, those of sums within it in their places."""
    for term in expr.terms:
        if isinstance(term, Sum) and term.terms:
            yield from _one_sum(term)
        else:
            yield term


def _function(name: str, arguments: tuple[Expr, ...], general: bool) -> Iterator[Piece]:
    only = arguments[0]
    match name:
        case "sqrt":
            yield "√"
            yield from _bracketed(only, ATOM, general)
        case "ln" if isinstance(only, _LEAVES):
            yield "ln "
            yield from _walk(only, POWER, general)
        case "times_ln":
            yield from _bracketed(only, PRODUCT, general)
            yield "·"
            yield from _function("ln", arguments[1:], general)
        case "abs":
            yield "|"
            yield from _walk(only, 0, general)
            yield "|"
        case _:
            yield f"{name}("
            for k, argument in enumerate(arguments):
                if k:
                    yield ", "
                yield from _walk(argument, 0, general)
            yield ")"
