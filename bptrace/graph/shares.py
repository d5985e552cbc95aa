"""Shares of a gradient: what one sample, or one time step, adds to it.

They are parts of a formula, worked out when they are asked for: `grad.h.W[1,2]/sample2`, `grad.rnn.W@2`.
"""

from __future__ import annotations

from bptrace.formula.expr import Expr, Negation, Number, Product, Quotient, Ref, Sum, Terms, children
from bptrace.graph.node import Node
from bptrace.graph.op import formula_of


def of_sample(whole: Expr, sample: int) -> tuple[Expr | None, int]:
    """The part of a sum over the samples that comes from one of them, and how many it adds up (0: it is none)."""
    counts: list[int] = []

    def share(expr: Expr) -> Expr | None:
        match expr:
            case Sum(terms, "sample"):
                counts.append(len(terms))
                return terms[sample - 1] if 1 <= sample <= len(terms) else None
            case Sum(terms, axis):
                found = [of_one for term in terms if (of_one := share(term)) is not None]
                return Sum(tuple(found), axis) if found else None
            case Quotient() | Negation() | Product() if (inside := inside_of(expr)) is not expr:
                return share(inside)
        return None

    return share(whole), max(counts, default=0)


def of_step(whole: Expr, step: int) -> Expr | None:
    """The part of a gradient's formula that comes back from one time step; None where there is none.

    A sum over time has a term a step. Where the steps are nodes of their own, a term belongs to the step
    whose error it reads (`δ@2·x@2`), so that all shares add up to the gradient.
    """
    match whole:
        case Sum(terms, "time"):
            return terms[step - 1] if 1 <= step <= len(terms) else None
        case Sum(terms, axis) if not axis or _over_time(whole):
            found = [of_one for term in terms if (of_one := of_step(term, step)) is not None]
            return (found[0] if len(found) == 1 and not axis else Sum(tuple(found), axis)) if found else None
        case Quotient(top, Number() as bottom):
            part = of_step(top, step)
            return None if part is None else Quotient(part, bottom)
        case Negation(of):
            part = of_step(of, step)
            return None if part is None else Negation(part)
        case Product((Number() as factor, other)):
            part = of_step(other, step)
            return None if part is None else Product((factor, part))
        case Ref(node, index) if node.phase == "backward" and node.step is None and node.inputs:
            return of_step(formula_of(node, index), step)
    return whole if error_step(whole) == step else None


def error_step(expr: Expr) -> int | None:
    """The time step whose error a product reads."""
    if isinstance(expr, Ref):
        return _step(expr.node)
    parts = children(expr)
    first = parts[:1] if isinstance(expr, Sum) and isinstance(expr.terms, Terms) else parts
    return next((step for part in first if (step := error_step(part)) is not None), None)


def _step(node: Node) -> int | None:
    return node.step if node.phase == "backward" else None


def _over_time(expr: Expr) -> bool:
    """Whether a sum over something else adds up sums over time."""
    if isinstance(expr, Sum):
        return expr.axis == "time" or _over_time(expr.terms[0])
    return False


def inside_of(expr: Expr) -> Expr:
    """The sum of which a formula is a multiple: its addends are those that the page lists."""
    match expr:
        case Quotient(top, Number()):
            inside = inside_of(top)
        case Negation(of):
            inside = inside_of(of)
        case Product((Number(), other)):
            inside = inside_of(other)
        case _:
            return expr
    return inside if isinstance(inside, Sum) else expr


__all__ = ["error_step", "inside_of", "of_sample", "of_step"]
