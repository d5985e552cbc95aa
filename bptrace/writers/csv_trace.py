"""The trace as CSV: `iteration,id,index,value`, one line an element, numbers in full."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

from bptrace.graph.node import Shape
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
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    waiting = 1
    for iteration in trace.recorded if iterations is None else iterations:
        values = trace.values(iteration)
        for node in trace.assembly(iteration).graph.stored():
            for index, value in zip(_indices(node.shape), values.flat(node), strict=True):
                writer.writerow((iteration, node.id, index, number_text(value)))
                waiting += 1
                if waiting == CHUNK:
                    yield text.getvalue()
                    text.seek(0)
                    text.truncate()
                    waiting = 0
    yield text.getvalue()


def _indices(shape: Shape) -> Iterator[str]:
    """The indices of all elements, row by row."""
    return (",".join(map(str, index)) for index in product(*(range(1, extent + 1) for extent in shape)))
