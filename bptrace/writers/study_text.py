"""The pages of studies as plain text: numbers under each other, wide tables in groups of columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bptrace.report.blocks import Heading
from bptrace.report.sections import Title
from bptrace.report.study import Grid, Item, Note, Plot, StudyStyle, Working
from bptrace.writers.layout import Layout
from bptrace.writers.plot import MEETING, plot_lines

GAP = 3


def study_text(items: Iterable[Item], style: StudyStyle) -> str:
    """The page as one text."""
    return "".join(f"{line}\n" for line, _ in StudyText(style).toned(items))


class StudyText:
    """Writes the items of a study as lines, each with its tone."""

    def __init__(self, style: StudyStyle) -> None:
        self.style = style
        self.columns = style.columns
        self.layout = Layout(style.ascii_only)

    def toned(self, items: Iterable[Item]) -> Iterator[tuple[str, str]]:
        """The lines; a tone for titles, nothing else."""
        before: Item | None = None
        for item in items:
            if before is not None and not self._close(before, item):
                yield "", ""
            for k, line in enumerate(self.item(item)):
                yield self.layout.shown(line), "title" if k == 0 and isinstance(item, Title | Heading) else ""
            before = item

    def _close(self, before: Item, item: Item) -> bool:
        """Whether nothing stands between two items: a finding and what belongs to it."""
        if isinstance(item, Working):
            return True
        return isinstance(item, Note) and (item.level > 0 or (isinstance(before, Note) and before.level == 0))

    def item(self, item: Item) -> Iterator[str]:
        match item:
            case Title():
                room = self.columns - 1 - self.layout.width(item.text) - self.layout.width(item.place)
                if room >= 2:
                    yield f"{item.text}{' ' * room}{item.place}"
                else:
                    yield from self.layout.broken(item.text, self.columns, 0)
                    yield self.layout.right(item.place, self.columns - 1)
                yield from (line for text in item.lines for line in self.layout.broken(text, self.columns, 0))
            case Heading():
                yield f"{item.text} {'-' * (self.columns - self.layout.width(item.text) - 1)}"
            case Note():
                indent = 1 + 2 * item.level
                yield from self.layout.broken(" " * indent + item.text, self.columns, indent + 2)
            case Grid():
                yield from self.layout.broken(item.title, self.columns, 2) if item.title else ()
                yield from self._grid(item)
            case Plot():
                yield from self.layout.broken(item.title, self.columns, 2)
                yield f" {item.up}"
                lines = list(plot_lines(item, self.columns))
                yield from lines
                yield self.layout.right(item.across, min(self.columns - 1, 99))
                if any(MEETING in line for line in lines):
                    yield from self.layout.broken(f" {MEETING} {item.meeting}", self.columns, 3)
            case Working():
                yield from self._working(item)

    def _grid(self, grid: Grid) -> Iterator[str]:
        """The columns that fit, then the others, the first one repeated."""
        whole = [row for row in (grid.heads, *grid.rows) if len(row) > 1]
        widths = [max(self.layout.width(row[k]) for row in whole) for k in range(len(grid.heads))]
        for group in self._groups(widths):
            for row in (grid.heads, *grid.rows):
                if len(row) == 1:
                    yield from self.layout.broken(f" {row[0]}", self.columns, 3)
                    continue
                cells = [
                    self.layout.padded(row[k], widths[k]) if k in grid.words else self.layout.right(row[k], widths[k])
                    for k in group
                ]
                yield " " + (" " * GAP).join(cells)

    def _groups(self, widths: list[int]) -> Iterator[list[int]]:
        """Columns in groups of about one size, as few as the page is wide enough for."""
        others = list(range(1, len(widths)))
        for count in range(1, len(others) + 1):
            most = -(-len(others) // count)
            groups = [[0, *others[k : k + most]] for k in range(0, len(others), most)]
            if all(1 + sum(widths[k] for k in g) + GAP * (len(g) - 1) <= self.columns for g in groups) or most == 1:
                yield from groups
                return

    def _working(self, working: Working) -> Iterator[str]:
        lead = f"   {self.layout.padded(working.label, 3)}{working.name}"
        joined = lead + "".join(f" {sign} {text}" for sign, text in working.forms)
        indent = self.layout.width(lead)
        if self.layout.width(joined) <= self.columns:
            yield joined
            return
        for k, (sign, text) in enumerate(working.forms):
            start = lead if k == 0 else " " * indent
            yield from self.layout.broken(f"{start} {sign} {text}", self.columns, indent + 3)
