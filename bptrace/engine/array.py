"""NumPy: a flat plan of kernel calls over one arena of float64.

Everything that a row records lies side by side in the arena, so recording an iteration is one copy.
The calls are bound once, by the ops, to views of the arena; nothing is looked up or allocated in the
loop. The arithmetic is IEEE's: infinities and NaN go on through the calls and are found afterwards.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from bptrace.engine.batching import batched
from bptrace.engine.layout import Layout, changing_nodes, families, is_table, state_leaves
from bptrace.engine.workspace import LINE, Workspace, aligned
from bptrace.errors import UsageError
from bptrace.graph.node import Node
from bptrace.graph.op import Call, Op

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly
    from bptrace.graph.op import Array

SMALL = 100_000
"""Numbers in a row below which threads cost more than they bring."""
LARGEST_ARENA = 8 << 30
"""Bytes that one iteration may need."""


def numpy_for(layout: Layout) -> Any:
    """NumPy; imported for a small network it is told not to start threads."""
    if "numpy" not in sys.modules and layout.size < SMALL:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import numpy

    return numpy


class ArrayEngine:
    """Runs iterations of one graph by NumPy; see `ScalarEngine` for what both promise.

    The nodes that are computed are those of the layout. `tables` holds data that engines of the same
    network share. Where rows do not hold everything, `whole` is the layout of those that do: numbers stand
    in memory as there, since NumPy may come to another last bit where they do not.
    """

    name = "array"

    def __init__(
        self,
        assembly: Assembly,
        layout: Layout,
        constant: Sequence[int] | None,
        tables: dict[str, Array] | None = None,
        whole: Layout | None = None,
    ) -> None:
        _refuse_too_large(layout)
        self.np = numpy_for(layout)
        self.layout = layout
        self._places = layout if whole is None else whole
        self.assembly = assembly
        graph = assembly.graph
        self._arena = aligned(self.np, (max(1, self._places.size),))
        self._arrays: dict[Node, Array] = {}
        self._fixed: list[Callable[[], Any]] = []
        self._calls: list[Callable[[], Any]] = []
        self._updates: list[Callable[[], Any]] = []
        self._tables: list[tuple[Array, Array]] = []
        self._known_tables = {} if tables is None else tables
        self._still: set[int] = set()  # the arrays that no iteration changes
        self._work = Workspace(self.np, self._arrange)
        self._bind_leaves(layout.nodes)
        self._bind_plan(layout.nodes, changing_nodes(assembly, constant is None))
        self._loss = self._places.offsets.get(graph.loss, -1) if graph.loss is not None else -1
        self._loaded: Sequence[int] | None = None
        if constant is not None:
            self._load(constant)
        with self.np.errstate(all="ignore"):
            for call in self._fixed:
                call()

    @property
    def state(self) -> Sequence[float]:
        """The leaves that change, as the layout orders them: a copy when read."""
        return self._arena[: self.layout.state_size].copy().data

    @state.setter
    def state(self, numbers: Sequence[float]) -> None:
        self._arena[: self.layout.state_size] = numbers

    def run(self, batches: Sequence[Sequence[int]], chunk: Any, start: int, losses: list[float | None]) -> None:
        """Run an iteration a batch; rows go to `chunk` from its number `start` on, or nowhere (None)."""
        calls, updates, size = self._calls, self._updates, self.layout.row
        rows = (
            None if chunk is None else self.np.frombuffer(chunk)[start : start + len(batches) * size].reshape(-1, size)
        )
        pieces = self._pieces()
        copy = self.np.copyto
        loss = None if self._loss < 0 else partial(self._arena.item, self._loss)
        with self.np.errstate(all="ignore"):
            for k, batch in enumerate(batches):
                if self._tables and batch is not self._loaded:
                    self._load(batch)
                for call in calls:
                    call()
                if rows is not None:
                    for places, numbers in pieces:
                        copy(rows[k, places], numbers)
                losses.append(loss() if loss else None)
                for call in updates:
                    call()

    def _pieces(self) -> list[tuple[slice, Array]]:
        """What a row takes from the arena, and where it stands there: neighbours together."""
        if self._places is self.layout:
            return [(slice(None), self._arena[: self.layout.size])]
        begin, runs = self.layout.begin, list[list[int]]()
        for node, place in self.layout.offsets.items():
            if place >= begin:
                here, there = place - begin, self._places.offsets[node]
                if runs and runs[-1][0] + runs[-1][2] == here and runs[-1][1] + runs[-1][2] == there:
                    runs[-1][2] += node.size
                else:
                    runs.append([here, there, node.size])
        return [(slice(row, row + size), self._arena[at : at + size]) for row, at, size in runs]

    def _load(self, batch: Sequence[int]) -> None:
        """Put the data of a batch into their leaves."""
        self._loaded = batch
        places = slice(batch.start, batch.stop) if isinstance(batch, range) else self.np.asarray(batch)
        for table, leaf in self._tables:
            leaf[...] = table[places].reshape(leaf.shape)

    # binding

    def _bind_leaves(self, chosen: list[Node]) -> None:
        graph = self.assembly.graph
        for node in chosen:
            values = graph.values.get(node)
            if node in graph.carry:
                self._arrays[node] = self._slot(node)
            elif is_table(self.assembly, node):
                table = self.assembly.tables[node.id]
                self._arrays[node] = aligned(self.np, node.shape)
                if node.id not in self._known_tables:
                    self._known_tables[node.id] = self.np.array(table.rows, dtype=float).reshape(len(table.rows), -1)
                rows = self._known_tables[node.id]
                leaf = self._arrays[node]
                leaf = leaf.reshape(-1, leaf.shape[-1]).T if table.columns else leaf.reshape(leaf.shape[0], -1)
                self._tables.append((rows, leaf))
            elif values is not None:
                self._arrays[node] = aligned(self.np, node.shape)
                self._arrays[node][...] = self.np.array(values, dtype=float).reshape(node.shape)

    def _slot(self, node: Node) -> Array:
        start = self._places.offsets[node]
        return self._arena[start : start + node.size].reshape(node.shape)

    def _bind_plan(self, chosen: list[Node], changing: set[Node]) -> None:
        carry = self.assembly.graph.carry
        leaves = [leaf for leaf in state_leaves(self.assembly.graph) if carry[leaf] in set(chosen)]
        targets = [carry[leaf] for leaf in leaves]
        read = {operand for node in chosen for operand in node.inputs}
        # a new state that nothing reads can wait until the row is recorded and then replace the old one
        late = {t for t in targets if t not in read and t not in self._arrays and targets.count(t) == 1}
        self._still = {id(array) for node, array in self._arrays.items() if node not in changing}
        views: set[Node] = set()
        apart = self._unrecorded(self._places.nodes)
        plan = [node for node in chosen if node not in self._arrays and node not in late]
        for node in plan:
            view = node.op.view(*self._operands(node)) if node.inline and node.inputs else None
            if view is not None:
                views.add(node)
            elif node in self._places.offsets:
                view = self._slot(node)
            else:
                view = apart[node]
            self._arrays[node] = view
            if node not in changing:
                self._still.add(id(view))
        for moves, calls in ((False, self._fixed), (True, self._calls)):
            part = [node for node in plan if (node in changing) == moves]
            for step in batched(part, views, self._arrays):
                calls += self._bound(step.op, list(step.operands), step.out)
        self._bind_updates(leaves, late)

    def _unrecorded(self, nodes: list[Node]) -> dict[Node, Array]:
        """Places for the nodes that no row has, those alike in rank and file too."""
        found: dict[Node, Array] = {}
        waiting = families([node for node in nodes if node not in self._places.offsets])
        numbers, start = aligned(self.np, (sum(node.size + LINE // 8 for node in waiting),)), 0
        for node in waiting:
            found[node] = numbers[start : start + node.size].reshape(node.shape)
            start += -(-node.size // (LINE // 8)) * (LINE // 8)
        return found

    def _operands(self, node: Node) -> list[Array]:
        return [self._arrays[operand] for operand in node.inputs]

    def _kernel(self, op: Op, operands: list[Array], out: Array) -> list[Call]:
        return list(op.bind(out, *operands, scratch=self._work.kernel()))

    def _arrange(self, source: Array, call: Call) -> None:
        """Copy an operand into another order: once if it never changes, else in every iteration."""
        (self._fixed if id(source) in self._still else self._calls).append(_callable(*call))

    # the new state

    def _bind_updates(self, leaves: list[Node], late: set[Node]) -> None:
        carry, copy = self.assembly.graph.carry, self.np.copyto
        moved: list[Callable[[], Any]] = []
        for leaf in leaves:
            target = carry[leaf]
            if target not in late:
                source = self._arrays[target]
                if target in self._places.offsets and not target.inputs:  # a leaf takes another leaf's value
                    source = source.copy()
                    self._updates.append(partial(copy, source, self._arrays[target]))
                moved.append(partial(copy, self._arrays[leaf], source))
        waiting = [leaf for leaf in leaves if carry[leaf] in late]
        merged = self._merged(waiting)
        groups = [merged] if merged else [(carry[x].op, self._operands(carry[x]), self._arrays[x]) for x in waiting]
        for k, (op, operands, leaf_array) in enumerate(groups):
            others = [operand for j, group in enumerate(groups) if j != k for operand in group[1]]
            alone = not any(self.np.may_share_memory(leaf_array, other) for other in others)
            if alone and self._safe_in_place(self._kernel(op, operands, leaf_array[...]), operands, leaf_array):
                out = leaf_array
            else:
                out = self.np.empty(leaf_array.shape)
                moved.append(partial(copy, leaf_array, out))
            self._updates += self._bound(op, operands, out)
        self._updates += moved

    def _bound(self, op: Op, operands: list[Array], out: Array) -> list[Callable[[], Any]]:
        return [_callable(*call) for call in self._kernel(op, operands, out)]

    def _safe_in_place(self, calls: list[Call], operands: list[Array], out: Array) -> bool:
        """Whether only the last call writes to `out`, and what it overwrites is read place by place."""
        share = self.np.may_share_memory
        if any(isinstance(function, partial) for function, _ in calls):
            return False
        for operand in operands:
            if share(operand, out) and (operand.ctypes.data != out.ctypes.data or operand.shape != out.shape):
                return False
        others = [x for _, arguments in calls[:-1] for x in arguments if isinstance(x, self.np.ndarray)]
        return all(any(x is operand for operand in operands) or not share(x, out) for x in others)

    def _merged(self, leaves: list[Node]) -> tuple[Op, list[Array], Array] | None:
        """One update of all parameters, where theirs are alike and their numbers lie side by side."""
        targets = [self.assembly.graph.carry[leaf] for leaf in leaves]
        if len(targets) < 2 or not targets[0].op.elementwise or any(t.op != targets[0].op for t in targets):
            return None
        out = self._side_by_side(leaves)
        operands: list[Array] = []
        for column in zip(*(target.inputs for target in targets), strict=True):
            if len(set(column)) == 1 and not column[0].shape:
                operands.append(self._arrays[column[0]])
                continue
            joined = self._side_by_side(list(column))
            if joined is None or any(n.shape != t.shape for n, t in zip(column, targets, strict=True)):
                return None
            operands.append(joined)
        return None if out is None else (targets[0].op, operands, out)

    def _side_by_side(self, nodes: list[Node]) -> Array | None:
        """The numbers of several nodes as one array, if the arena holds them one after the other."""
        offsets = self._places.offsets
        end = offsets.get(nodes[0], 0)
        for node in nodes:
            if offsets.get(node) != end:
                return None
            end += node.size
        return self._arena[offsets[nodes[0]] : end]


def _callable(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Callable[[], Any]:
    return partial(function, *arguments)


def _refuse_too_large(layout: Layout) -> None:
    """Refuse a graph whose numbers would not fit, before anything is allocated."""
    needed = 8 * sum(node.size for node in layout.nodes)
    if needed > LARGEST_ARENA:
        largest = max(layout.nodes, key=lambda node: node.size)
        raise UsageError(
            f"one iteration needs {needed:,} bytes, {8 * largest.size:,} of them for {largest.id} "
            f"{list(largest.shape)}; at most {LARGEST_ARENA:,}"
        )
