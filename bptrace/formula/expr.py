"""The algebra in which every op states its formula.

A formula is a tree of the eleven kinds below. Ops build it with ordinary operators,

    1 / (1 + exp(-z))          ->  Quotient(1, Sum(1, Function("exp", Negation(z))))

and everything that is shown, generated or audited is read from that one tree: the text on a page,
LaTeX, Python source, the value in floats, decimals or fractions. Nodes are referred to, never
copied: a `Ref` names an element of a node of the graph, and a reading decides whether it stands
for a symbol, a number or the address of a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, overload

if TYPE_CHECKING:
    from bptrace.graph.node import Node

Index = tuple[Any, ...]
"""Where an element stands: 0-based integers, or letters in a formula for any element."""

Relation = Literal[">", ">=", "=", "<", "<="]


class Expr:
    """Base of all kinds; carries the operators with which ops write their formulas."""

    __slots__ = ()

    def __add__(self, other: Operand) -> Expr:
        left = self.terms if isinstance(self, Sum) and not self.axis else (self,)
        return Sum((*left, as_expr(other)))

    def __radd__(self, other: Operand) -> Expr:
        return as_expr(other) + self

    def __sub__(self, other: Operand) -> Expr:
        return self + Negation(as_expr(other))

    def __rsub__(self, other: Operand) -> Expr:
        return as_expr(other) - self

    def __mul__(self, other: Operand) -> Expr:
        left = self.factors if isinstance(self, Product) else (self,)
        return Product((*left, as_expr(other)))

    def __rmul__(self, other: Operand) -> Expr:
        return as_expr(other) * self

    def __truediv__(self, other: Operand) -> Expr:
        return Quotient(self, as_expr(other))

    def __rtruediv__(self, other: Operand) -> Expr:
        return Quotient(as_expr(other), self)

    def __pow__(self, other: Operand) -> Expr:
        return Power(self, as_expr(other))

    def __neg__(self) -> Expr:
        return Negation(self)


Operand = Expr | int | float | Fraction


@dataclass(frozen=True, slots=True)
class Ref(Expr):
    """One element of a node."""

    node: Node
    index: Index = ()


@dataclass(frozen=True, slots=True)
class Number(Expr):
    """A constant of the formula itself: its exact value and how it is written (`1/2`, `0.01`)."""

    value: Fraction
    text: str


@dataclass(frozen=True, slots=True)
class Infinite(Number):
    """∞, which is no fraction: of `value` only the sign is meant."""


@dataclass(frozen=True, slots=True)
class Sum(Expr):
    """A sum of terms, or (with `axis`) of one term for each place along an axis.

    The axis stays known even when one term is left, so that a page can say over what was summed.
    """

    terms: Sequence[Expr]
    axis: str = ""


@dataclass(frozen=True, slots=True)
class Product(Expr):
    factors: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Quotient(Expr):
    top: Expr
    bottom: Expr


@dataclass(frozen=True, slots=True)
class Power(Expr):
    base: Expr
    exponent: Expr


@dataclass(frozen=True, slots=True)
class Negation(Expr):
    of: Expr


@dataclass(frozen=True, slots=True)
class Function(Expr):
    """A named function: exp, ln, sqrt, tanh, sin, cos, abs, erf, max, min; times_ln is
    x·ln y with 0·ln 0 = 0; drawn is a random number of a stream, an iteration and a place."""

    name: str
    arguments: Sequence[Expr]


@dataclass(frozen=True, slots=True)
class Choice(Expr):
    """`then` where `left relation right` holds, else `otherwise`."""

    left: Expr
    relation: Relation
    right: Expr
    then: Expr
    otherwise: Expr


@dataclass(frozen=True, slots=True)
class Worked(Expr):
    """An operation that the page has worked out: it stands for its value."""

    of: Expr


class Terms(Sequence[Expr]):
    """The terms of a long sum, each built only when it is asked for.

    `at(k)` builds the term of place `k`; a letter instead of a number gives the term in general,
    which is what stands behind a `Σ`.
    """

    __slots__ = ("at", "extent", "letter")

    def __init__(self, extent: int, at: Callable[[Any], Expr], letter: str = "k") -> None:
        self.extent = extent
        self.at = at
        self.letter = letter

    def __len__(self) -> int:
        return self.extent

    @overload
    def __getitem__(self, key: int) -> Expr: ...
    @overload
    def __getitem__(self, key: slice) -> Sequence[Expr]: ...
    def __getitem__(self, key: int | slice) -> Expr | Sequence[Expr]:
        if isinstance(key, slice):
            return [self.at(k) for k in range(*key.indices(self.extent))]
        if not -self.extent <= key < self.extent:
            raise IndexError(key)
        return self.at(key % self.extent)

    def __iter__(self) -> Iterator[Expr]:
        return (self.at(k) for k in range(self.extent))


def number(value: float | Fraction) -> Number:
    """A constant as it is spelled: 0.1 is one tenth, not its nearest binary fraction."""
    if isinstance(value, Fraction):
        return Number(value, str(value))
    text = repr(value).removesuffix(".0")
    return Number(Fraction(text), text)


def letter(index: object) -> Number:
    """An index of a formula for any element, where it is compared: the j of `k = j`."""
    return Number(Fraction(0), str(index))


def as_expr(value: Operand) -> Expr:
    return value if isinstance(value, Expr) else number(value)


def exp(x: Expr) -> Expr:
    return Function("exp", (x,))


def ln(x: Expr) -> Expr:
    return Function("ln", (x,))


def sqrt(x: Expr) -> Expr:
    return Function("sqrt", (x,))


def tanh(x: Expr) -> Expr:
    return Function("tanh", (x,))


ONE = number(1)
ZERO = number(0)
INFINITY = Infinite(Fraction(1), "∞")


def choose(left: Operand, relation: Relation, right: Operand, then: Operand, otherwise: Operand) -> Expr:
    return Choice(as_expr(left), relation, as_expr(right), as_expr(then), as_expr(otherwise))


def children(expr: Expr) -> Sequence[Expr]:
    """The parts of a formula, in reading order."""
    match expr:
        case Ref() | Number():
            return ()
        case Sum():
            return expr.terms
        case Product():
            return expr.factors
        case Quotient():
            return (expr.top, expr.bottom)
        case Power():
            return (expr.base, expr.exponent)
        case Negation() | Worked():
            return (expr.of,)
        case Function():
            return expr.arguments
        case Choice():
            return (expr.left, expr.right, expr.then, expr.otherwise)
        case _:
            raise TypeError(f"not a kind of formula: {expr!r}")


def refs(expr: Expr) -> Iterator[Ref]:
    """Every element that a formula reads, in reading order."""
    if isinstance(expr, Ref):
        yield expr
    else:
        for child in children(expr):
            yield from refs(child)


def rebuild(expr: Expr, change: Callable[[Expr], Expr]) -> Expr:
    """The same formula with `change` applied to its parts."""
    match expr:
        case Ref() | Number():
            return expr
        case Sum(terms, axis):
            if isinstance(terms, Terms):
                at = terms.at
                return Sum(Terms(len(terms), lambda k: change(at(k)), terms.letter), axis)
            return Sum(tuple(change(term) for term in terms), axis)
        case Product(factors):
            return Product(tuple(change(factor) for factor in factors))
        case Quotient(top, bottom):
            return Quotient(change(top), change(bottom))
        case Power(base, exponent):
            return Power(change(base), change(exponent))
        case Negation(of):
            return Negation(change(of))
        case Worked(of):
            return Worked(change(of))
        case Function(name, arguments):
            return Function(name, tuple(change(argument) for argument in arguments))
        case Choice(left, relation, right, then, otherwise):
            return Choice(change(left), relation, change(right), change(then), change(otherwise))
        case _:
            raise TypeError(f"not a kind of formula: {expr!r}")


def flat(expr: Expr) -> Expr:
    """The same formula with sums of sums written as one sum, products likewise, and a sum over
    one place as its only term."""
    expr = rebuild(expr, flat)
    if isinstance(expr, Sum) and len(expr.terms) == 1:
        return expr.terms[0]
    if isinstance(expr, Sum) and any(isinstance(term, Sum) for term in expr.terms):
        terms: list[Expr] = []
        for term in expr.terms:
            terms.extend(term.terms) if isinstance(term, Sum) else terms.append(term)
        return Sum(tuple(terms), expr.axis)
    if isinstance(expr, Product) and any(isinstance(factor, Product) for factor in expr.factors):
        factors: list[Expr] = []
        for factor in expr.factors:
            factors.extend(factor.factors) if isinstance(factor, Product) else factors.append(factor)
        return Product(tuple(factors))
    return expr


def is_indexed(expr: Expr) -> bool:
    """Whether a formula in general writes this sum once, behind a Σ."""
    return isinstance(expr, Sum) and bool(expr.axis) and isinstance(expr.terms, Terms) and len(expr.terms) > 1


def worked_leaves(expr: Expr) -> Iterator[Worked]:
    """The operations of a formula that the page has worked out."""
    if isinstance(expr, Worked):
        yield expr
    else:
        for child in children(expr):
            yield from worked_leaves(child)


def addends(expr: Expr) -> Sequence[Expr]:
    """The terms of a formula as a page counts them: `Q/k` is the k-th of these."""
    if not isinstance(expr, Sum):
        return (expr,)
    if expr.axis:
        return expr.terms
    return [part for term in expr.terms for part in addends(term)]


def worked(expr: Expr) -> Expr:
    """The page's middle line: every innermost operation worked out once, the outermost kept.

    An innermost operation is one all of whose operands are numbers already. A negated number is a
    number. The result is the same object where nothing is left to work out inside.
    """
    return _kept(expr)


def _is_number(expr: Expr) -> bool:
    match expr:
        case Ref() | Number() | Worked():
            return True
        case Negation(of):
            return _is_number(of)
        case _:
            return False


def _kept(expr: Expr) -> Expr:
    """Work out inside `expr`, but not `expr` itself."""
    if _is_number(expr):
        return expr
    if isinstance(expr, Sum) and not expr.axis:
        # a sum within a sum is one sum on the page: its terms are worked, the sum is not
        return Sum(tuple(_kept(t) if isinstance(t, Sum) else _inner(t) for t in expr.terms))
    return rebuild(expr, _inner)


def _inner(expr: Expr) -> Expr:
    if _is_number(expr):
        return expr
    if isinstance(expr, Negation):
        return Negation(_inner(expr.of))
    if isinstance(expr, Choice):
        return expr
    if all(_is_number(child) for child in children(expr)):
        return Worked(expr)
    return _kept(expr)
