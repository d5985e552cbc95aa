"""A derivation as plain text: a step a line, indented under the step that reads it."""

from __future__ import annotations

from collections.abc import Iterator

from bptrace.report.explanation import Explanation, Remark, Step
from bptrace.writers.layout import Layout, to_ascii

LAYOUT = Layout()
NOTE_COLUMN = 27
"""Where the notes of given numbers begin, if their names leave room."""


def explain_lines(explanation: Explanation, columns: int = 80, ascii_only: bool = False) -> Iterator[str]:
    """The lines of a derivation, at most `columns` wide where its parts can be broken."""
    return _Writer(explanation, columns, ascii_only).lines()


class _Writer:
    def __init__(self, explanation: Explanation, columns: int, ascii_only: bool) -> None:
        self.explanation = explanation
        self.columns = columns
        self.ascii = ascii_only
        steps = [step for step in explanation.steps if isinstance(step, Step)]
        self.decimals = max(_decimals(step.text) for step in steps)
        values = [LAYOUT.width(self._value(step)) for step in steps]
        self.value_width = max(3 + (9 if explanation.digits is None else explanation.digits), *values)
        self.sign_column = columns - 1 - self.value_width - (3 if ascii_only else 2)

    def lines(self) -> Iterator[str]:
        for line in self._lines():
            yield line.rstrip()

    def _lines(self) -> Iterator[str]:
        made, words = self.explanation, self.explanation.words
        title, place = self._plain(made.title.text), self._plain(made.title.place)
        room = self.columns - 1 - LAYOUT.width(title) - LAYOUT.width(place)
        yield f"{title}{' ' * max(2, room)}{place}"
        yield ""
        for item in made.steps:
            yield from self._item(item)
        yield ""
        if made.product is not None:
            yield from self._step(made.product, f" {self._plain(words('as_one_product'))} ", stacked=True)
        lead = f" {self._plain(words('feeds_into'))} "
        yield from LAYOUT.broken(lead + self._plain(made.feeds), self.columns - 1, LAYOUT.width(lead))

    def _plain(self, text: str) -> str:
        return to_ascii(text) if self.ascii else text

    def _indent(self, level: int) -> str:
        """Two columns a level, as far as the page is wide enough for it."""
        return " " * min(1 + 2 * level, max(1, self.columns // 2 - 12))

    def _item(self, item: Step | Remark) -> Iterator[str]:
        lead = self._indent(item.level)
        if isinstance(item, Remark):
            yield from LAYOUT.broken(lead + self._plain(item.text), self.columns - 1, LAYOUT.width(lead) + 2)
        elif item.note:
            yield from self._given(item, lead)
        else:
            yield from self._step(item, lead)

    def _given(self, step: Step, lead: str) -> Iterator[str]:
        left = LAYOUT.padded(lead + self._plain(step.name), NOTE_COLUMN - 2) + "  " + self._plain(step.note)
        yield from self._with_value(left, "", self._value(step), LAYOUT.width(lead) + 4)

    def _step(self, step: Step, lead: str, stacked: bool = False) -> Iterator[str]:
        """The forms in a row, as many on a line as it has room for."""
        line = lead + self._plain(step.name)
        # under the first form, or where the name is too long for that, a little further in than it
        short = LAYOUT.width(line) <= self.columns * 2 // 5
        indent = LAYOUT.width(line) if short else LAYOUT.width(lead) - LAYOUT.width(lead.lstrip()) + 3
        forms = [f" {self._plain(sign)} {self._plain(text)}" for sign, text, _ in step.shown]
        for k, form in enumerate(forms):
            room = self.sign_column - 1 if k == len(forms) - 1 else self.columns - 1
            fits = LAYOUT.width(line) + LAYOUT.width(form) <= room
            if (k and stacked) or (not fits and (k or indent < LAYOUT.width(line))):
                yield from LAYOUT.broken(line, self.columns - 1, indent + 3)
                line = " " * indent
            line += form
        yield from self._with_value(line, self._plain(step.sign), self._value(step), indent + 3)

    def _value(self, step: Step) -> str:
        """The value, its decimal point under the others."""
        text = step.text
        return text if "e" in text else text + " " * (self.decimals - _decimals(text))

    def _with_value(self, left: str, sign: str, value: str, indent: int) -> Iterator[str]:
        *before, last = LAYOUT.broken(left, self.columns - 1, indent)
        yield from before
        if LAYOUT.width(last) >= self.sign_column:
            yield last
            last = ""
        field = LAYOUT.padded(sign, 2 if self.ascii else 1)
        yield f"{LAYOUT.padded(last, self.sign_column)}{field} {LAYOUT.right(value, self.value_width)}"


def _decimals(number: str) -> int:
    """How far a number reaches to the right of its decimal point, the point included."""
    return 0 if "e" in number or "." not in number else len(number) - number.index(".")
