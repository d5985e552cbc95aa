"""The sections around the working as plain text: headings, title, small tables, the result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bptrace.formula.expr import Ref
from bptrace.report.blocks import (
    Heading,
)
from bptrace.report.sections import Result, Title
from bptrace.writers.text_base import TextBase


class SectionsText(TextBase):
    """Writes headings and sections."""

    def _heading(self, heading: Heading) -> str:
        if heading.level > 1:
            return "   ".join([heading.text, *(f"{name} = {self._listed(read)}" for name, read in heading.values)])
        return f"{heading.text} {'-' * (self.columns - self.layout.width(heading.text) - 1)}"

    def _listed(self, read: Sequence[Ref]) -> str:
        """One number, or several in brackets."""
        texts = ", ".join(map(self._fill_ref, read))
        return texts if len(read) == 1 else f"({texts})"

    def _title(self, title: Title) -> Iterator[str]:
        line = self._both_ends(title.text, title.place)
        if self.layout.width(line) <= self.columns:
            yield line
            return
        yield from self.layout.broken(title.text, self.columns, 0)
        yield self.layout.right(title.place, self.columns - 1)

    def _boxes(self, boxes: Sequence[list[list[str]]]) -> Iterator[str]:
        """Small tables side by side, as many as fit."""
        bands: list[list[list[str]]] = [[]]
        used = 0
        for box in (piece for whole in boxes for piece in self._cut(whole, self.columns - 2)):
            lines = self._aligned(box)
            wide = max(self.layout.width(line) for line in lines)
            if bands[-1] and 2 + used + 5 + wide > self.columns:
                bands.append([])
                used = 0
            bands[-1].append([self.layout.padded(line, wide) for line in lines])
            used += (5 if used else 0) + wide
        for band in bands:
            for k in range(max(map(len, band))):
                gaps = []
                for number, box_ in enumerate(band):
                    gap = "" if not number else "   " if number == 1 and len(box_[0]) < 14 else "     "
                    gaps.append(gap + (box_[k] if k < len(box_) else " " * self.layout.width(box_[0])))
                yield "  " + "".join(gaps)

    def _cut(self, rows: list[list[str]], columns: int) -> Iterator[list[list[str]]]:
        """A table too wide in groups of columns, the row names repeated in each."""
        if max(self.layout.width(line) for line in self._aligned(rows)) <= columns:
            yield rows
            return
        count = max(len(row) for row in rows)
        if count < 3:
            yield rows
            return
        half = 1 + (count - 1) // 2
        yield from self._cut([row[:half] if len(row) > 2 else row for row in rows], columns)
        yield from self._cut([[row[0], *row[half:]] for row in rows if len(row) > half], columns)

    def _aligned(self, rows: list[list[str]]) -> list[str]:
        """A small table as lines, columns padded."""
        wide = [row for row in rows if len(row) > 2]
        first = max((self.layout.width(row[0]) for row in rows if len(row) > 1), default=0)
        other = max((self.layout.width(cell) for row in wide for cell in row[1:]), default=0)
        sizes = [first, *[other] * max(len(row) for row in rows)]
        lines = []
        for row in rows:
            cells = [self.layout.padded(cell, sizes[k]) if k < len(row) - 1 else cell for k, cell in enumerate(row)]
            lines.append("   ".join(cells).rstrip())
        return lines

    def _result(self, result: Result) -> Iterator[str]:
        if result.heading:
            yield self._heading(Heading(result.heading, 1))
            yield ""
        if result.rows:
            cells = [result.columns, *result.rows]
            widths = [
                max(self.layout.width(row[k]) for row in cells if len(row) > 1) for k in range(len(result.columns))
            ]
            widths[0] = max(widths[0], 9)
            for row in cells:
                if len(row) == 1:
                    yield f" {row[0]}"
                else:
                    yield " " + "    ".join(
                        self.layout.right(cell, size) for cell, size in zip(row, widths, strict=True)
                    )
        for lead, items in result.lines:
            line = f" {lead}"
            for item in items:
                joint = " " if line == f" {lead}" else "   "
                if self.layout.width(line) + self.layout.width(joint) + self.layout.width(item) > self.columns:
                    yield line
                    line, joint = "  ", " "
                line += joint + item
            yield line
        for title, boxes in result.boxes:
            yield f" {title}"
            yield from self._boxes(boxes)
