"""The trace as CSV: `iteration,id,index,value`, one line an element, numbers in full."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

from bptrace.graph.node import Node
from bptrace.writers.json_trace import number_text

if TYPE_CHECKING:
    from bptrace.trace import Trace

COLUMNS = ("iteration", "id", "index", "value")
CHUNK = 4096
"""Lines that are turned into text at once."""


def csv_trace(trace: Trace, iterations: Sequence[int] | None = None) -> Iterator[str]:
    """The numbers of some recorded iterations (of all where None), in chunks of whole lines.

    The index counts from 1, `1,2`, the sample's place included; that of a scalar is empty.
    """
    yield _line(COLUMNS)
    begun: dict[Node, list[str]] = {}
    lines: list[str] = []
    for iteration in trace.recorded if iterations is None else iterations:
        values = trace.values(iteration)
        for node in trace.assembly(iteration).graph.listed():
            starts: Iterable[str] = begun.get(node, ())
            if not starts:
                starts = _starts(node)
                if node.size <= CHUNK:
                    starts = begun[node] = list(starts)
            for start, value in zip(starts, values.flat(node), strict=True):
                lines.append(f"{iteration},{start}{number_text(value)}\n")
                if len(lines) == CHUNK:
                    yield "".join(lines)
                    lines.clear()
    yield "".join(lines)


def _starts(node: Node) -> Iterator[str]:
    """The id and the index of each element as they begin a line, row by row."""
    for index in product(*(range(1, extent + 1) for extent in node.shape)):
        yield _line((node.id, ",".join(map(str, index)), "")).rstrip("\n")


def _line(cells: Sequence[str]) -> str:
    """A line of CSV; what has a comma in it is quoted."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
