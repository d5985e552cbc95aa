"""From what a person types to a node and its elements: ids, aliases, the user's names, indices.

`h.W[1,2]`, `w5`, `grad.w5`, `new.b1`, `δ_o1`, `h.z[2]` (the sample is left out where there is one),
`out_h1[3]` (sample 3 of a unit, where there are several), `grad.h.a[1]/o.z` (what came back through o.z).
`find_part` also reads parts of formulas: `h.z[1]/2`, `grad.h.W[1,2]/sample2`, `grad.rnn.W[1,2]@2`.
"""

from __future__ import annotations

from dataclasses import dataclass

from bptrace.errors import nearest
from bptrace.formula.expr import Expr, Index, Ref, addends, flat
from bptrace.graph.graph import Graph
from bptrace.graph.node import Node
from bptrace.graph.op import formula_of
from bptrace.graph.shares import inside_of, of_sample, of_step

DERIVED = (
    "grad", "new", "local", "step", "clipped", "masked", "mask", "drawn", "fisher", "check", "m_hat", "v_hat",
    "upstream",
)  # fmt: skip
"""Prefixes of the ids of nodes that belong to another node."""


class LookupFailedError(LookupError):
    """Nothing has that name; `known` are names that exist."""

    def __init__(self, message: str, known: tuple[str, ...]) -> None:
        super().__init__(message)
        self.known = known


@dataclass(frozen=True)
class Part:
    """What a text names: elements of a node (flat indices), or an addend of each one's formula.

    `addend` counts the terms from 1; `sample` and `step` are the sample and the time step whose share it
    is, from 1.
    """

    node: Node
    elements: tuple[int, ...]
    addend: int | None = None
    sample: int | None = None
    step: int | None = None

    @property
    def label(self) -> str:
        """What stands after the id, if only a part is named: `/2`, `/sample2`, `@2`."""
        at = "" if self.step is None else f"@{self.step}"
        if self.addend is not None:
            return f"{at}/{self.addend}"
        return at if self.sample is None else f"{at}/sample{self.sample}"


def find(graph: Graph, text: str) -> tuple[Node, int | None]:
    """The node that `text` names, and the flat index of the element if it names one."""
    text = text.strip()
    if text in graph.by_id:
        return graph.by_id[text], None
    base, bracket, inside = text.rpartition("[")
    if bracket and inside.endswith("]"):
        return _indexed(graph, base, inside[:-1], text)
    if text in graph.element_ids:
        places = graph.element_ids[text]
        if len(places) == 1:
            node, place = places[0]
            return _with_samples(node, place)
        return places[0][0], None
    through = _through(graph, text)
    if through is not None:
        return through
    prefix = _prefix(text)
    if prefix:
        node, element = find(graph, text[len(prefix) + 1 :])
        derived = graph.by_id.get(f"{prefix}.{node.id}")
        if derived is not None:
            return derived, element
    known = tuple(name for name in (*graph.by_id, *graph.element_ids) if "~" not in name)  # inner ids are ours
    near = nearest(text, known)
    raise LookupFailedError(f"there is no '{text}'" + (f"; did you mean '{near}'?" if near else ""), known)


def find_part(graph: Graph, text: str) -> Part:
    """The elements that `text` names, or the addend of a formula.

    A unit's name stands for its elements of all samples.
    """
    text = text.strip()
    head, slash, tail = text.rpartition("/")
    sample = tail.removeprefix("sample")
    if slash and sample.isdecimal() and text not in graph.by_id:
        whole = find_part(graph, head)
        if whole.addend is not None or whole.sample is not None:
            raise LookupFailedError(f"'{text}': {head} is an addend already", ())
        number = int(sample)
        addend, of_one = (None, number) if sample != tail else (number, None)
        return _checked(Part(whole.node, whole.elements, addend, of_one, whole.step))
    at_step = _at_step(graph, text)
    if at_step is not None:
        return at_step
    node, element = find(graph, text)
    if element is not None:
        return Part(node, (element,))
    return Part(node, column(graph, text, node) or tuple(range(node.size)))


def _checked(part: Part) -> Part:
    """The part, if each of its elements has such an addend."""
    for place in part.elements:
        formula(part, place)
    return part


def _at_step(graph: Graph, text: str) -> Part | None:
    """One time step's share of a gradient, `grad.rnn.W@2`, which is no node of its own."""
    head, at, tail = text.rpartition("@")
    number, bracket, inside = tail.partition("[")
    if not at or not number.isdecimal():
        return None
    try:
        find(graph, text)
    except LookupFailedError:
        pass
    else:
        return None
    try:
        whole = find_part(graph, f"{head}{bracket}{inside}")
    except LookupFailedError:
        return None
    if whole.label or whole.node.phase != "backward":
        return None
    return _checked(Part(whole.node, whole.elements, step=int(number)))


def formula(part: Part, element: int) -> Expr:
    """The formula of one of the elements, or its addend."""
    index = index_of(part.node, element)
    whole = formula_of(part.node, index)
    if part.step is not None:
        share = of_step(whole, part.step)
        if share is None:
            said = f"nothing comes back to {part.node.id} from a time step {part.step}"
            raise LookupFailedError(said, ())
        whole = share
    if part.sample is not None:
        share, count = of_sample(whole, part.sample)
        if share is None:
            said = f"sums {count} samples, there is no sample {part.sample}" if count else "is no sum over samples"
            raise LookupFailedError(f"{part.node.id} {said}", ())
        return share
    if part.addend is None:
        return whole
    while isinstance(copied := flat(whole), Ref) and copied.node.inputs:
        whole = formula_of(copied.node, copied.index)
    terms = addends(inside_of(whole))
    if not 1 <= part.addend <= len(terms):
        counted = "1 addend" if len(terms) == 1 else f"{len(terms)} addends"
        raise LookupFailedError(f"{element_id(part.node, element)} has {counted}, no addend {part.addend}", ())
    return terms[part.addend - 1]


def index_of(node: Node, element: int) -> Index:
    """The index of the element that stands at a place, row by row."""
    index: list[int] = []
    for extent in reversed(node.shape):
        element, place = divmod(element, extent)
        index.append(place)
    return tuple(reversed(index))


def element_at(node: Node, index: Index) -> int:
    """Where the element of an index stands, row by row."""
    element = 0
    for place, extent in zip(index, node.shape, strict=True):
        element = element * extent + place
    return element


def element_id(node: Node, element: int) -> str:
    """The id of an element as it is typed: `h.z[2]`; the only sample is left out."""
    shown = [str(place + 1) for k, place in enumerate(index_of(node, element)) if not _only_sample(node, k)]
    return f"{node.id}[{','.join(shown)}]" if shown else node.id


def column(graph: Graph, text: str, node: Node) -> tuple[int, ...] | None:
    """The elements of a unit, one a sample, if `text` is a unit's name and there are several samples."""
    if text.strip() in graph.by_id or "sample" not in node.axes:
        return None
    name = text.strip()
    while name not in graph.element_ids and _prefix(name):
        name = name[len(_prefix(name)) + 1 :]
    named = graph.element_ids.get(name, [])
    if len(named) != 1:
        return None
    axis, rest = node.axes.index("sample"), named[0][1]
    index: list[int] = []
    for k, extent in reversed(list(enumerate(node.shape))):
        if k != axis:
            rest, place = divmod(rest, extent)
            index.insert(0, place)
    return tuple(element_at(node, (*index[:axis], sample, *index[axis:])) for sample in range(node.shape[axis]))


def _through(graph: Graph, text: str) -> tuple[Node, int | None] | None:
    """What came back to an element through a node: `grad.h.a[1]/o.z`."""
    head, slash, label = text.rpartition("/")
    if not slash:
        return None
    try:
        node, element = find(graph, head)
    except LookupFailedError:
        return None
    labels = [label] + ([graph.by_id[label].id] if label in graph.by_id else [])
    found = next((graph.by_id[id] for id in (f"{node.id}/{name}" for name in labels) if id in graph.by_id), None)
    return None if found is None else (found, element)


def _prefix(text: str) -> str:
    """The prefix of a derived id: `grad`, `new`, `local`, or two words as in `state.m`."""
    first, dot, rest = text.partition(".")
    if not dot:
        return ""
    if first in ("state", "new") and rest.startswith(("state.",)):
        return f"{first}.{'.'.join(rest.split('.')[:2])}"
    if first == "state":
        return f"{first}.{rest.split('.')[0]}"
    return first if first in DERIVED else ""


def _with_samples(node: Node, place: int) -> tuple[Node, int | None]:
    """A user's name means one element, or with several samples the column of it."""
    if node.axes and "sample" in node.axes and node.shape[node.axes.index("sample")] > 1:
        return node, None
    return node, place


def _only_sample(node: Node, axis: int) -> bool:
    return node.axes[axis : axis + 1] == ("sample",) and node.shape[axis] == 1


def _indexed(graph: Graph, base: str, inside: str, text: str) -> tuple[Node, int]:
    node, element = find(graph, base)
    if element is not None and node.size > 1:
        raise LookupFailedError(f"{base} is one element and takes no index", ())
    samples = column(graph, base, node)
    if samples is None or len(samples) == 1:
        return node, _element(node, inside, text)
    try:
        sample = int(inside)
    except ValueError:
        raise LookupFailedError(f"'{text}': {base} takes the number of a sample, such as [1]", ()) from None
    if not 1 <= sample <= len(samples):
        raise LookupFailedError(f"'{text}': there are samples 1 to {len(samples)}", ())
    return node, samples[sample - 1]


def _element(node: Node, inside: str, text: str) -> int:
    try:
        places = [int(part) for part in inside.split(",")]
    except ValueError:
        raise LookupFailedError(f"'{text}': an index is whole numbers from 1, such as [1,2]", ()) from None
    shape = node.shape
    if len(places) == len(shape) - 1 and "sample" in node.axes and shape[node.axes.index("sample")] == 1:
        places.insert(node.axes.index("sample"), 1)
    if len(places) == sum(extent > 1 for extent in shape):
        given = iter(places)  # as pages count places: an axis with one place may be left out
        places = [next(given) if extent > 1 else 1 for extent in shape]
    if len(places) != len(shape):
        raise LookupFailedError(f"'{text}': {node.id} has {len(shape)} axes {list(shape)}, not {len(places)}", ())
    for place, extent in zip(places, shape, strict=True):
        if not 1 <= place <= extent:
            raise LookupFailedError(f"'{text}': {node.id} has places 1 to {extent} there", ())
    return element_at(node, tuple(place - 1 for place in places))
