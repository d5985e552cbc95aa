"""What all optimizers have: the common fields, and how an update gets into the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bptrace.spec.base import Number, Strict

if TYPE_CHECKING:
    from bptrace.graph.graph import Graph
    from bptrace.graph.node import Node


class OptimizerSpec(Strict):
    """The fields of every optimizer."""

    type: str
    learning_rate: Number
    maximize: bool = False

    def settings(self, graph: Graph) -> dict[str, Node]:
        """Add the settings (η, β, ...) as leaves."""
        raise NotImplementedError

    def update(self, graph: Graph, settings: dict[str, Node], parameter: Node, gradient: Node) -> Node:
        """Add the update of one parameter and return its new value."""
        raise NotImplementedError
