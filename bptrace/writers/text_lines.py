"""Lines and workings as plain text: name = formula = numbers = middle = value."""

from __future__ import annotations

from collections.abc import Iterator

from bptrace.report.blocks import (
    Line,
    Lines,
)
from bptrace.writers.text_base import TextBase

JOINED = 120
"""Columns from which the forms of a working stand on one line where they fit."""


class LinesText(TextBase):
    """Writes lines, joined or under each other."""

    def _lines(self, part: Lines) -> Iterator[str]:
        names = max(self.layout.width(line.name) for line in part.lines)
        samples = max(self.layout.width(line.sample) for line in part.lines)
        if samples and part.heading:
            word = str(self.words(part.heading))
            samples = max(samples, self.layout.width(word))
            yield f" {word}"
        for line in part.lines:
            lead = f" {self.layout.padded(line.sample, samples)}   " if samples else " "
            yield from self._line(
                line, lead, line.name if part.stacked else self.layout.padded(line.name, names), part.stacked
            )

    def _line(self, line: Line, lead: str, name: str, stacked: bool) -> Iterator[str]:
        forms = self._forms(line)
        sign = self._numbers.sign(line.forms[-1].expr, line.value)
        value = self._numbers.leaf_text(line.value)
        if len(forms) == 1 and forms[0][1] == value:
            forms = []
        start = lead + name
        joined = start + "".join(f" {sign_} {text}" for sign_, text in forms)
        indent = self.layout.width(start) + 3
        if (not stacked or self.columns >= JOINED) and self.layout.width(joined) < self.sign_column:
            yield from self._with_value(joined, sign, value, indent)
            return
        gap = " " * self.layout.width(start)
        for k, (sign_, text) in enumerate(forms):
            left = f"{start if k == 0 else gap} {sign_} {text}"
            if k == len(forms) - 1:
                yield from self._with_value(left, sign, value, indent)
            else:
                yield from self.layout.broken(left, self.columns - 1, indent)

    def _forms(self, line: Line) -> list[tuple[str, str]]:
        """The forms of a line with their signs; one that repeats the one before is left out."""
        made: list[tuple[str, str]] = []
        for k, form in enumerate(line.forms):
            text = self._form(form)
            if made and made[-1][1] == text:
                continue
            sign = self._sign(form, k == 0)
            if form.kind == "middle" and self._numbers.paper and sign != "=":
                continue  # in paper mode a middle stands only where it is exact
            made.append((sign, text))
        return made
