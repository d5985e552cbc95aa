"""The page as plain text, for terminals, pipes and files alike; colour is added by the caller."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bptrace.formula.expr import Expr, Negation, Number, Ref, Sum, Worked, flat
from bptrace.formula.text import Piece, Role, Slot, pieces, place
from bptrace.report.blocks import (
    Agreement,
    Block,
    Chosen,
    Columns,
    Form,
    Given,
    Heading,
    Line,
    Lines,
    Matrix,
    Part,
    Picture,
    Row,
    Rows,
    RunningSum,
    Sentence,
    Summary,
    Table,
    Values,
)
from bptrace.report.labels import Words
from bptrace.report.numbers import Numbers
from bptrace.report.sections import Boxes, Pairs, Result, Section, Title
from bptrace.writers.layout import Layout

SIGNED = 7
"""Columns before a matrix with a sign."""
JOINED = 120
"""Columns from which the forms of a working stand on one line where they fit."""


@dataclass(frozen=True)
class Style:
    """How wide the page is and which characters it may use."""

    columns: int = 80
    ascii: bool = False


class TextWriter:
    """Writes sections and blocks as lines. `numbers` is set anew for each iteration."""

    def __init__(self, words: Words, style: Style) -> None:
        self.words = words
        self.style = style
        self.columns = style.columns
        self.layout = Layout(style.ascii)
        self.sign_width = 2 if style.ascii else 1  # ~= takes two columns
        self.numbers: Numbers | None = None
        self.value_width = 12

    def text(self, items: Iterable[Section | Heading | Block], numbers: Numbers | None) -> Iterator[str]:
        """The lines of a page with the numbers of one iteration."""
        return (line for line, _ in self.toned(items, numbers))

    def toned(self, items: Iterable[Section | Heading | Block], numbers: Numbers | None) -> Iterator[tuple[str, str]]:
        """The lines, each with its tone: the phase of a heading or caption, `title`, or nothing."""
        items = list(items)
        self.numbers = numbers
        self.value_width = self._widest(items)
        phase = ""
        for number, item in enumerate(items):
            if number:
                yield "", ""
            tone = "title" if isinstance(item, Title) else phase
            if isinstance(item, Heading):
                tone = phase = item.phase
            for k, line in enumerate(self._item(item)):
                yield self.layout.shown(line), tone if k == 0 else ""

    def _widest(self, items: Sequence[Section | Heading | Block]) -> int:
        """The width of the value column: that of the widest value on the page."""
        if self.numbers is None:
            return 12
        found = [3 + (self.numbers.digits or 9)]
        for item in items:
            if isinstance(item, Block):
                found.extend(len(self._value_text(ref)) for part in item.parts for ref in _values(part))
        return max(found)

    @property
    def sign_column(self) -> int:
        return self.columns - 1 - self.value_width - 1 - self.sign_width

    # items

    def _item(self, item: Section | Heading | Block) -> Iterator[str]:
        match item:
            case Heading():
                yield from self.layout.broken(self._heading(item), self.columns, 2)
            case Block():
                yield from self._block(item)
            case Title():
                yield from self._title(item)
                for line in item.lines:
                    yield from self.layout.broken(line, self.columns, 0)
            case Pairs():
                yield item.heading
                for label, formula, said in item.rows:
                    left = f"  {self.layout.padded(label, 11)}{self.layout.padded(formula, 28) if formula else ''}"
                    if self.layout.width(left) > 41:
                        yield from self.layout.broken(left, self.columns, 15)
                        left = " " * 41
                    yield from self.layout.broken(left + said, self.columns, 41 if formula else 13)
            case Boxes():
                yield item.heading
                yield from self._boxes(item.boxes)
            case Result():
                yield from self._result(item)

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

    def _both_ends(self, left: str, end: str) -> str:
        room = self.columns - 1 - self.layout.width(left) - self.layout.width(end)
        return f"{left}{' ' * room}{end}" if room > 1 else f"{left}  {end}"

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

    # blocks

    def _block(self, block: Block) -> Iterator[str]:
        for picture in self._shown_pictures(block):
            yield from self._part(picture)
            yield ""
        yield from self._caption(block)
        for part in self._parts(block):
            yield from self._part(part)

    def _shown_pictures(self, block: Block) -> list[Picture | Sentence]:
        """The pictures of a block; cut into groups of columns they would be none."""
        whole = [
            picture
            for picture in block.pictures
            if isinstance(picture, Sentence) or all(self._groups(matrix) == 1 for _, matrix in picture.matrices)
        ]
        return whole if any(isinstance(picture, Picture) for picture in whole) else []

    def _parts(self, block: Block) -> Iterator[Part]:
        """The parts of a block; where nothing happens, one sentence with the reason instead."""
        numbers = self._numbers
        if block.zero is not None and numbers.all_zero(block.zero):
            yield Sentence(self.words("all_zero", count=block.zero.size, reason=self.words(block.reason)))
            yield from (part for part in block.parts if isinstance(part, Sentence))
            return
        yield from block.parts
        for name, slope in block.gates:
            if numbers.value(slope) == 0:
                yield Sentence(self.words("shut_off", name=name))

    def _caption(self, block: Block) -> Iterator[str]:
        head = "  ".join(filter(None, (block.id, block.word)))
        own = self.layout.width(block.id)
        indent = own + 2 if own <= self.columns // 3 else 4  # several ids
        lines = [head]
        for k, formula in enumerate(block.formulas):
            joint = "  " if k == 0 else ",   "
            if self.layout.width(lines[-1]) + self.layout.width(joint) + self.layout.width(formula) <= self.columns - 1:
                lines[-1] += joint + formula
            else:
                lines[-1] += "," if k else ""
                lines.append(" " * indent + formula)
        aside = self._aside(block)
        if aside:
            if self.layout.width(lines[-1]) + 2 + self.layout.width(aside) <= self.columns - 1:
                lines[-1] = self._both_ends(lines[-1], aside)
            else:
                lines.append(self.layout.right(aside, self.columns - 1))
        for line in lines:
            yield from self.layout.broken(line, self.columns, indent + 2)

    def _aside(self, block: Block) -> str:
        """What stands right in the caption: shapes of the matrix form, or the settings."""
        if block.right:
            return block.right
        return "   ".join(f"{name} = {self._numbers.text(ref)}" for name, ref in block.settings)

    def _part(self, part: Part) -> Iterator[str]:
        match part:
            case Lines():
                yield from self._lines(part)
            case Table():
                yield from self._table(part)
            case Columns():
                yield from self._columns(part)
            case Rows():
                yield from self._rows(part)
            case RunningSum():
                yield from self._running(part)
            case Values():
                texts = self._numbers.texts(part.node)[part.start :]
                if len(texts) > 8:
                    texts = [*texts[:3], f"… {len(texts) - 5} …", *texts[-2:]]
                yield from self.layout.broken(f" {part.title} " + " ".join(texts), self.columns, 3)
            case Summary():
                yield from self._summary(part)
            case Agreement(first, second):
                difference = self._numbers.difference(first, second)
                said = (
                    self.words("both_ways") if difference < 1e-12 else self.words("ways_differ", difference=difference)
                )
                yield f" {said}"
            case Given(lines):
                for name, ref in lines:
                    yield from self._with_value(f" {name}", " ", self._fill_ref(ref), 4)
            case Sentence(text):
                yield from self.layout.broken(f" {text}", self.columns, 3)
            case Chosen():
                yield from self._chosen(part)
            case Picture():
                yield from self._picture(part)

    # numbers

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

    # lines and workings

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

    def _patch(self, window: Sequence[Sequence[Ref]]) -> str:
        return " / ".join(" ".join(map(self._fill_ref, row)) for row in window)

    def _chosen(self, part: Chosen) -> Iterator[str]:
        winners = [part.name(ref) for flag, ref in part.candidates if self._numbers.value(flag) != 0]
        at = "".join(f"{text}  " for text in (part.sample, part.at) if text)
        said = self.words(
            "chosen_first" if len(winners) == 1 else "chosen_all",
            at=at, element=", ".join(winners), window=self._patch(part.window), back=part.back,
        )  # fmt: skip
        yield from self.layout.broken(f" {said}", self.columns, 1 + self.layout.width(at) + 2)

    # small matrices

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

    # tables

    def _table(self, table: Table) -> Iterator[str]:
        rows = [self._cells(row) for row in table.rows]
        samples = max(self.layout.width(row.sample) for row in table.rows)
        label = max([5, *(self.layout.width(row.label) for row in table.rows)])
        if samples:
            word, samples = str(self.words("sample")), max(samples, self.layout.width(str(self.words("sample"))))
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
        if row.total or not cells:
            if row.note and not row.total:
                yield from self.layout.broken(f" {self.layout.padded('', label)} {row.note}", self.columns, label + 4)
                return
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

    # sums over many

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
        if room >= self.sign_column:
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
        """The same, sample by sample, where the terms do not fit side by side."""
        for sample, _, ref, whole, middle in part.rows:
            forms = [Form("numbers", whole)]
            if middle is not None:
                forms.append(Form("middle", middle))
            line = Line(part.headings[0], forms, ref, sample)
            yield from self._line(line, f" {self.layout.padded(sample, 4)}", line.name, True)

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
        size = max([8, *(self.layout.width(row[1]) for row in rows)])
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
            yield f"{left}  {self.layout.padded(mark, self.sign_width)} {value}  {self.layout.right(running, 14)}"
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


def _values(part: Part) -> Iterator[Ref | Worked]:
    """The values of a part that stand in the value column."""
    match part:
        case Lines(lines):
            yield from (line.value for line in lines)
        case Table(_, rows):
            yield from (
                row.value if isinstance(row.value, Ref) else Worked(row.value) for row in rows if row.cells or row.total
            )
        case Rows(places):
            yield from (place_.line.value for place_ in places)
        case Columns(_, rows_):
            yield from (row[2] for row in rows_)
        case RunningSum(ref):
            yield ref
