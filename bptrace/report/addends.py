"""The addends of a sum, one after the other, each with the places that tell it from the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bptrace.formula.expr import Expr, Negation, Number, Product, Quotient, Sum, refs

STEP = "time"
"""The axis that counts time steps; places along it are written `@t`."""


@dataclass(frozen=True)
class Addend:
    """One term and where it stands: `(("sample", 0), ("time", 2))` is the first sample's third step."""

    place: tuple[tuple[str, int], ...]
    term: Expr

    def label(self) -> str:
        return " ".join(f"@{k + 1}" if axis == STEP else str(k + 1) for axis, k in self.place)


def spread(expr: Expr, place: tuple[tuple[str, int], ...] = ()) -> Iterator[Addend]:
    """The addends of a sum; those of sums within it stand in their places."""
    match expr:
        case Sum(terms, axis) if axis and len(terms) > 1:
            for k, term in enumerate(terms):
                yield from spread(term, (*place, (axis, k)))
        case Sum(terms):
            for term in terms:
                step = step_of(term) if len(terms) > 1 else None
                yield from spread(term, place if step is None else (*place, (STEP, step - 1)))
        case _:
            yield Addend(place, expr)


def any_step(text: str, addend: Addend) -> str:
    """What an addend's symbols are at any step: `δ@3·h@2` of step 3 is `δ@t·h@t-1`."""
    step = next((k + 1 for axis, k in addend.place if axis == STEP), None)
    if step is None:
        return text
    for number, letter in ((step, "t"), (step - 1, "t-1"), (step + 1, "t+1")):
        head, *rest = text.split(f"@{number}")
        text = head + "".join(f"@{number if part[:1].isdigit() else letter}{part}" for part in rest)
    return text


def count(expr: Expr) -> int:
    """How many addends a sum has, those of sums within it counted one by one; of sums that stand side
    by side (`Σ W·x + Σ U·h + b`) the longest counts, those of several time steps together."""
    match expr:
        case Sum(terms, axis) if axis:
            return len(terms) * count(terms[0]) if len(terms) else 0
        case Sum(terms) if len(terms):
            return (sum if over_steps(expr) else max)(count(term) for term in terms)
        case Quotient(top, Number()):
            return count(top)
        case Negation(of):
            return count(of)
        case Product((Number(), inner)):
            return count(inner)
        case _:
            return 1


def over_steps(expr: Expr) -> bool:
    """Whether the terms of a sum come from different time steps."""
    match expr:
        case Sum(terms, "") if len(terms) > 1:
            steps = [step_of(_first(term)) for term in terms]
            return None not in steps and len(set(steps)) > 1
        case Quotient(top, Number()):
            return over_steps(top)
        case Negation(of):
            return over_steps(of)
        case _:
            return False


def _first(expr: Expr) -> Expr:
    return _first(expr.terms[0]) if isinstance(expr, Sum) and len(expr.terms) else expr


def step_of(term: Expr) -> int | None:
    """The time step from which an addend comes: that of the error in it."""
    return next((ref.node.step for ref in refs(term) if ref.node.phase == "backward"), None)


def counted(addends: list[Addend], words: Any) -> str:
    """What the labels of addends count: `sample`, `sample step`."""
    axes = dict.fromkeys(axis for addend in addends for axis, _ in addend.place)
    return " ".join(str(words(f"axis_{axis}")) for axis in axes)
