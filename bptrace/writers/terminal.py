"""The page as plain text, for terminals, pipes and files alike; colour is added by the caller."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bptrace.formula.expr import Ref, Worked
from bptrace.report.blocks import (
    Agreement,
    Block,
    Chosen,
    Columns,
    Given,
    Heading,
    Lines,
    Part,
    Picture,
    Rows,
    RunningSum,
    Sentence,
    Summary,
    Table,
    Values,
)
from bptrace.report.numbers import Numbers
from bptrace.report.sections import Boxes, Pairs, Result, Section, Title
from bptrace.writers.text_arrays import ArraysText
from bptrace.writers.text_base import Style
from bptrace.writers.text_sections import SectionsText
from bptrace.writers.text_sums import SumsText
from bptrace.writers.text_tables import TablesText


class TextWriter(SectionsText, ArraysText, TablesText, SumsText):
    """Writes sections and blocks as lines."""

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


def _values(part: Part) -> Iterator[Ref | Worked]:
    """The values of a part that stand in the value column."""
    match part:
        case Lines(lines):
            yield from (line.value for line in lines)
        case Table(_, rows):
            yield from (
                row.value if isinstance(row.value, Ref) else Worked(row.value) for row in rows if not row.left_out
            )
        case Rows(places):
            yield from (place_.line.value for place_ in places)
        case Columns(_, rows_):
            yield from (row[2] for row in rows_)
        case RunningSum(ref):
            yield ref


__all__ = ["Style", "TextWriter"]
