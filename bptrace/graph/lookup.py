"""From what a person types to a node and an element: ids, aliases, the user's names, indices.

`h.W[1,2]`, `w5`, `grad.w5`, `new.b1`, `δ_o1`, `h.z[2]` (the sample is left out where there is one).
"""

from __future__ import annotations

from bptrace.errors import nearest
from bptrace.graph.graph import Graph
from bptrace.graph.node import Node


class LookupFailedError(LookupError):
    """Nothing has that name; `known` are names that exist."""

    def __init__(self, message: str, known: tuple[str, ...]) -> None:
        super().__init__(message)
        self.known = known


def find(graph: Graph, text: str) -> tuple[Node, int | None]:
    """The node that `text` names, and the flat index of the element if it names one."""
    text = text.strip()
    base, bracket, rest = text.partition("[")
    if bracket and rest.endswith("]"):
        node, element = find(graph, base)
        if element is not None and node.size > 1:
            raise LookupFailedError(f"{base} is one element and takes no index", ())
        return node, _element(node, rest[:-1], text)
    if text in graph.by_id:
        return graph.by_id[text], None
    if text in graph.element_ids:
        places = graph.element_ids[text]
        if len(places) == 1:
            node, place = places[0]
            return _with_samples(node, place)
        return places[0][0], None
    prefix = _prefix(text)
    if prefix:
        node, element = find(graph, text[len(prefix) + 1 :])
        derived = graph.by_id.get(f"{prefix}.{node.id}")
        if derived is not None:
            return derived, element
    known = tuple(graph.by_id) + tuple(graph.element_ids)
    near = nearest(text, [name for name in known if not name.startswith("~")])
    raise LookupFailedError(f"there is no '{text}'" + (f"; did you mean '{near}'?" if near else ""), known)


def _prefix(text: str) -> str:
    """The prefix of a derived id: `grad`, `new`, `local`, or two words as in `state.m`."""
    first, dot, rest = text.partition(".")
    if not dot:
        return ""
    if first in ("state", "new") and rest.startswith(("state.",)):
        return f"{first}.{'.'.join(rest.split('.')[:2])}"
    if first == "state":
        return f"{first}.{rest.split('.')[0]}"
    return first if first in ("grad", "new", "local", "step", "clipped", "check", "m_hat", "v_hat", "upstream") else ""


def _with_samples(node: Node, place: int) -> tuple[Node, int | None]:
    """A user's name means one element, or with several samples the column of it."""
    if node.axes and "sample" in node.axes and node.shape[node.axes.index("sample")] > 1:
        return node, None
    return node, place


def _element(node: Node, inside: str, text: str) -> int:
    try:
        places = [int(part) for part in inside.split(",")]
    except ValueError:
        raise LookupFailedError(f"'{text}': an index is whole numbers from 1, such as [1,2]", ()) from None
    shape = node.shape
    if len(places) == len(shape) - 1 and "sample" in node.axes and shape[node.axes.index("sample")] == 1:
        places.insert(node.axes.index("sample"), 1)
    if len(places) != len(shape):
        raise LookupFailedError(f"'{text}': {node.id} has {len(shape)} axes {list(shape)}, not {len(places)}", ())
    flat = 0
    for place, extent in zip(places, shape, strict=True):
        if not 1 <= place <= extent:
            raise LookupFailedError(f"'{text}': {node.id} has places 1 to {extent} there", ())
        flat = flat * extent + place - 1
    return flat
