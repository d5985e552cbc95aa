"""The parts of a derivation, before any format: steps with their formulas, and remarks between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from bptrace.formula.expr import (
    Ref,
    Sum,
    Worked,
)
from bptrace.report.blocks import Form
from bptrace.report.derivation import worked_inside
from bptrace.report.labels import Words
from bptrace.report.numbers import Numbers
from bptrace.report.sections import Title

LONGEST = 18
"""Characters of a number within a line that was not rounded on paper; longer ones are not written."""


@dataclass
class Step:
    """name = form = form = value, `level` steps away from the number asked for.

    A given number has no forms, and a note that says where it comes from.
    """

    level: int
    name: str
    forms: list[Form]
    value: Ref | Worked
    numbers: Numbers
    note: str = ""

    @property
    def text(self) -> str:
        """The value as it is written."""
        return self.numbers.leaf_text(self.value)

    @cached_property
    def shown(self) -> list[tuple[str, str, Form]]:
        """The forms with their signs and texts; one that repeats the one before or the value is left out."""
        made: list[tuple[str, str, Form]] = []
        before: list[Worked] = []
        for form in self.forms:
            text = form.text if form.kind == "symbols" else self.numbers.fill(form.pieces)
            now = list(worked_inside(form.expr)) if form.kind == "middle" else []
            # a number that stands in the form before was judged there
            sign = self.numbers.middle_sign(Sum(tuple(leaf for leaf in now if leaf not in before)))
            if self.numbers.paper and (sign != "=" or any(len(self.numbers.worked_text(w)) > LONGEST for w in now)):
                break  # in paper mode a middle stands only where it is exact
            before = now
            if text != self.text and (not made or made[-1][1] != text):
                made.append((sign, text, form))
        return made

    @property
    def sign(self) -> str:
        """`=` or `≈` before the value, nothing before a given one."""
        if not self.forms:
            return ""
        last = self.shown[-1][2] if self.shown else self.forms[-1]
        return self.numbers.sign(last.expr, self.value)


@dataclass(slots=True)
class Remark:
    """A sentence among the steps."""

    level: int
    text: str


@dataclass(slots=True)
class Explanation:
    """How one number comes about. `product` is the same as one product, where the chain is one."""

    title: Title
    steps: list[Step | Remark]
    product: Step | None
    feeds: str
    words: Words
    digits: int | None
