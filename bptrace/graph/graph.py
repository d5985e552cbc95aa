"""The graph: nodes in the order in which they are computed, and what changes between iterations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bptrace.graph.node import Node, Phase, Shape, Symbol
from bptrace.graph.op import Op
from bptrace.ops.leaves import Leaf


class Graph:
    """Forward pass, backward pass, update and checks of one network for one batch size.

    `values` holds the numbers of the leaves, row by row (of data leaves only those that every batch
    shares). `carry` says which node's value a leaf takes in the next iteration; nothing else
    changes between iterations. `views` are inline nodes that users know by their ids: a layer's output
    (`h.y`), a time step of a sequence (`x@2`), the step of an update.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.by_id: dict[str, Node] = {}
        self.values: dict[Node, list[float]] = {}
        self.carry: dict[Node, Node] = {}
        self.loss: Node | None = None
        self.outputs: list[Node] = []
        self.views: set[Node] = set()
        self.element_ids: dict[str, list[tuple[Node, int]]] = {}

    def add(
        self,
        id: str,
        op: Op,
        *inputs: Node,
        phase: Phase,
        symbol: Symbol,
        axes: Sequence[str] = (),
        names: Iterable[str] = (),
        **rest: Any,
    ) -> Node:
        """Append a node; its shape is worked out from the operands (ValueError if they do not fit)."""
        shape = op.shape(*(node.shape for node in inputs))
        return self.append(
            Node(id, op, inputs, shape, phase, symbol=symbol, axes=tuple(axes), names=tuple(names), **rest)
        )

    def leaf(
        self,
        id: str,
        shape: Shape,
        values: Sequence[float] | None,
        *,
        phase: Phase,
        symbol: Symbol,
        axes: Sequence[str] = (),
        names: Iterable[str] = (),
        **rest: Any,
    ) -> Node:
        """Append a leaf with its numbers, row by row (None: they change from batch to batch)."""
        node = Node(id, Leaf(), (), shape, phase, symbol=symbol, axes=tuple(axes), names=tuple(names), **rest)
        if values is not None:
            self.values[node] = list(values)
        return self.append(node)

    def append(self, node: Node) -> Node:
        if node.id in self.by_id:
            raise ValueError(f"there are two nodes with the id {node.id}")
        if not node.block:
            node.block = node.id
        self.nodes.append(node)
        self.by_id[node.id] = node
        for alias in node.aliases:
            self.by_id[alias] = node
        return node

    def alias(self, alias: str, node: Node) -> None:
        """Let `node` answer to another id too."""
        node.aliases.append(alias)
        self.by_id[alias] = node

    def name_elements(self, node: Node) -> None:
        """Let the elements of a node answer to the user's names (`w5`, `net_o1`)."""
        for k, name in enumerate(node.names):
            if name:
                self.element_ids.setdefault(name, []).append((node, k))

    def prune(self) -> None:
        """Drop inner nodes that nothing reads (their operation was adopted by a named node)."""
        read: set[Node] = set()
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if node.id.startswith("~") and node not in read:
                del self.by_id[node.id]
            else:
                kept.append(node)
                read.update(node.inputs)
        self.nodes[:] = reversed(kept)

    def stored(self) -> list[Node]:
        """The nodes whose values a trace keeps: all but the inline ones."""
        return [node for node in self.nodes if not node.inline]

    def listed(self) -> list[Node]:
        """The nodes of a trace file: the stored ones and the views."""
        return [node for node in self.nodes if not node.inline or node in self.views]

    def dependents(self, of: Iterable[Node]) -> set[Node]:
        """Every node that can be reached from `of`, these included."""
        reached = set(of)
        for node in self.nodes:
            if any(operand in reached for operand in node.inputs):
                reached.add(node)
        return reached

    def ancestors(self, of: Iterable[Node]) -> set[Node]:
        """Every node that `of` are computed from, these included."""
        found = set(of)
        for node in reversed(self.nodes):
            if node in found:
                found.update(node.inputs)
        return found
