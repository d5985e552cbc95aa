"""A whole document: the pages of the iterations asked for, one after the other, then the result.

Items come one page at a time, so that a trace of any length can be written in bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bptrace.report.blocks import Block, Heading
from bptrace.report.conventions import conventions
from bptrace.report.given import data_and_parameters
from bptrace.report.metrics import metrics_sections
from bptrace.report.numbers import Numbers
from bptrace.report.options import Options
from bptrace.report.page import Page
from bptrace.report.result import result
from bptrace.report.sections import Section, Title, iteration_ranges, title

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly
    from bptrace.trace import Trace

Item = Section | Heading | Block


@dataclass(frozen=True)
class PageOf:
    """The items of one iteration with its numbers; `iteration` is 0 for the result, and for what comes
    before training."""

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
        if not partial and iterations[:1] == [1]:
            yield from self._before_training()
        iterations, same = self._different(iterations)
        for k, iteration in enumerate(iterations):
            page = self.page(trace.assembly(iteration))
            numbers = page.numbers(trace, iteration, self.digits)
            items: list[Item] = [title(trace, page.words, iteration, k == 0)]
            if k == 0 and same and isinstance(items[0], Title):
                items[0].lines.append(page.words("same_numbers", iterations=iteration_ranges(same)))
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
            found: list[Item] = [closing] if closing is not None else []
            found += metrics_sections(trace, page.words, page.final_numbers(trace, self.digits))
            if found:
                yield PageOf(0, found, page.final_numbers(trace, self.digits), page)

    def _before_training(self) -> Iterator[PageOf]:
        """The first and the last sample of the pass that a mask from the Fisher information comes from."""
        trace = self.trace.fisher_pass
        if trace is None:
            return
        document = Document(trace, self.options, self.digits)
        for k in dict.fromkeys((1, trace.count)):
            page = document.page(trace.assembly(k))
            numbers = page.numbers(trace, k, self.digits)
            lines = [page.words("fisher_pass_said")] if k == 1 else []
            items: list[Item] = [Title(self.trace.network.name, page.words("fisher_pass", i=k, n=trace.count), lines)]
            items += [data_and_parameters(page, numbers, parameters=k == 1), *page.items]
            yield PageOf(0, items, numbers, page)

    def _different(self, iterations: list[int]) -> tuple[list[int], list[int]]:
        """The iterations to print, and those with the same numbers as the first: where nothing is
        updated, a second page would say nothing new."""
        trace = self.trace
        if len(iterations) < 2 or trace.assembly(iterations[0]).graph.carry:
            return iterations, []
        first, *others = iterations
        same = [k for k in others if self._alike(first, k)]
        return [k for k in iterations if k not in same], same

    def _alike(self, one: int, other: int) -> bool:
        trace = self.trace
        graph = trace.assembly(one).graph
        if trace.assembly(other).graph is not graph or trace.samples(one) != trace.samples(other):
            return False
        before, after = trace.values(one), trace.values(other)
        return all(list(before.flat(node)) == list(after.flat(node)) for node in graph.nodes if node.size)


def _rows(assembly: Assembly) -> int:
    return len(assembly.parts.training) if assembly.tables else 0
