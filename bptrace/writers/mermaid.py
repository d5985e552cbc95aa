"""A network as a Mermaid flowchart, which GitHub draws in Markdown.

Ids are ours (`n1`), never a name: Mermaid takes `end` or `w₁` for syntax. Labels are quoted and
escaped as HTML. It refuses large pictures, and nobody reads them: above 100 edges there is none.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

from bptrace.formula.expr import Expr, Index, Product, Ref, children, refs
from bptrace.formula.text import symbols
from bptrace.graph.general import general
from bptrace.graph.node import Node
from bptrace.graph.op import formula_of
from bptrace.graph.sources import sources
from bptrace.report.notation import Notation

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly

MOST_EDGES = 100

Edge = tuple[str, str, str]
"""The ids of both ends, and a label."""


def flowchart(assembly: Assembly) -> str:
    """The operations of a graph network, or the units of a layered one; nothing where that is too much."""
    return _Layers(assembly).text() if assembly.titles else _operations(assembly)


def label(text: str) -> str:
    """A text as a quoted label: `#` and `"` are Mermaid's own, the rest is HTML."""
    escaped = html.escape(text.replace("#", "\0"), quote=False)
    return '"' + escaped.replace('"', "#quot;").replace("\0", "#35;") + '"'


def _drawn(lines: Sequence[str], edges: Sequence[Edge]) -> str:
    arrows = (f"  {a} -->|{label(text)}| {b}" if text else f"  {a} --> {b}" for a, b, text in edges)
    return "\n".join(["flowchart LR", *lines, *arrows]) + "\n"


# graph networks


def _operations(assembly: Assembly) -> str:
    """A box an operation with its formula, rounded ones for what is given."""
    nodes = [node for node in assembly.graph.stored() if node.phase in ("data", "parameter", "forward")]
    read = {operand for node in nodes for operand in sources(node)}
    nodes = [node for node in nodes if node.phase == "forward" or node in read]
    ids = {node: f"n{k}" for k, node in enumerate(nodes, 1)}
    edges = [(ids[operand], ids[node], "") for node in nodes for operand in sources(node) if operand in ids]
    if len(edges) > MOST_EDGES:
        return ""
    lines = []
    for node in nodes:
        if not node.inputs and node.op.name == "leaf":
            lines.append(f"  {ids[node]}([{label(node.id)}])")
        else:
            letters, expr = general(node)
            name = Notation(node.layer).element
            lines.append(f"  {ids[node]}[{label(f'{name(Ref(node, letters))} = {symbols(expr, name, general=True)}')}]")
    return _drawn(lines, edges)


# layered networks


class _TooManyError(Exception):
    """There are more edges than a picture can show."""


class _NoUnitsError(Exception):
    """A layer reads others for what is no unit of its output: a gate, a score."""


class _Layers:
    """A box a layer with its units, and an arrow a weight, by its name where it has one."""

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly
        graph = assembly.graph
        outputs = {name: graph.by_id.get(f"{name}.y") for name in assembly.titles}
        self.outputs = {name: node for name, node in outputs.items() if node and node.layer == name and not node.inline}
        self.ids: dict[tuple[str, Index], str] = {}

    def text(self) -> str:
        try:
            edges = list(self._edges())
        except _TooManyError:
            return self._boxes() if self._reads_images() else ""
        except _NoUnitsError:
            return self._boxes()
        lines: list[str] = []
        read = {group for group, _ in self.ids}
        for node in self.assembly.graph.nodes:
            if node.id in read and node.phase == "data":
                lines += self._group(node.id, node, node.id)
        for name, node in self.outputs.items():
            lines += self._group(name, node, self._title(name))
        return _drawn(lines, edges)

    def _reads_images(self) -> bool:
        """Whether some layer slides a window over channels, with the same weights at every place."""
        return any("channel" in node.axes for node in self.outputs.values())

    def _boxes(self) -> str:
        """A box a layer, where units alone would not tell what the layers read, or are too many."""
        self.ids.clear()
        edges: dict[Edge, None] = {}
        for node in self.assembly.graph.stored():
            if node.phase == "forward" and node.layer:
                for operand in sources(node):
                    if operand.phase in ("data", "forward") and operand.layer != node.layer:
                        edges[self._id(operand.layer or operand.id, ()), self._id(node.layer, ()), ""] = None
        lines = [f"  {id}[{label(self._title(group))}]" for (group, _), id in self.ids.items()]
        return _drawn(lines, list(edges)) if len(edges) <= MOST_EDGES else ""

    def _title(self, name: str) -> str:
        title = self.assembly.titles.get(name)
        if title is None:
            return name
        activation = title.get("activation", "identity")
        return f"{name}: {title['type']}" + (f", {activation}" if activation != "identity" else "")

    def _group(self, group: str, node: Node, title: str) -> Iterator[str]:
        yield f"  subgraph g{self._id(group, ())}[{label(title)}]"
        yield "    direction TB"
        for place in _places(node):
            yield f"    {self._id(group, place)}(({label(self._unit(group, node, place))}))"
        yield "  end"

    def _unit(self, group: str, node: Node, place: Index) -> str:
        """The name of a unit or an input: the user's, or its place."""
        names = self.assembly.unit_names.get(group, ()) if group in self.outputs else node.names
        flat = _places(node).index(place)
        return names[flat] if flat < len(names) else f"{group}[{','.join(str(k + 1) for k in place)}]"

    def _id(self, group: str, place: Index) -> str:
        return self.ids.setdefault((group, place), f"n{len(self.ids) + 1}")

    def _edges(self) -> Iterator[Edge]:
        """What each unit reads from other layers and from the data, for any one sample."""
        seen: set[tuple[str, str]] = set()
        for node in self.assembly.graph.stored():
            if node.phase != "forward" or not node.layer:
                continue
            if node.size > MOST_EDGES * self.assembly.samples:
                raise _TooManyError
            output = self.outputs.get(node.layer)
            for index in _elements(node):
                for source, text in self._read(formula_of(node, index), node.layer):
                    if output is None or node.shape != output.shape:
                        raise _NoUnitsError
                    target = self._id(node.layer, _without_sample(node, index))
                    if (source, target) not in seen:
                        seen.add((source, target))
                        yield source, target, text
                    if len(seen) > MOST_EDGES:
                        raise _TooManyError

    def _read(self, expr: Expr, layer: str, text: str = "") -> Iterator[tuple[str, str]]:
        """The units that a formula reads, each with the name of the weight beside it."""
        if isinstance(expr, Ref):
            node = expr.node
            if node.phase in ("data", "forward") and node.layer != layer:
                group = node.layer or node.id
                yield self._id(group, _without_sample(node, expr.index)), text
            return
        if isinstance(expr, Product):
            weights = [ref for ref in refs(expr) if ref.node.phase == "parameter" and ref.node.names]
            text = Notation(layer).element(weights[0]) if len(weights) == 1 else text
        for part in children(expr):
            yield from self._read(part, layer, text)


def _elements(node: Node) -> Iterator[Index]:
    """The indices of one sample's elements."""
    return product(*(range(1 if axis == "sample" else n) for n, axis in zip(node.shape, _axes(node), strict=True)))


def _places(node: Node) -> list[Index]:
    return [_without_sample(node, index) for index in _elements(node)]


def _without_sample(node: Node, index: Index) -> Index:
    return tuple(place for place, axis in zip(index, _axes(node), strict=True) if axis != "sample")


def _axes(node: Node) -> tuple[str, ...]:
    return node.axes if len(node.axes) == len(node.shape) else ("",) * len(node.shape)
