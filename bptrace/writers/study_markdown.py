"""The pages of studies as Markdown: tables, and plots and workings as text in fenced blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from bptrace.report.blocks import Heading
from bptrace.report.sections import Title
from bptrace.report.study import Grid, Item, Note, Plot, StudyStyle, Working
from bptrace.writers.markdown import escaped
from bptrace.writers.study_text import StudyText


def study_markdown(items: Iterable[Item], style: StudyStyle) -> Iterator[str]:
    """The lines of a page; blank lines stand between paragraphs, and a list under its sentence."""
    text = StudyText(replace(style, ascii_only=False))
    fenced: list[str] = []
    for item in items:
        if isinstance(item, Plot | Working):
            fenced += [line.rstrip() for line in text.item(item)]
            continue
        yield from _fence(fenced)
        fenced = []
        yield from _lines(item)
    yield from _fence(fenced)


def _fence(lines: list[str]) -> Iterator[str]:
    if lines:
        yield from ("```text", *lines, "```", "")


def _lines(item: Title | Heading | Note | Grid) -> Iterator[str]:
    match item:
        case Title():
            yield from (f"# {escaped(item.text)}: {escaped(item.place)}", "")
            for line in item.lines:
                yield from (escaped(line), "")
        case Heading():
            yield from (f"## {escaped(item.text)}", "")
        case Note():
            yield from (f"{'  ' * (item.level - 1)}- {escaped(item.text)}" if item.level else escaped(item.text), "")
        case Grid():
            if item.title:
                yield from (escaped(item.title), "")
            yield f"| {' | '.join(map(escaped, item.heads))} |"
            yield f"| {' | '.join('---' if k in item.words else '--:' for k in range(len(item.heads)))} |"
            for row in item.rows:
                padded = [*row, *[""] * (len(item.heads) - len(row))]
                yield f"| {' | '.join(map(escaped, padded))} |"
            yield ""
