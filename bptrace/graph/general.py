"""The formula of any element of a node, with letters for its indices: `W[j,k]·x[n,k]` behind a Σ.

`n` counts samples, `j` units, `k` inputs, where these letters are free; the letters of sums are the
op's own. No letter stands for two things in one formula.
"""

from __future__ import annotations

from collections.abc import Iterator

from bptrace.formula.expr import Expr, Index, Sum, Terms, children, is_indexed, rebuild
from bptrace.graph.node import Node
from bptrace.graph.op import formula_of

PREFERRED = {"sample": "n", "unit": "j", "input": "k", "time": "t"}
POOL = "ijklmpqrsuvw"


def general(node: Node) -> tuple[Index, Expr]:
    """The letters of the element's indices, and its formula."""
    bound = set(_bound(formula_of(node, _letters(node, set()))))
    letters = _letters(node, bound)
    return letters, _distinct(formula_of(node, letters), frozenset(letters))


def _letters(node: Node, bound: set[str]) -> Index:
    """A letter an axis, none of them in `bound`."""
    found: list[str] = []
    for k in range(len(node.shape)):
        wish = PREFERRED.get(node.axes[k], "") if k < len(node.axes) else ""
        found.append(_free(wish, bound | set(found)))
    return tuple(found)


def _free(wish: str, taken: set[str] | frozenset[str]) -> str:
    """The letter that is wished for, or another where it is taken."""
    if wish and wish not in taken:
        return wish
    return next((letter for letter in POOL if letter not in taken), "·")


def _bound(expr: Expr) -> Iterator[str]:
    """The letters that the sums of a formula run over."""
    if isinstance(expr, Sum) and isinstance(expr.terms, Terms) and is_indexed(expr):
        yield expr.terms.letter
        yield from _bound(expr.terms.at(expr.terms.letter))
    else:
        for part in children(expr):
            yield from _bound(part)


def _distinct(expr: Expr, taken: frozenset[str]) -> Expr:
    """The same formula; a sum inside another one, or beside an index, has a letter of its own."""
    if isinstance(expr, Sum) and isinstance(expr.terms, Terms) and is_indexed(expr):
        at, letter = expr.terms.at, _free(expr.terms.letter, taken)
        inside = taken | {letter}
        return Sum(Terms(len(expr.terms), lambda k: _distinct(at(k), inside), letter), expr.axis)
    return rebuild(expr, lambda part: _distinct(part, taken))
