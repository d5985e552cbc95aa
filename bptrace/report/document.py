"""A whole document: the pages of the iterations asked for, one after the other, then the result.

Items come one page at a time, so that a trace of any length can be written in bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bptrace.report.blocks import Block, Heading
from bptrace.report.numbers import Numbers
from bptrace.report.options import Options
from bptrace.report.page import Page
from bptrace.report.sections import Section, conventions, data_and_parameters, result, title

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly
    from bptrace.trace import Trace

Item = Section | Heading | Block


@dataclass(frozen=True)
class PageOf:
    """The items of one iteration with its numbers; `iteration` is 0 for the result."""

    iteration: int
    items: list[Item]
    numbers: Numbers
    page: Page


class Document:
    """The pages of a trace. `digits` None shows all digits."""

    def __init__(self, trace: Trace, options: Options, digits: int | None = 9) -> None:
        self.trace = trace
        self.options = options
        self.digits = digits
        self._pages: dict[int, Page] = {}

    def page(self, assembly: Assembly) -> Page:
        """The page of a graph, made once."""
        key = id(assembly)
        if key not in self._pages:
            self._pages[key] = Page(self.trace.spec.network, assembly, self.options)
        return self._pages[key]

    def pages(self, iterations: list[int]) -> Iterator[PageOf]:
        """One page an iteration; the result last, unless only a part was asked for."""
        trace = self.trace
        partial = bool(self.options.only or self.options.phase)
        for k, iteration in enumerate(iterations):
            page = self.page(trace.assembly(iteration))
            numbers = page.numbers(trace, iteration, self.digits)
            items: list[Item] = [title(trace, page.words, iteration, k == 0)]
            if k == 0 and not partial:
                items.append(conventions(page, self.digits, trace.exact))
            # parameters stand where no page before has worked them out
            unseen = k == 0 or iterations[k - 1] != iteration - 1
            if not partial and (unseen or page.assembly.samples < _rows(page.assembly)):
                items.append(data_and_parameters(page, numbers, parameters=unseen))
            items.extend(page.items)
            yield PageOf(iteration, items, numbers, page)
        if not partial and trace.count:
            page = self.page(trace.assembly(trace.recorded[-1]))
            closing = result(trace, page, self.digits)
            if closing is not None:
                yield PageOf(0, [closing], page.final_numbers(trace, self.digits), page)


def _rows(assembly: Assembly) -> int:
    return next((len(table.rows) for table in assembly.tables.values()), 0)
