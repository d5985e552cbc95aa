"""The numbers of one iteration, for any node, stored or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from bptrace.formula.evaluate import Arithmetic, Floats, evaluate
from bptrace.formula.expr import Index, Ref
from bptrace.graph.node import Node, Shape
from bptrace.graph.op import formula_of
from bptrace.ops.shaping import Reshape

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly
    from bptrace.engine.layout import Layout

Number = Any
"""A float, in paper mode a Decimal, in exact mode a Fraction."""


class Numbers:
    """A kind of number: how one that the YAML gives is read, which arithmetic it has, and how the
    value of a line is finished (paper mode rounds it)."""

    name = "float64"

    def __init__(
        self,
        arithmetic: Arithmetic | None = None,
        given: Callable[[float], Number] | None = None,
        finish: Callable[[Number], Number] | None = None,
    ) -> None:
        self.arithmetic: Arithmetic = arithmetic or Floats()
        self.given = given
        self.finish = finish


FLOATS = Numbers()


class Values:
    """The numbers of one iteration.

    `row` holds what the layout keeps and `after` the state that the update leaves behind. Anything
    else is found where it is kept once (data, constants) or worked out by its formula, so that with
    a row of the state alone this is a third way to compute a graph, by nothing but its formulas.
    """

    def __init__(
        self,
        layout: Layout,
        samples: Sequence[int],
        row: Sequence[Number],
        after: Sequence[Number] | None = None,
        numbers: Numbers = FLOATS,
        *,
        known: int | None = None,
    ) -> None:
        self.assembly: Assembly = layout.assembly
        self.samples = samples
        self.numbers = numbers
        self._layout = layout
        self._row = row
        self._after = after
        self._known = len(row) if known is None else known
        self._flat: dict[Node, Sequence[Number]] = {}

    def flat(self, node: Node) -> Sequence[Number]:
        """All numbers of a node, row by row."""
        found = self._flat.get(node)
        if found is None:
            found = self._flat[node] = self._find(node)
        return found

    def number(self, ref: Ref) -> Number:
        """The number of one element."""
        return self.flat(ref.node)[position(ref.node.shape, ref.index)]

    def _find(self, node: Node) -> Sequence[Number]:
        layout = self._layout
        offset = layout.offsets.get(node)
        if offset is not None and offset < self._known:
            return self._row[offset : offset + node.size]
        if node in layout.after and self._after is not None:
            start = layout.after[node]
            return self._after[start : start + node.size]
        given = self.assembly.graph.values.get(node)
        if given is None and not node.inputs and node.id in self.assembly.tables:
            given = self.assembly.tables[node.id].values(self.samples)
        if given is not None:
            read = self.numbers.given
            return [read(x) for x in given] if read else given
        if node.inline and isinstance(node.op, Reshape):
            return self.flat(node.inputs[0])
        return self.computed(node)

    def computed(self, node: Node) -> list[Number]:
        """The numbers of a node by its formula."""
        return [self.element(node, index) for index in indices(node.shape)]

    def element(self, node: Node, index: Index) -> Number:
        """One number of a node by its formula; an inline node is no line, so it is not finished."""
        value = evaluate(formula_of(node, index), self.number, self.numbers.arithmetic)
        finish = self.numbers.finish
        return finish(value) if finish and not (node.inline or node.op.given) else value


def indices(shape: Shape) -> Iterator[Index]:
    """Every element's index, row by row."""
    return product(*map(range, shape))


def position(shape: Shape, index: Index) -> int:
    """Where an element stands among all, row by row."""
    flat = 0
    for place, extent in zip(index, shape, strict=True):
        flat = flat * extent + place
    return flat


def index_at(shape: Shape, flat: int) -> Index:
    """The index of the element that stands at `flat`, row by row."""
    index: list[int] = []
    for extent in reversed(shape):
        flat, place = divmod(flat, extent)
        index.append(place)
    return tuple(reversed(index))


def nested(flat: Sequence[Number], shape: Shape) -> Any:
    """Numbers in the shape of their node: a number, a list, a list of lists, ..."""
    if not shape:
        return flat[0]
    if len(shape) == 1:
        return list(flat)
    step = len(flat) // shape[0] if shape[0] else 0
    return [nested(flat[k * step : (k + 1) * step], shape[1:]) for k in range(shape[0])]
