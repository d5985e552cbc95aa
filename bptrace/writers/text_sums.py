"""Sums over many as plain text: columns of terms, running sums, what stands for a large quantity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bptrace.formula.expr import Expr, Negation, Number, Ref, Sum, Worked, flat
from bptrace.formula.text import pieces
from bptrace.report.blocks import (
    Columns,
    Form,
    Line,
    RunningSum,
    Summary,
)
from bptrace.writers.text_lines import LinesText


class SumsText(LinesText):
    """Writes columns of terms and running sums."""

    def _columns(self, part: Columns) -> Iterator[str]:
        first = str(self.words(part.label))
        name, *terms = part.headings
        lines: list[tuple[str, list[str], str, str]] = []
        for sample, forms, ref, whole, middle in part.rows:
            numbers = [self._term(form, k) for k, form in enumerate(forms)]
            value = self._numbers.text(ref)
            if middle is None:
                lines.append((sample, numbers, self._numbers.sign(whole, ref), value))
                continue
            worked = [self._term(Form("middle", term), k) for k, term in enumerate(_terms(middle))]
            lines.append((sample, numbers, "", ""))
            mark = self._numbers.middle_sign(middle)
            lines.append((mark if mark == "≈" else "", worked, self._numbers.sign(middle, ref), value))
        heads = [terms[0], *terms[1:]]
        sizes = [
            max(self.layout.width(heads[k]), *(self.layout.width(row[1][k]) for row in lines))
            for k in range(len(heads))
        ]
        label = max(self.layout.width(first), *(self.layout.width(row[0]) for row in lines))
        room = 1 + label + 2 + sum(sizes) + 2 * (len(sizes) - 1)
        if room >= self.sign_column or room + 4 + self.layout.width(name) > self.columns:
            yield from self._lines(part.instead) if part.instead is not None else self._columns_as_lines(part)
            return
        head = "  ".join(self.layout.padded(text, size) for text, size in zip(heads, sizes, strict=True))
        yield self._both_ends(f" {self.layout.padded(first, label)}  {head}", f"= {name}")
        for mark, cells, sign, value in lines:
            left = f" {self.layout.padded(mark, label)}  " + "  ".join(
                self.layout.padded(c, s) for c, s in zip(cells, sizes, strict=True)
            )
            if sign:
                yield from self._with_value(left, sign, value, label + 3)
            else:
                yield left

    def _term(self, form: Form, k: int) -> str:
        """A term in its column, with its sign: `+ 1.1·0.524979`, `- 0.3`."""
        whole = form.expr
        if k == 0:
            return self._numbers.fill(form.pieces)
        leaf = whole.of if isinstance(whole, Negation) else whole
        minus = isinstance(whole, Negation)
        text = self._numbers.fill(pieces(leaf))
        if isinstance(leaf, Ref | Number | Worked) and text.startswith("-"):
            minus, text = not minus, text[1:]
        return f"{'-' if minus else '+'} {text}"

    def _columns_as_lines(self, part: Columns) -> Iterator[str]:
        """The same, sample by sample under the formula, where the terms do not fit side by side."""
        word = str(self.words(part.label))
        lead = " " * (1 + self.layout.width(word) + 3)
        name, *terms = part.headings
        yield f" {word}"
        yield from self.layout.broken(
            f"{lead}{name} = {' '.join(terms)}", self.columns - 1, len(lead) + self.layout.width(name) + 3
        )
        for sample, _, ref, whole, middle in part.rows:
            forms = [Form("numbers", whole)]
            if middle is not None:
                forms.append(Form("middle", middle))
            line = Line(part.headings[0], forms, ref, sample)
            yield from self._line(line, f" {self.layout.padded(sample, len(lead) - 1)}", line.name, True)

    def _running(self, part: RunningSum) -> Iterator[str]:
        numbers = self._numbers
        total: Any = 0
        rows: list[tuple[str, str, str, str, str]] = []
        zeros = 0
        for k, term in enumerate(part.terms):
            leaf = Worked(flat(term))
            value = numbers.worked_value(leaf)
            if value == 0:
                zeros += 1
                continue
            total = total + value
            text = numbers.worked_text(leaf)
            mark = "=" if numbers.holds(leaf.of, text) else "≈"
            rows.append((str(k + 1), numbers.fill(pieces(leaf.of)), mark, text, numbers.computed(total)))
        if zeros:
            yield f" {part.name}: {self.words('zero_products', count=zeros, rest=len(rows))}"
        room = self.columns - 8 - 2 - self.sign_width - 1 - self.value_width - 2 - 14
        size = max([8, *(wide for row in rows if (wide := self.layout.width(row[1])) <= room)])
        product = self.layout.padded(str(self.words("product")), size)
        running_sum = self.layout.right(str(self.words("running_sum")), 14)
        yield f" {self.layout.right('k', 5)}  {product}    {' ' * self.value_width}  {running_sum}"
        half = part.limit // 2
        for k, (number, text, mark, value, running) in enumerate(rows):
            if len(rows) > part.limit and half <= k < len(rows) - (part.limit - half):
                if k == half:
                    said = self.words("rows_left_out", count=len(rows) - part.limit, command=part.command)
                    yield from self.layout.broken(f"     … {said}", self.columns, 7)
                continue
            value = self.layout.right(value, self.value_width)
            left = f" {self.layout.right(number, 5)}  {self.layout.padded(text, size)}"
            right = f"  {self.layout.padded(mark, self.sign_width)} {value}  {self.layout.right(running, 14)}"
            if self.layout.width(text) > size:  # a product too long has a line of its own
                yield from self.layout.broken(left.rstrip(), self.columns, 10)
                left = " " * (self.columns - self.layout.width(right))
            yield left + right
        closing = numbers.fill(pieces(part.closing))
        value = numbers.text(part.ref)
        left = f" {part.name}" if closing == value else f" {part.name} = {closing}"
        yield from self._with_value(left, numbers.sign(part.closing, part.ref), value, 4)

    def _summary(self, part: Summary) -> Iterator[str]:
        values = [float(v) for v in self._numbers.values.flat(part.node)]
        largest = max(range(len(values)), key=lambda k: abs(values[k]))
        norm = 0.0
        for value in values:
            norm += value * value
        place_: list[str] = []
        rest = largest
        for extent in reversed(part.node.shape):
            rest, position = divmod(rest, extent)
            place_.append(str(position + 1))
        yield " " + self.words(
            "large_quantity", count=len(values), norm=self._numbers.computed(norm**0.5),
            largest=self._numbers.computed(values[largest]), place=f"[{','.join(reversed(place_))}]",
            zeros=sum(value == 0 for value in values),
        )  # fmt: skip
        yield from self.layout.broken(" " + self.words("list_command", command=part.command), self.columns, 3)


def _terms(expr: Expr) -> Sequence[Expr]:
    return expr.terms if isinstance(expr, Sum) else (expr,)
