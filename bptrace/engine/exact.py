"""Fractions, and decimals rounded as on paper: every formula worked out from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, DecimalException, DivisionByZero
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from bptrace.engine.layout import Layout
from bptrace.engine.values import FLOATS, Numbers, Values, indices
from bptrace.errors import RunError
from bptrace.formula.evaluate import Decimals, Fractions, Rounding

if TYPE_CHECKING:
    from bptrace.formula.expr import Index
    from bptrace.graph.node import Node
    from bptrace.spec.models import Rounding as RoundingSpec

MOST_DIGITS = 10_000
_MOST_BITS = int(MOST_DIGITS * 3.3219280948873623)


def exact_numbers() -> Numbers:
    """Fractions; a number is what the YAML spells, 0.1 is one tenth."""
    numbers = Numbers(Fractions(), lambda x: Fraction(repr(x)), _bounded)
    numbers.name = "fraction"
    return numbers


def paper_numbers(spec: RoundingSpec) -> Numbers:
    """Decimals, rounded after each line, or also after each operation. Data and given parameters
    are taken as they are."""
    rounding = Rounding(spec.digits, spec.kind, spec.mode)
    arithmetic = Decimals(rounding if spec.after == "operation" else None)
    numbers = Numbers(arithmetic, lambda x: Decimal(repr(x)), rounding)
    numbers.name = "decimal"
    return numbers


class _TooManyDigitsError(ArithmeticError):
    pass


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() > _MOST_BITS or value.denominator.bit_length() > _MOST_BITS:
        raise _TooManyDigitsError(f"a fraction of more than {MOST_DIGITS:,} digits")
    return value


class FormulaEngine:
    """Runs iterations by nothing but the formulas; slow, for any kind of number.

    Raises `RunError` where an operation has no result in its kind of number.
    """

    name = "formulas"

    def __init__(self, layout: Layout, numbers: Numbers = FLOATS) -> None:
        self.layout = layout
        self.numbers = numbers
        self.state: Sequence[Any] = ()
        self.done = 0
        graph = layout.assembly.graph
        loss = graph.loss
        self._loss = layout.offsets[loss] if loss is not None and loss in layout.offsets else None

    def run(self, batches: Sequence[Sequence[int]], chunk: Any, start: int, losses: list[float | None]) -> None:
        """Run an iteration a batch; rows go to `chunk` from its number `start` on, or nowhere (None)."""
        for batch in batches:
            self.done += 1
            row = self.row(batch)
            if chunk is not None:
                chunk[start : start + len(row)] = row
                start += len(row)
            losses.append(None if self._loss is None else float(row[self._loss]))

    def row(self, batch: Sequence[int]) -> list[Any]:
        """One iteration: its row; the state becomes the new one."""
        layout = self.layout
        values = Values(layout, batch, self.state, numbers=self.numbers)
        for node in layout.nodes:  # in their order, so that the first that cannot be computed is found first
            if not node.inline:
                try:
                    values.flat(node)
                except ArithmeticError as error:
                    raise RunError(self._message(values, node, error)) from None
        row = [number for node in layout.offsets for number in values.flat(node)]
        carry = layout.assembly.graph.carry
        targets = [carry[node] for node in layout.offsets if node in carry]
        if all(target in layout.node_set for target in targets):
            self.state = [number for target in targets for number in values.flat(target)]
        return row

    def _message(self, values: Values, node: Node, error: ArithmeticError) -> str:
        place = next((index for index in indices(node.shape) if _fails(values, node, index)), ())
        name = node.id + (f"[{','.join(str(i + 1) for i in place)}]" if place else "")
        what = "a division by zero" if isinstance(error, ZeroDivisionError | DivisionByZero) else str(error)
        if isinstance(error, DecimalException) and not isinstance(error, DivisionByZero):
            what = "no decimal number (too large, or not defined)"
        advice = "leave out --exact" if self.numbers.name == "fraction" else "leave out conventions.rounding"
        when = f"iteration {self.done}" if self.done else "after the last update"
        return f"{when}: {name}: {what}; {advice}"


def _fails(values: Values, node: Node, index: Index) -> bool:
    try:
        values.element(node, index)
    except ArithmeticError:
        return True
    return False
