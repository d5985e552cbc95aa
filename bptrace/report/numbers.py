"""Numbers as the page writes them, and whether a line holds with the digits it shows.

Given numbers are as short as they are; computed ones have a fixed number of decimals, small ones
seven significant digits; ties round half up, as a person does. A line ends in `=` where its last
form, typed into a calculator with the digits shown, gives the value's digits, else in `≈`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from bptrace.formula.evaluate import HOLDS, Decimals, Floats, Fractions, evaluate
from bptrace.formula.expr import Choice, Expr, Infinite, Negation, Number, Ref, Worked, children, refs, worked_leaves
from bptrace.formula.text import OPPOSITES, RELATIONS, ChoiceSlot, Piece, Slot, pieces, place
from bptrace.graph.node import Node
from bptrace.report.digits import FLOAT_DIGITS, as_decimal, as_float, finite_decimal, fixed, rounds_to, short, special

if TYPE_CHECKING:
    from bptrace.trace import Values


LONGEST_ON_PAPER = 18
"""Characters of an inner number that somebody might still write down."""

_FLOATS, _DECIMALS, _FRACTIONS = Floats(), Decimals(), Fractions()


class Numbers:
    """The numbers of one iteration, read by a page with a number of decimals (None: all)."""

    def __init__(self, values: Values, constant: set[Node], digits: int | None, paper: bool = False) -> None:
        self.values = values
        self.constant = constant
        self.digits = digits
        self.paper = paper
        self._texts: dict[Node, list[str]] = {}
        self._whole: dict[Node, bool] = {}
        self._strides: dict[Node, tuple[int, ...]] = {}
        self._worked: dict[int, tuple[Worked, str]] = {}  # by identity: formulas of a page are kept

    # text of single numbers

    def given(self, node: Node) -> bool:
        """Data, settings and starting parameters: numbers that the reader has on the page; and copies of
        them, which are written with the same digits. Scaled data are shown as computed numbers where
        they have more decimals than fit there."""
        if node.op.name == "copy":
            return self.given(node.inputs[0])
        if node.phase == "data":
            table = self.values.assembly.tables.get(node.id)
            return table is None or not table.long
        return node.phase in ("data", "setting") or node in self.constant

    def whole(self, node: Node) -> bool:
        """Whether a node is written without decimals: all its elements are whole, and so (or given)
        are the numbers that it is computed from."""
        known = self._whole.get(node)
        if known is None:
            known = node.op.counts() or (
                all(self.given(o) or self.whole(o) for o in node.inputs) and (node.inline or self._all_whole(node))
            )
            self._whole[node] = known
        return known

    def _all_whole(self, node: Node) -> bool:
        return all(value == value // 1 and abs(value) < 1e15 for value in self.values.flat(node) if value - value == 0)

    def flat_index(self, node: Node, index: Sequence[int]) -> int:
        strides = self._strides.get(node)
        if strides is None:
            found: list[int] = []
            step = 1
            for extent in reversed(node.shape):
                found.append(step)
                step *= extent
            strides = self._strides[node] = tuple(reversed(found))
        flat = 0
        for position, stride in zip(index, strides, strict=True):
            flat += position * stride
        return flat

    def value(self, ref: Ref) -> Any:
        return self.values.flat(ref.node)[self.flat_index(ref.node, ref.index)]

    def text(self, ref: Ref) -> str:
        """The number of an element as it is written."""
        return self.texts(ref.node)[self.flat_index(ref.node, ref.index)]

    def texts(self, node: Node) -> list[str]:
        """The numbers of all elements of a node, row by row."""
        texts = self._texts.get(node)
        if texts is None:
            texts = self._texts[node] = self._node_texts(node)
        return texts

    def _node_texts(self, node: Node) -> list[str]:
        values = self.values.flat(node)
        if self.given(node):
            return [self.plain(value) for value in values]
        if self.whole(node):
            return [str(int(value)) if value - value == 0 else special(value) for value in values]
        return [self.computed(value) for value in values]

    def plain(self, value: Any) -> str:
        if isinstance(value, Decimal | Fraction):
            return finite_decimal(Fraction(value)) or str(value)
        return short(value)

    def computed(self, value: Any) -> str:
        """A computed number in the page's format."""
        if isinstance(value, Fraction):
            return str(value)
        if isinstance(value, Decimal):
            if not value.is_finite():
                return special(float(value))
            return f"{value:f}" if value.adjusted() > -12 or not value else str(value)
        if self.digits is None:
            return short(value) if value - value == 0 else special(value)
        return fixed(value, self.digits)

    # whole formulas

    def worked_text(self, leaf: Worked) -> str:
        """The number of an operation that the page has worked out."""
        known = self._worked.get(id(leaf))
        if known is None:
            known = self._worked[id(leaf)] = (leaf, self._work(leaf))
        return known[1]

    def _work(self, leaf: Worked) -> str:
        if all(self.given(ref.node) or self.whole(ref.node) for ref in refs(leaf.of)):
            try:
                exact = evaluate(leaf.of, lambda ref: Fraction(self.text(ref)), _FRACTIONS)
            except (ArithmeticError, ValueError):
                exact = None
            text = finite_decimal(exact) if exact is not None else ""
            if text and len(text.partition(".")[2]) <= (self.digits or 17):
                return text
        value = self.worked_value(leaf)
        if isinstance(value, Decimal) and value.is_finite():
            # in paper mode what stands inside a line was not rounded; all its digits would be no help
            long = len(value.as_tuple().digits) > FLOAT_DIGITS
            return fixed(float(value), self.digits or FLOAT_DIGITS) if long else f"{value.normalize() or Decimal(0):f}"
        return self.computed(value)

    def worked_value(self, leaf: Worked) -> Any:
        """The number of an operation in full precision."""
        sample = next((self.value(ref) for ref in refs(leaf.of)), 0.0)
        if isinstance(sample, Decimal):
            return evaluate(leaf.of, lambda ref: Decimal(self.value(ref)), _DECIMALS)
        if isinstance(sample, Fraction):
            return evaluate(leaf.of, self.value, _FRACTIONS)
        return evaluate(leaf.of, self.value, _FLOATS)

    def fill(self, parts: Sequence[Piece]) -> str:
        """A formula with its numbers put in."""
        return "".join(self._written(parts))

    def _written(self, parts: Sequence[Piece]) -> Iterator[str]:
        for part in parts:
            if isinstance(part, str):
                yield part
            elif isinstance(part, Slot):
                yield place(self.leaf_text(part.leaf), part.role)
            else:
                yield self._choice(part)

    def leaf_text(self, leaf: Ref | Number | Worked) -> str:
        if isinstance(leaf, Ref):
            return self.text(leaf)
        return leaf.text if isinstance(leaf, Number) else self.worked_text(leaf)

    def _choice(self, part: ChoiceSlot) -> str:
        choice = part.choice
        taken = self._taken(choice)
        relation = RELATIONS[choice.relation] if taken else OPPOSITES[choice.relation]
        branch = part.then if taken else part.otherwise
        if len(branch) == 1 and isinstance(branch[0], ChoiceSlot):
            return self._choice(branch[0])  # of a choice within a choice, the reason that decided
        return f"{self.fill(branch)} since {self.fill(part.left)} {relation} {self.fill(part.right)}"

    def _taken(self, choice: Choice) -> bool:
        left, right = (evaluate(side, self.value, self._arithmetic(side)) for side in (choice.left, choice.right))
        return bool(HOLDS[choice.relation](left, right))

    def _arithmetic(self, expr: Expr) -> Any:
        sample = next((self.value(ref) for ref in refs(expr)), 0.0)
        return _DECIMALS if isinstance(sample, Decimal) else _FRACTIONS if isinstance(sample, Fraction) else _FLOATS

    def all_zero(self, node: Node) -> bool:
        return all(value == 0 for value in self.values.flat(node))

    def difference(self, first: Node, second: Node) -> float:
        """The largest difference between two nodes, relative above 1."""
        pairs = zip(self.values.flat(first), self.values.flat(second), strict=True)
        return max((abs(float(a - b)) / max(1.0, abs(float(a))) for a, b in pairs), default=0.0)

    # signs

    def holds(self, expr: Expr, text: str) -> bool:
        """Whether `expr`, worked out with the digits shown, gives the number `text`."""
        if text in ("NaN", "∞", "-∞"):
            return _infinite(expr, self._taken) == text
        if "/" in text:
            return True
        try:
            value = evaluate(expr, self._shown_float, _FLOATS, lambda leaf: as_float(self.worked_text(leaf)))
        except (ArithmeticError, ValueError):
            return self._holds_decimally(expr, text)
        said = rounds_to(value, text)
        if said is None:
            return self._holds_decimally(expr, text)
        return said

    def _shown_float(self, ref: Ref) -> float:
        return as_float(self.text(ref))

    def _holds_decimally(self, expr: Expr, text: str) -> bool:
        try:
            value = evaluate(
                expr, lambda ref: as_decimal(self.text(ref)), _DECIMALS, lambda leaf: as_decimal(self.worked_text(leaf))
            )
        except (ArithmeticError, ValueError):
            return False
        if not value.is_finite():
            return False
        wanted = Decimal(text)
        exponent = wanted.as_tuple().exponent
        assert isinstance(exponent, int)
        with localcontext() as context:
            context.prec = 400
            return bool(value.quantize(Decimal(1).scaleb(exponent), rounding=ROUND_HALF_UP) == wanted)

    def sign(self, last: Expr, value: Ref | Worked) -> str:
        """`=` or `≈` before a value, after the form `last`."""
        return "=" if self.holds(last, self.leaf_text(value)) else "≈"

    def middle_sign(self, middle: Expr) -> str:
        """`=` or `≈` before a middle: each number worked out follows from those it replaces.

        A number that stood in the line before (a shared sum) is not worked out here.
        """
        if self.paper and any(len(self.worked_text(leaf)) > LONGEST_ON_PAPER for leaf in worked_leaves(middle)):
            return "≈"  # nobody writes such a number down: in paper mode this middle is none
        new = (leaf for leaf in worked_leaves(middle) if all(_is_number(child) for child in children(leaf.of)))
        return "=" if all(self.holds(leaf.of, self.worked_text(leaf)) for leaf in new) else "≈"


def _infinite(expr: Expr, taken: Callable[[Choice], bool]) -> str:
    """The infinity that a formula says (and that no overflow made), or nothing."""
    match expr:
        case Infinite():
            return "∞"
        case Negation(Infinite()):
            return "-∞"
        case Choice(then=then, otherwise=otherwise):
            return _infinite(then if taken(expr) else otherwise, taken)
        case _:
            return ""


def _is_number(expr: Expr) -> bool:
    return isinstance(expr, Ref | Number | Worked) or (isinstance(expr, Negation) and _is_number(expr.of))


__all__ = ["Numbers", "fixed", "pieces", "short", "special"]
