"""Where the gradient enters and leaves each layer, read from the graph and not from the layers' types.

A station is a layer, or one time step of a recurrent layer. What arrives is the gradient by its output;
on the way down the local derivative makes the deltas of it, and the weights pass these on to what the
station reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bptrace.graph.graph import Graph
from bptrace.graph.node import Node


@dataclass(frozen=True)
class Station:
    """A layer, or with `step` a time step of it.

    `output` is what the next one reads, `arriving` the gradient by it, `deltas` the gradients by the
    pre-activations, each with the factor that the conventions put on it. `leaving` holds for each
    quantity that the station reads the nodes that add up to the gradient by it, as far as it came
    through this station.
    """

    layer: str
    step: int | None
    output: Node
    arriving: Node | None
    deltas: tuple[tuple[Node, int], ...]
    leaving: tuple[tuple[Node, ...], ...]


def layer_names(graph: Graph) -> list[str]:
    """The layers in the order of the forward pass."""
    return list(dict.fromkeys(node.layer for node in graph.nodes if node.layer and node.phase == "forward"))


def stations(graph: Graph) -> list[Station]:
    """The layers that have an output, in the order of the forward pass."""
    found: list[Station] = []
    for layer in layer_names(graph):
        output = graph.by_id.get(f"{layer}.y")
        if output is None:
            continue
        inside = [node for node in graph.nodes if node.layer == layer and node.phase == "forward"]
        own = {node for node in graph.nodes if node.layer == layer}
        found.append(
            Station(layer, None, output, gradient(graph, output), _deltas(graph, own), _leaving(graph, inside, layer))
        )
    return found


def time_steps(graph: Graph) -> dict[str, list[Station]]:
    """The time steps of each state of each recurrent layer (`lstm.h`, `lstm.c`), in the order of computing.

    A state is what has a value before the first step: `lstm.h@0`.
    """
    found: dict[str, list[Station]] = {}
    for node in graph.nodes:
        family, at, _ = node.id.partition("@")
        if not at or not node.step or node.phase != "forward" or node.inline or f"{family}@0" not in graph.by_id:
            continue
        inside = [n for n in graph.nodes if n.layer == node.layer and n.step == node.step and n.phase == "forward"]
        inside = [n for n in inside if _direction(n) == _direction(node)]
        before = [s for s in _sources(inside) if s.id.partition("@")[0] == family]
        leaving = tuple(filter(None, (_through(graph, source, {*inside}) for source in before)))
        own = {n for n in graph.nodes if n.layer == node.layer and n.step == node.step}
        deltas = _deltas(graph, {n for n in own if _direction(n) == _direction(node)})
        station = Station(node.layer, node.step, node, gradient(graph, node), deltas, leaving)
        found.setdefault(family, []).append(station)
    return found


def slopes(graph: Graph) -> list[tuple[Node, Node]]:
    """The activations that gradients pass through, each with the node of its local derivative."""
    pairs = []
    for node in graph.nodes:
        local = graph.by_id.get(f"local.{node.id}")
        if node.layer and local is not None and local.phase == "backward" and local.size == node.size:
            pairs.append((node, local))
    return pairs


def gradient(graph: Graph, node: Node) -> Node | None:
    """The gradient by a node; where a fused delta went past it, that of its witness."""
    found = graph.by_id.get(f"grad.{node.id}")
    if found is None and node.delta is not None:
        found = graph.by_id.get(node.delta.id)
    return found


def _deltas(graph: Graph, own: Iterable[Node]) -> tuple[tuple[Node, int], ...]:
    factors = {node.delta.id: node.delta.factor for node in own if node.delta is not None}
    found = [graph.by_id[id] for id in factors if id in graph.by_id]
    return tuple((node, factors[node.id]) for node in found if node.id in factors)


def _leaving(graph: Graph, inside: list[Node], layer: str) -> tuple[tuple[Node, ...], ...]:
    # views of data that only this layer reads belong to it: the time steps of a sequence
    members = set(inside)
    members.update(node for node in _sources(inside) if node.inline and not node.layer)
    outside = [node for node in _sources(members) if node.layer != layer]
    return tuple(filter(None, (_through(graph, source, members) for source in outside)))


def _sources(inside: Iterable[Node]) -> list[Node]:
    """What nodes read that is none of them: neither parameters nor settings, which end here."""
    members = set(inside)
    found = (operand for node in inside for operand in node.inputs if operand not in members)
    return list(dict.fromkeys(node for node in found if node.phase in ("data", "forward")))


def _through(graph: Graph, source: Node, members: set[Node]) -> tuple[Node, ...]:
    """The nodes that add up to the gradient by `source` that came back through `members`."""
    prefix = f"grad.{source.id}/"
    shares = {node.id.removeprefix(prefix): node for node in graph.nodes if node.id.startswith(prefix)}
    if shares:
        return tuple(share for through, share in shares.items() if graph.by_id.get(through) in members)
    readers = [n for n in graph.nodes if source in n.inputs and n.phase in ("forward", "loss")]
    whole = graph.by_id.get(f"grad.{source.id}") or (graph.by_id.get(source.delta.id) if source.delta else None)
    return (whole,) if whole is not None and all(reader in members for reader in readers) else ()


def _direction(node: Node) -> bool:
    """Whether a node belongs to the second direction of a bidirectional layer."""
    return ".reverse." in node.id
