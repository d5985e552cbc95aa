"""What the structure of a formula says about its form on the page: over what is summed, what stands
beside what. Nothing here knows a value.
"""

from __future__ import annotations

from bptrace.formula.expr import (
    Choice,
    Expr,
    Negation,
    Number,
    Power,
    Product,
    Quotient,
    Ref,
    Sum,
    Worked,
    children,
    flat,
    rebuild,
)


def summed_axes(expr: Expr) -> list[tuple[str, int]]:
    """The axes that the outermost sums run over, with their counts."""
    match expr:
        case Sum(terms, axis) if axis:
            inner = summed_axes(terms[0]) if len(terms) else []
            return [(axis, len(terms)), *inner]
        case Sum(terms):
            return [found for term in terms for found in summed_axes(term)]
        case Quotient(top, Number()):
            return summed_axes(top)
        case Negation(of):
            return summed_axes(of)
        case Product(factors) if isinstance(factors[0], Number):
            return [found for factor in factors[1:] for found in summed_axes(factor)]
        case _:
            return []


def open_sum(expr: Expr) -> tuple[Sum, str | None]:
    """The sum inside, and how the result is made of it (`sum/4`), if it is more than the sum."""
    match expr:
        case Sum():
            return expr, None
        case Quotient(top, Number() as count):
            total, closing = open_sum(top)
            return total, f"{closing or 'sum'}/{count.text}"
        case Negation(of):
            total, closing = open_sum(of)
            return total, f"-{closing or 'sum'}"
        case Product((Number() as factor, inner)):
            total, closing = open_sum(inner)
            return total, f"{factor.text}·{closing or 'sum'}"
        case _:
            return Sum((expr,)), None


def shared_sum(expr: Expr) -> Sum | None:
    """A sum over several places inside a formula that is not that sum itself."""
    for child in children(expr):
        if isinstance(child, Sum) and child.axis and len(child.terms) > 1:
            return child
        found = shared_sum(child)
        if found is not None:
            return found
    return None


def replaced(expr: Expr, part: Expr) -> Expr:
    """The formula with `part` as the number that it was worked out to."""
    return Worked(flat(part)) if expr is part else rebuild(expr, lambda child: replaced(child, part))


def with_sum(expr: Expr, total: Sum) -> Expr:
    """`expr` with the sum inside as the number that stands in the line above."""
    return Worked(total) if expr is total else rebuild(expr, lambda part: with_sum(part, total))


def table_parts(expr: Expr, loose: bool = False) -> list[tuple[str, Expr]] | None:
    """The two columns of an equation table with the operators before them, or None.

    A formula is shown as a table where its outermost operation has two operands, one of them an
    element and the other at most one operation of elements.
    """
    match expr:
        case Product((left, right)):
            parts = [("", left), ("·", right)]
        case Sum((left, Negation(right)), axis) if not axis:
            parts = [("", left), ("-", right)]
        case Sum((left, right), axis) if not axis:
            parts = [("", left), ("+", right)]
        case Quotient(left, right):
            parts = [("", left), ("/", right)]
        case _:
            return None
    bare = [isinstance(part, Ref) for _, part in parts]
    if all(bare):
        return parts
    if not any(bare) and not loose:
        return None
    for _, part in parts:
        if not isinstance(part, Ref) and (
            isinstance(part, Number | Choice | Quotient | Power)
            or not all(isinstance(child, Ref | Number) or _negated(child) for child in children(part))
        ):
            return None
    return parts


def _negated(expr: Expr) -> bool:
    return isinstance(expr, Negation) and isinstance(expr.of, Ref | Number)


def opened(expr: Expr) -> Expr:
    """A formula for a caption: sums of sums stay behind their Σ, sums over one place are opened."""
    expr = rebuild(expr, opened) if not (isinstance(expr, Sum) and expr.axis) else expr
    if isinstance(expr, Sum) and expr.axis:
        if len(expr.terms) == 1:
            return opened(expr.terms[0])
        from bptrace.formula.expr import Terms

        if isinstance(expr.terms, Terms):
            at = expr.terms.at
            return Sum(Terms(len(expr.terms), lambda k: opened(at(k)), expr.terms.letter), expr.axis)
    return expr
