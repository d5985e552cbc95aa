"""Fractions, and decimals rounded as on paper: every formula worked out from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from bptrace.engine.layout import Layout
from bptrace.engine.values import FLOATS, Numbers, Values, index_at, nested
from bptrace.errors import RunError
from bptrace.formula.evaluate import Decimals, Fractions, Rounding

if TYPE_CHECKING:
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
        row = [number for node in layout.offsets for number in self._worked_out(values, node)]
        carry = layout.assembly.graph.carry
        leaves = [node for node in layout.offsets if node in carry]
        if all(carry[leaf] in layout.node_set for leaf in leaves):
            self.state = [number for leaf in leaves for number in self._worked_out(values, carry[leaf])]
        return row

    def _worked_out(self, values: Values, node: Node) -> Sequence[Any]:
        try:
            return values.flat(node)
        except ArithmeticError as error:
            # found again element by element, to say which one it is
            raise RunError(self._message(node, error)) from None

    def _message(self, node: Node, error: ArithmeticError) -> str:
        what = str(error) if isinstance(self.numbers.arithmetic, Fractions) else type(error).__name__
        if isinstance(error, ZeroDivisionError):
            what = "a division by zero"
        advice = "leave out --exact" if self.numbers.name == "fraction" else "leave out conventions.rounding"
        return f"iteration {self.done}: {node.id}: {what}; {advice}"


__all__ = ["FormulaEngine", "exact_numbers", "index_at", "nested", "paper_numbers"]
