"""Equation tables as plain text: one line an element, operators between the columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bptrace.formula.expr import Number, Ref, Sum, Worked
from bptrace.formula.text import Piece, Role, Slot, place
from bptrace.report.blocks import (
    Form,
    Row,
    Table,
)
from bptrace.writers.text_base import TextBase


class TablesText(TextBase):
    """Writes equation tables."""

    def _table(self, table: Table) -> Iterator[str]:
        rows = [self._cells(row) for row in table.rows]
        samples = max(self.layout.width(row.sample) for row in table.rows)
        label = max([5, *(self.layout.width(row.label) for row in table.rows)])
        if samples:
            word = self._counted(table)
            samples = max(samples, self.layout.width(word))
            own = max(label, self.layout.width(table.headings[0]))
            table = Table(
                [f"{self.layout.padded(table.headings[0], own)}   {word}", *table.headings[1:]],
                table.rows,
                table.result,
            )
            label = own + 3 + samples
        number = self.value_width + 2
        first = max([number, *(self.layout.width(c[0][1]) + (c[0][1][:1] not in "(-") for c in rows if c)])
        second = max([number - 1, *(self.layout.width(cells[1][1]) for cells in rows if len(cells) > 1)])
        # cells wider than the page are broken; their heading stands over what is left of it
        room = self.columns - label - 8 - self.layout.width(table.result)
        yield self._table_heading(table, label, max(number, min(first, room)))
        for row, cells in zip(table.rows, rows, strict=True):
            yield from self._table_row(row, cells, label, first, second, samples)

    def _counted(self, table: Table) -> str:
        """What the column beside the labels holds."""
        return table.counted or str(self.words("sample"))

    def _table_heading(self, table: Table, label: int, first: int) -> str:
        line = self.layout.padded(f" {table.headings[0]}", 1 + label + 1)
        for k, heading in enumerate(table.headings[1:]):
            if k == 0:
                centred = self.layout.centred(heading, first)
                apart = line.endswith("  ") or centred.startswith("  ") or f"{line[-1]}{centred[0]}" == "  "
                line += self.layout.padded(centred if apart else f"  {heading}", first)
            else:
                operator, _, text = heading.partition(" ")
                line += f"    {operator} {text}"
        result = f"= {table.result}"
        column = max(self.layout.width(line) + 2, 1 + label + 1 + first + 4 + 2 + self.value_width + 9)
        if column + self.layout.width(result) <= self.columns:
            return self.layout.padded(line, column) + result
        return f"{line}  {result}"

    def _table_row(
        self, row: Row, cells: list[tuple[str, str]], label: int, first: int, second: int, samples: int
    ) -> Iterator[str]:
        head = self.layout.padded(row.label, label - samples - 3) + "   " + row.sample if samples else row.label
        left = self.layout.padded(f" {head}", 1 + label + 1)
        if row.left_out:
            yield from self.layout.broken(f" {self.layout.padded('', label)} {row.note}", self.columns, label + 4)
            return
        if row.total:
            left = self.layout.padded("", label - samples + 1 if samples else 2) + row.note
        for k, (operator, text) in enumerate(cells):
            cell = text if text[:1] in ("(", "-") or k else f" {text}"
            left += self.layout.padded(cell, first) if k == 0 else f"    {operator} {cell}"
        if row.note and cells:
            noted = self.layout.padded(left, 1 + label + 1 + first + 4 + 2 + second + 2) + row.note
            left = noted if self.layout.width(noted) < self.sign_column else left
        value, sign = self._row_value(row)
        yield from self._with_value(left, sign, value, label + 4)

    def _row_value(self, row: Row) -> tuple[str, str]:
        if isinstance(row.value, Ref):
            return self._numbers.text(row.value), self._numbers.sign(row.whole, row.value)
        leaf = Worked(row.value)
        text = self._numbers.worked_text(leaf)
        return text, "=" if self._numbers.holds(row.whole, text) else "≈"

    def _cells(self, row: Row) -> list[tuple[str, str]]:
        """The operands of a row; only a factor is bracketed where it is negative."""
        cells = [self._cell(cell.form, cell.operator) for cell in row.cells]
        product = len(cells) > 1 and row.cells[1].operator in ("·", "/")
        if product and isinstance(row.cells[0].form.expr, Sum):
            cells[0] = ("", f"({cells[0][1]})")
        if cells and not product:
            (operator, text), *rest = cells
            bare = isinstance(row.cells[0].form.expr, Ref) and text.startswith("(-")
            cells = [(operator, text[1:-1] if bare else text), *rest]
        return cells

    def _cell(self, form: Form, operator: str) -> tuple[str, str]:
        """An operand of a table with its operator; the sign of a number settles both."""
        parts: Sequence[Piece] = form.pieces
        if len(parts) == 1 and isinstance(slot := parts[0], Slot) and isinstance(slot.leaf, Ref | Number | Worked):
            text = self._numbers.leaf_text(slot.leaf)
            if slot.role is Role.NEGATED:
                text = place(text, Role.NEGATED)
            if operator in ("+", "-"):
                if text.startswith("-"):
                    return ("-" if operator == "+" else "+"), text[1:]
                return operator, text
            return operator, f"({text})" if text.startswith("-") else text
        text = self._numbers.fill(parts)
        if operator == "·" and not isinstance(form.expr, Ref) and (" " in text or text.startswith("-")):
            text = f"({text})"
        return operator, text
