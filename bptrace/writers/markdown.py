"""The page as Markdown that GitHub renders: tables, `math` blocks, workings as text.

Equation tables become Markdown tables; workings stay lines, in a fenced block, since their columns
must stand under each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from bptrace.report.blocks import Block, Heading, Part, Picture, Sentence, Table
from bptrace.report.labels import Words
from bptrace.report.numbers import Numbers
from bptrace.report.sections import Boxes, Pairs, Result, Section, Title
from bptrace.writers.terminal import Style, TextWriter

SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]<>#|$~"})
"""Characters that Markdown would read as markup."""


def escaped(text: str) -> str:
    """A text of the user's, or a label, as it stands in running Markdown."""
    return text.translate(SPECIAL)


def cell(text: str) -> str:
    """A formula in a table cell: only the bar needs care inside code."""
    return f"`{text.replace('|', chr(92) + '|')}`" if text else ""


class MarkdownWriter(TextWriter):
    """Writes sections and blocks as Markdown."""

    def __init__(self, words: Words, style: Style) -> None:
        super().__init__(words, replace(style, ascii=False))
        self.level = 1

    def markdown(
        self, items: Iterable[Section | Heading | Block], numbers: Numbers | None, diagram: str = ""
    ) -> Iterator[str]:
        """The lines of a page; blank lines stand between paragraphs. `diagram` is mermaid's text."""
        items = list(items)
        self.numbers = numbers
        self.value_width = self._widest(items)
        for item in items:
            if diagram and isinstance(item, Boxes):
                yield from ["```mermaid", *diagram.splitlines(), "```", ""]
            yield from (line.rstrip() for line in self._markdown_item(item))
            yield ""

    def _markdown_item(self, item: Section | Heading | Block) -> Iterator[str]:
        match item:
            case Title():
                yield f"# {escaped(item.text)}: {item.place}"
                for line in item.lines:
                    yield ""
                    yield escaped(line)
            case Heading():
                yield f"{'#' * (item.level + 1)} {escaped(item.text)}"
            case Pairs():
                yield f"## {escaped(item.heading)}"
                yield ""
                yield from _table(["", "", ""], [[escaped(a), cell(b), escaped(c)] for a, b, c in item.rows])
            case Boxes():
                yield f"## {escaped(item.heading)}"
                for box in item.boxes:
                    yield ""
                    yield from self._box(box)
            case Result():
                yield from self._markdown_result(item)
            case Block():
                yield from self._markdown_block(item)

    def _box(self, box: Sequence[Sequence[str]]) -> Iterator[str]:
        if all(len(row) == 1 for row in box):
            yield ", ".join(cell(row[0]) for row in box)
            return
        count = max(len(row) for row in box)
        head, *rows = [[*row, *[""] * (count - len(row))] for row in box]
        yield from _table([escaped(text) for text in head], [[cell(text) for text in row] for row in rows])

    def _markdown_result(self, result: Result) -> Iterator[str]:
        if result.heading:
            yield f"## {escaped(result.heading)}"
        if result.rows:
            yield ""
            count = len(result.columns)
            yield from _table(
                result.columns, [[*row, *[""] * (count - len(row))] for row in result.rows], ["--:"] * count
            )
        for lead, texts in result.lines:
            yield ""
            yield f"{escaped(lead)} " + ", ".join(cell(text) for text in texts)
        for title, boxes in result.boxes:
            yield ""
            yield escaped(title)
            for box in boxes:
                yield ""
                yield from self._box(box)

    def _markdown_block(self, block: Block) -> Iterator[str]:
        yield from self._markdown_pictures(self._shown_pictures(block))
        yield f"#### {escaped(block.id)}" + (f": {escaped(block.word)}" if block.word else "")
        if block.latex:
            yield ""
            yield "```math"
            yield from self._math([made() for made in block.latex])
            yield "```"
        if self._aside(block):
            yield ""
            yield cell(self._aside(block))
        fenced: list[Part] = []
        for part in self._parts(block):
            if isinstance(part, Table | Sentence):
                yield from self._fenced(fenced)
                fenced = []
                yield ""
                yield from self._equations(part) if isinstance(part, Table) else [escaped(part.text)]
            else:
                fenced.append(part)
        yield from self._fenced(fenced)

    def _markdown_pictures(self, pictures: Sequence[Picture | Sentence]) -> Iterator[str]:
        for picture in pictures:
            if isinstance(picture, Sentence):
                yield escaped(picture.text)
            else:
                yield "```text"
                yield from (line.rstrip() for line in self._picture(picture))
                yield "```"
            yield ""

    def _math(self, formulas: Sequence[str]) -> Iterator[str]:
        """One formula, or several under each other."""
        if len(formulas) == 1:
            yield formulas[0]
            return
        yield r"\begin{aligned}"
        for formula in formulas[:-1]:
            yield f"& {formula} \\\\"
        yield f"& {formulas[-1]}"
        yield r"\end{aligned}"

    def _fenced(self, parts: Sequence[Part]) -> Iterator[str]:
        if parts:
            yield ""
            yield "```text"
            for part in parts:
                yield from (line.rstrip() for line in self._part(part))
            yield "```"

    def _equations(self, table: Table) -> Iterator[str]:
        """An equation table as a Markdown table: label, sample, operands, names, result."""
        samples = any(row.sample for row in table.rows)
        notes = any(row.note for row in table.rows)
        operands = max(len(row.cells) for row in table.rows)
        head = [escaped(table.headings[0])]
        head += [escaped(self._counted(table))] if samples else []
        head += [cell(heading) for heading in table.headings[1:]]
        head += [""] * (operands - len(table.headings[1:])) + ([""] if notes else [])
        head.append(cell(f"= {table.result}") if table.result else "")
        rows = []
        for row in table.rows:
            texts = [cell(f"{operator} {text}".strip()) for operator, text in self._cells(row)]
            value, sign = self._row_value(row)
            line = [cell(row.label)] + ([row.sample] if samples else [])
            line += texts + [""] * (operands - len(texts)) + ([cell(row.note)] if notes else [])
            line.append("" if row.left_out else cell(f"{sign} {value}"))
            rows.append(line)
        yield from _table(head, rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], rule: Sequence[str] | None = None) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"| {' | '.join(rule or ['---'] * len(head))} |"
    for row in rows:
        yield f"| {' | '.join(row)} |"
