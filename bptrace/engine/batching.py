"""Which nodes are computed together: alike, independent, and with their numbers in rank and file.

The gates of a time step, the local derivatives of all steps: nodes of their own on the page, but one
call of NumPy costs as much as their arithmetic. Two nodes of the same level do not depend on each
other; those with the same op become one kernel call over stacked arrays where their memory allows it
(`Layout` puts the time steps of a quantity one after the other).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from bptrace.engine.layout import likeness
from bptrace.graph.node import Node
from bptrace.graph.op import Op
from bptrace.ops.stacks import address, runs

if TYPE_CHECKING:
    from bptrace.graph.op import Array

STAGES = {"forward": 0, "loss": 0, "backward": 1, "check": 1}
"""What is computed after what; nodes of other phases stand behind these."""


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel to bind: an op, its operands, and where the result goes."""

    op: Op
    operands: tuple[Array, ...]
    out: Array
    parts: tuple[Step, ...] = ()

    def worth_it(self) -> bool:
        """Whether one elementwise call is quicker than one for each part: NumPy takes about as long again
        to walk over arrays with gaps."""
        gaps = not all(array.flags.c_contiguous for array in (self.out, *self.operands))
        return not (self.op.elementwise and gaps and 0 < len(self.parts) < 4)


def batched(nodes: Sequence[Node], views: Container[Node], arrays: Mapping[Node, Array]) -> Iterator[Step]:
    """The kernels of some nodes in an order in which they can run; those of `views` have none."""
    steps = {
        node: Step(node.op, tuple(arrays[operand] for operand in node.inputs), arrays[node])
        for node in nodes
        if node not in views
    }
    first = _first_levels(nodes, views)
    levels = _levels(nodes, views, first)
    groups: dict[tuple[object, ...], list[Node]] = {}
    for node in steps:
        groups.setdefault((levels[node], *likeness(node)), []).append(node)
    if len(groups) == len(steps):
        yield from steps.values()
        return
    yield from _merged(list(_ahead(steps, first)))
    for group in sorted(groups.values(), key=lambda group: levels[group[0]]):
        yield from _merged([steps[node] for node in group])


def _ahead(steps: dict[Node, Step], levels: Mapping[Node, int]) -> Iterator[Step]:
    """What time steps can compute from parameters and data alone, all before the first: the step of
    such a node becomes what remains."""
    for node, step in steps.items():
        ready = [levels.get(operand, 0) == 0 for operand in node.inputs]
        parts = node.op.ahead(ready) if node.step is not None and any(ready) else None
        if parts is not None:
            (now, first), (later, rest) = parts
            yield Step(now, tuple(step.operands[k] for k in first), step.out)
            steps[node] = Step(later, tuple(step.operands[k] for k in rest), step.out)


def _levels(nodes: Sequence[Node], views: Container[Node], first: Mapping[Node, int]) -> dict[Node, int]:
    """A level for each node above those of its operands: the first that it can have or the last that
    its readers allow, whichever it shares with more nodes like it.

    What only the backward pass reads waits for the end of the forward pass, so that the local
    derivatives of all time steps are on one level; what no later step reads waits for the end.
    """
    last = _last_levels(nodes, views, first, {})
    at_first = Counter((first[node], *likeness(node)) for node in nodes)
    at_last = Counter((last[node], *likeness(node)) for node in nodes)
    early = {
        node: first[node]
        for node in nodes
        if at_first[first[node], *likeness(node)] >= at_last[last[node], *likeness(node)]
    }
    return _last_levels(nodes, views, first, early)


def _first_levels(nodes: Iterable[Node], views: Container[Node]) -> dict[Node, int]:
    """How many computations each node has to wait for; a view is there with what it shows."""
    levels: dict[Node, int] = {}
    floor = [0, 0, 0]
    for node in nodes:
        stage = STAGES.get(node.phase, 2)
        level = max((levels.get(operand, 0) for operand in node.inputs), default=0)
        if node in views:
            levels[node] = level
            continue
        levels[node] = max(level + 1, floor[stage])
        for later in range(stage + 1, len(floor)):
            floor[later] = max(floor[later], levels[node] + 1)
    return levels


def _last_levels(
    nodes: Sequence[Node], views: Container[Node], first: Mapping[Node, int], chosen: Mapping[Node, int]
) -> dict[Node, int]:
    """The last level that the readers of each node allow, if it has not got the one `chosen` for it."""
    end = max(first.values(), default=0)
    levels: dict[Node, int] = {}
    limit: dict[Node, int] = {}
    for node in reversed(nodes):
        view = node in views
        levels[node] = limit.get(node, end) if view else chosen.get(node, limit.get(node, end))
        for operand in node.inputs:
            limit[operand] = min(limit.get(operand, end), levels[node] - (not view))
    return levels


def _merged(steps: list[Step]) -> list[Step]:
    """Steps of one level, those that can be made one by one call together."""
    if len(steps) > 1:
        steps = sorted(steps, key=lambda step: address(step.out))
        for _ in range(2):  # the gates of a time step, then the time steps
            steps = list(_stacked(steps))
    return [one for step in steps for one in ([step] if step.worth_it() else step.parts)]


def _stacked(steps: Sequence[Step]) -> Iterator[Step]:
    """Neighbours that are alike and stand at even distances as one."""
    for _, alike in groupby(steps, key=lambda step: (step.op, step.out.shape)):
        part = list(alike)
        for run in runs([(step.out, *step.operands) for step in part]):
            first = part[run.start]
            together = first.op.stacked(run.stacked[1:]) if run.stop > run.start + 1 else None
            if together is None:
                yield from part[run.start : run.stop]
                continue
            out, *operands = run.columns
            if together.elementwise:
                columns = zip(operands, run.stacked[1:], strict=True)
                operands = [beside(array, many, out.ndim) for array, many in columns]
            yield Step(together, tuple(operands), out, tuple(part[run.start : run.stop]))


def beside(array: Array, stacked: bool, rank: int) -> Array:
    """An operand of an elementwise op in step with results of a rank: what all share is repeated along
    the first axis, a number for each along the others."""
    array = array if stacked else array[None]
    return array[(..., *(None for _ in range(rank - array.ndim)))]
