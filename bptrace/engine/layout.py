"""Which numbers of an iteration are kept, and where they stand in its row.

A row holds the state (the leaves that change, as they are before the update) and everything that is
computed from it. It leaves out what is known anyway: data (the sample numbers are kept), constant
leaves, inline nodes (their formula is worked out when asked for), and the new state, which is the
next row's state.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from itertools import groupby
from typing import TYPE_CHECKING

from bptrace.graph.graph import Graph
from bptrace.graph.node import Node
from bptrace.ops.leaves import Leaf

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly
    from bptrace.engine.recording import Recording

NUMBER_BYTES = 8
TIME_STEP = re.compile(r"@\d+")
"""The part of an id that says at which time step."""


class Layout:
    """The order of the numbers in a row: state, gradients in the state's order, the rest, checks.

    The gradients stand in the order of the state so that one update can run over all parameters at
    once. Nodes of the phase `check` and masked scores come last, since only they may hold NaN or
    infinities (`checked` is where they begin). `after` says where the state holds the new value of a node.

    `nodes` are those that are computed, all where None. With `kept` only these are recorded: they
    stand last, side by side, and the row is what begins at `begin`.
    """

    def __init__(
        self, assembly: Assembly, nodes: Iterable[Node] | None = None, kept: Collection[Node] | None = None
    ) -> None:
        graph = assembly.graph
        self.nodes = graph.nodes if nodes is None else list(nodes)
        self.node_set = set(self.nodes)
        leaves = state_leaves(graph)
        self.assembly = assembly
        self.offsets: dict[Node, int] = {}
        self.after: dict[Node, int] = {}
        self.size = 0
        for leaf in leaves:
            self.after.setdefault(graph.carry[leaf], self.size)
            self._place(leaf)
        self.state_size = self.size
        targets = {graph.carry[leaf] for leaf in leaves}
        computed = [
            node for node in self.nodes if not (node.inline or isinstance(node.op, Leaf)) and node not in targets
        ]
        computed = families(computed)
        gradients = [node for node in update_operands(graph, leaves) if node in set(computed)]
        later: Collection[Node] = () if kept is None else kept
        for node in gradients + [node for node in computed if not _may_be_infinite(node)]:
            if node not in later:
                self._place(node)
        self.checked = self.size
        for node in computed:
            if node not in later:
                self._place(node)
        self.begin = 0 if kept is None else self.size
        for node in computed:
            self._place(node)

    def _place(self, node: Node) -> None:
        if node not in self.offsets:
            self.offsets[node] = self.size
            self.size += node.size

    @property
    def row(self) -> int:
        """The numbers of one row."""
        return self.size - self.begin

    @property
    def bytes(self) -> int:
        """The memory of one row."""
        return self.row * NUMBER_BYTES


def _may_be_infinite(node: Node) -> bool:
    return node.phase == "check" or node.op.infinite


def families(nodes: list[Node]) -> list[Node]:
    """Nodes of time steps next to each other, so that one call can compute or add up many of them: all
    steps of a quantity that is summed over time, of the others the nodes alike of one step after the
    other (its gates)."""
    over_time = {
        operand
        for node in nodes
        for kind in (list(group) for _, group in groupby(sorted(node.inputs, key=_quantity), key=_quantity))
        if len(kind) > 1
        for operand in kind
    }
    found: dict[object, list[Node]] = {}
    for node in nodes:
        alike = _quantity(node) if node in over_time else (likeness(node), node.phase) if node.step else node
        found.setdefault(alike, []).append(node)
    return [node for family in found.values() for node in sorted(family, key=lambda node: node.step or 0)]


def _quantity(node: Node) -> str:
    return TIME_STEP.sub("", node.id)


def likeness(node: Node) -> tuple[object, ...]:
    """What nodes that one kernel can compute together have in common."""
    return (node.op, node.shape, tuple(operand.shape for operand in node.inputs))


def state_leaves(graph: Graph) -> list[Node]:
    """The leaves that change between iterations, in an order that no batch size changes."""
    return [node for node in graph.nodes if node in graph.carry]


def update_operands(graph: Graph, leaves: list[Node]) -> list[Node]:
    """What the updates of `leaves` read, operand by operand: with plain descent the gradients."""
    targets = [graph.carry[leaf] for leaf in leaves]
    found: list[Node] = []
    for place in range(max((len(target.inputs) for target in targets), default=0)):
        for leaf, target in zip(leaves, targets, strict=True):
            if place < len(target.inputs) and target.inputs[place].shape == leaf.shape:
                found.append(target.inputs[place])
    return [node for node in dict.fromkeys(found) if not isinstance(node.op, Leaf) and node not in targets]


def changing_nodes(assembly: Assembly, batches: bool) -> set[Node]:
    """The nodes whose values may differ between iterations; the others are computed once.

    With `batches`, data differ too.
    """
    graph = assembly.graph
    sources = state_leaves(graph)
    if batches:
        sources += [node for node in graph.nodes if is_table(assembly, node)]
    return graph.dependents(sources)


def is_table(assembly: Assembly, node: Node) -> bool:
    """Whether a node is a leaf that takes the data of a batch."""
    return isinstance(node.op, Leaf) and node not in assembly.graph.values and node.id in assembly.tables


def needed_nodes(graph: Graph, kept: Collection[Node]) -> list[Node]:
    """What has to be computed for the nodes kept and for the next state."""
    found: set[Node] = set()
    waiting = [*kept, *graph.carry, *graph.carry.values()]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend(node.inputs)
    return [node for node in graph.nodes if node in found]


def lean_nodes(assembly: Assembly, gradients: bool) -> set[Node]:
    """The activations, the deltas and the loss; of expressions, those that have names. With `gradients`
    those by the parameters too."""
    graph = assembly.graph
    kept = {graph.loss} if graph.loss is not None else set()
    for node in graph.nodes:
        names = (node.id, *node.aliases)
        activation = node.phase == "forward" and (not node.layer or any(name.endswith(".y") for name in names))
        delta = node.phase == "backward" and any(name.endswith(".delta") for name in names)
        if activation or delta:
            kept.add(node)
    if gradients:
        kept |= {graph.by_id[f"grad.{leaf.id}"] for leaf in assembly.trainable if f"grad.{leaf.id}" in graph.by_id}
    return {node for node in kept if not (node.inline or isinstance(node.op, Leaf)) and node not in graph.carry}


def outline(assembly: Assembly, recording: Recording, gradients: bool) -> Layout:
    """What a row holds where it does not hold everything: by the policy `lean` activations, deltas and
    the loss, by `replay` the loss. `gradients` are those that a stop rule looks at.

    With time steps all nodes are computed, since which of them one kernel takes together depends on
    which there are, and the last bit of a number on that.
    """
    kept = lean_nodes(assembly, gradients)
    loss = assembly.graph.loss
    if recording.policy == "replay" and loss in kept:
        activations = lean_nodes(assembly, False) - {loss}
        kept -= activations
    stepped = any(node.step is not None for node in assembly.graph.nodes)
    return Layout(assembly, None if stepped else needed_nodes(assembly.graph, kept), kept)


def forward_nodes(graph: Graph) -> list[Node]:
    """The nodes of the forward pass and the loss: what the final pass computes."""
    return [node for node in graph.nodes if node.phase in ("forward", "loss") or isinstance(node.op, Leaf)]
