"""What all parts of a page as plain text need: how wide it is, its numbers, and the value column."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bptrace.formula.expr import Ref, Worked
from bptrace.report.blocks import (
    Form,
)
from bptrace.report.labels import Words
from bptrace.report.numbers import Numbers
from bptrace.writers.layout import Layout


@dataclass(frozen=True)
class Style:
    """How wide the page is and which characters it may use."""

    columns: int = 80
    ascii: bool = False


class TextBase:
    """Numbers, signs and the value column. `numbers` is set anew for each iteration."""

    def __init__(self, words: Words, style: Style) -> None:
        self.words = words
        self.style = style
        self.columns = style.columns
        self.layout = Layout(style.ascii)
        self.sign_width = 2 if style.ascii else 1  # ~= takes two columns
        self.numbers: Numbers | None = None
        self.value_width = 12

    @property
    def sign_column(self) -> int:
        return self.columns - 1 - self.value_width - 1 - self.sign_width

    def _both_ends(self, left: str, end: str) -> str:
        room = self.columns - 1 - self.layout.width(left) - self.layout.width(end)
        return f"{left}{' ' * room}{end}" if room > 1 else f"{left}  {end}"

    @property
    def _numbers(self) -> Numbers:
        assert self.numbers is not None, "a block with numbers needs the numbers of an iteration"
        return self.numbers

    def _fill_ref(self, ref: Ref) -> str:
        return self._numbers.text(ref)

    def _value_text(self, value: Ref | Worked) -> str:
        return self._numbers.text(value) if isinstance(value, Ref) else self._numbers.worked_text(value)

    def _form(self, form: Form) -> str:
        return form.text if form.kind == "symbols" else self._numbers.fill(form.pieces)

    def _sign(self, form: Form, first: bool) -> str:
        """The sign before a form: a middle is judged, the others put in or define."""
        if form.kind == "middle" and not first:
            return self._numbers.middle_sign(form.expr)
        return "="

    def _with_value(self, left: str, sign: str, value: str, indent: int) -> Iterator[str]:
        """A line with its value in the value column; on a line of its own where it is too long."""
        *before, last = self.layout.broken(left, self.columns - 1, indent)
        yield from before
        if self.layout.width(last) >= self.sign_column:
            yield last
            last = ""
        mark = self.layout.padded(sign, self.sign_width)
        yield f"{self.layout.padded(last, self.sign_column)}{mark} {self.layout.right(value, self.value_width)}"
