"""What has rows and columns as plain text: small matrices, windows, rows of places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bptrace.formula.expr import Ref
from bptrace.report.blocks import (
    Chosen,
    Line,
    Matrix,
    Picture,
    Rows,
)
from bptrace.writers.text_lines import LinesText

SIGNED = 7
"""Columns before a matrix with a sign."""


class ArraysText(LinesText):
    """Writes pictures and the rows of places."""

    def _rows(self, part: Rows) -> Iterator[str]:
        columns = [[place.at for place in part.places]]
        heads = [str(self.words("at"))]
        if any(place.line.sample for place in part.places):
            columns.insert(0, [place.line.sample for place in part.places])
            heads.insert(0, str(self.words("sample")))
        if part.group:
            columns.append([place.group for place in part.places])
            heads.append(part.group)
        beside = [place.fed or self._patch(place.window) for place in part.places]
        if max(map(self.layout.width, beside)) <= self.columns // 3:
            columns.append(beside)  # a patch of long numbers says no more than the formula
            heads.append(part.beside)
        sizes = [max(map(self.layout.width, [head, *texts])) for head, texts in zip(heads, columns, strict=True)]

        def row(texts: Sequence[str]) -> str:
            return " " + "".join(f"{self.layout.padded(text, n)}  " for text, n in zip(texts, sizes, strict=True))

        yield row(heads).rstrip()
        for k, place_ in enumerate(part.places):
            yield from self._place(row([column[k] for column in columns]), place_.line)

    def _patch(self, window: Sequence[Sequence[Ref | None]]) -> str:
        """The rows of a patch; a dot stands for padding."""
        return " / ".join(" ".join("." if ref is None else self._fill_ref(ref) for ref in row) for row in window)

    def _chosen(self, part: Chosen) -> Iterator[str]:
        winners = [part.name(ref) for flag, ref in part.candidates if self._numbers.value(flag) != 0]
        at = "".join(f"{text}  " for text in (part.sample, part.at) if text)
        said = self.words(
            "chosen_first" if len(winners) == 1 else "chosen_all",
            at=at, element=", ".join(winners), window=self._patch(part.window), back=part.back,
        )  # fmt: skip
        yield from self.layout.broken(f" {said}", self.columns, 1 + self.layout.width(at) + 2)

    def _place(self, start: str, line: Line) -> Iterator[str]:
        """The working of one place: its forms in a row, or under each other where they do not fit."""
        forms = self._forms(line)
        sign = self._numbers.sign(line.forms[-1].expr, line.value)
        value = self._numbers.leaf_text(line.value)
        texts = [text if k == 0 else f"{sign_} {text}" for k, (sign_, text) in enumerate(forms)]
        if self.layout.width(start) + self.layout.width("  ".join(texts)) < self.sign_column:
            yield from self._with_value(start + "  ".join(texts), sign, value, self.layout.width(start))
            return
        for k, text in enumerate(texts):
            left = (start if k == 0 else " " * self.layout.width(start)) + text
            if k == len(texts) - 1:
                yield from self._with_value(left, sign, value, self.layout.width(start) + 2)
            else:
                yield from self.layout.broken(left, self.columns - 1, self.layout.width(start) + 2)

    def _picture(self, picture: Picture) -> Iterator[str]:
        """Matrices side by side, as many as fit, each with its sign before its middle row."""
        bands: list[list[list[str]]] = [[]]
        used = 0
        for sign, matrix in picture.matrices:
            for piece in self._matrix(sign, matrix):
                wide = max(map(self.layout.width, piece))
                if bands[-1] and used + wide > self.columns:
                    bands.append([])
                    used = 0
                bands[-1].append([self.layout.padded(line, wide) for line in piece])
                used += wide
        for number, band in enumerate(bands):
            height = max(map(len, band))
            for k in range(height):
                yield "".join(piece[k] if k < len(piece) else " " * self.layout.width(piece[0]) for piece in band)
            if number < len(bands) - 1:
                yield ""

    def _cell_width(self, matrix: Matrix) -> int:
        cells = ["…" if ref is None else self._fill_ref(ref) for row in matrix.rows for ref in row]
        return max(3, *map(self.layout.width, [*cells, *matrix.column_names]))

    def _room(self, matrix: Matrix) -> int:
        """How many columns of a matrix stand side by side."""
        names = max(map(self.layout.width, matrix.row_names), default=-2) + 2
        return max(1, (self.columns - SIGNED - names + 2) // (self._cell_width(matrix) + 2))

    def _groups(self, matrix: Matrix) -> int:
        """Into how many groups of columns a matrix is cut."""
        return -(-len(matrix.rows[0]) // self._room(matrix))

    def _matrix(self, sign: str, matrix: Matrix) -> Iterator[list[str]]:
        """The lines of a matrix with its sign; of one too wide, groups of columns."""
        cells = [["…" if ref is None else self._fill_ref(ref) for ref in row] for row in matrix.rows]
        size, room, count = self._cell_width(matrix), self._room(matrix), len(cells[0])
        names = max(map(self.layout.width, matrix.row_names), default=-2) + 2
        blank = " " * (self.layout.width(sign) + 5 if sign else 3)
        for start in range(0, count, room):
            stop = min(start + room, count)
            lines = [matrix.title + (f", {start + 1}-{stop}" if room < count else "")]
            if matrix.column_names:
                heads = (self.layout.right(name, size) for name in matrix.column_names[start:stop])
                lines.append(" " * names + "  ".join(heads))
            middle = len(lines) + (len(cells) - 1) // 2
            for k, row in enumerate(cells):
                name = self.layout.padded(matrix.row_names[k], names) if matrix.row_names else ""
                lines.append(name + "  ".join(self.layout.right(cell, size) for cell in row[start:stop]))
            marked = f"   {sign}  " if sign and not start else blank
            yield [(marked if k == middle else blank) + line for k, line in enumerate(lines)]
