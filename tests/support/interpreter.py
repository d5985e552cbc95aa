"""A plain interpreter of graphs: node after node through `op.compute`, nothing clever."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bptrace.build.assemble import Assembly, assemble
from bptrace.formula.evaluate import Decimals, Floats, evaluate
from bptrace.formula.expr import Expr, Ref
from bptrace.graph.graph import Graph
from bptrace.graph.node import Node
from bptrace.graph.op import formula_of
from bptrace.ops.leaves import Leaf
from bptrace.spec.load import Spec, load

Array = np.ndarray[Any, np.dtype[np.float64]]
Values = dict[Node, Array]

FILE_ROWS = 4
"""Rows of a data file that are computed with: more would only repeat the same formulas."""
NETWORKS = Path(__file__).parent.parent.parent / "networks"


def start(graph: Graph, tables: Mapping[str, Any] = {}, samples: Sequence[int] | None = None) -> Values:
    """The values of the leaves, before anything is computed."""
    values: Values = {}
    for node in graph.nodes:
        if not isinstance(node.op, Leaf):
            continue
        if node in graph.values:
            numbers: Iterable[float] = graph.values[node]
        else:
            table = tables[node.id if node.id in tables else "x"]  # `inputs: {q: data}` of a graph
            count = node.shape[node.axes.index("sample")] if "sample" in node.axes else len(table.rows)
            numbers = table.values(range(count) if samples is None else samples)
        values[node] = np.array(list(numbers), dtype=np.float64).reshape(node.shape)
    return values


def compute(nodes: Iterable[Node], values: Values) -> Values:
    """Compute every node that is no leaf, in order; the arrays in `values` are not changed."""
    with np.errstate(all="ignore"):
        for node in nodes:
            if not isinstance(node.op, Leaf):
                values[node] = np.asarray(node.op.compute(*(values[operand] for operand in node.inputs)))
                assert values[node].shape == node.shape, node
    return values


def run(graph: Graph, tables: Mapping[str, Any] = {}) -> Values:
    """The value of every node."""
    return compute(graph.nodes, start(graph, tables))


def places(node: Node) -> list[tuple[int, ...]]:
    return list(np.ndindex(*node.shape))


def formula(node: Node, place: tuple[int, ...], values: Values) -> Any:
    """The value of the formula of one element, in floats."""
    return value_of(formula_of(node, place), values)


def value_of(expr: Expr, values: Values, arithmetic: Any = None) -> Any:
    arithmetic = arithmetic or Floats()
    kind = Decimal if isinstance(arithmetic, Decimals) else float

    def lookup(ref: Ref) -> Any:
        return kind(float(values[ref.node][ref.index]))

    return evaluate(expr, lookup, arithmetic)


@dataclass
class Computed:
    """A network from YAML text or file, built and computed once."""

    spec: Spec
    assembly: Assembly
    values: Values

    @property
    def graph(self) -> Graph:
        return self.assembly.graph

    def __getitem__(self, id: str) -> Array:
        return self.values[self.graph.by_id[id]]

    def __contains__(self, id: str) -> bool:
        return id in self.graph.by_id

    def ids(self, prefix: str) -> list[str]:
        return [node.id for node in self.graph.nodes if node.id.startswith(prefix)]


def network(text: str | None = None, path: Path | None = None, **build: Any) -> Computed:
    spec = load(path) if path else load("test.yaml", text)
    assembly = assemble(spec, **build)
    if spec.source is not None:
        assembly = assemble(spec, min(assembly.samples, FILE_ROWS))
    return Computed(spec, assembly, run(assembly.graph, assembly.tables))


def inlined(path: Path) -> str:
    """The YAML of a network, with the first rows of its data file and its first masks in it."""
    spec, text = load(path), path.read_text(encoding="utf-8")
    if spec.source is None:
        return text
    document, made = yaml.safe_load(text), network(path=path)
    document["data"] = {table.kind: table.rows[:FILE_ROWS] for table in made.assembly.tables.values()}
    document.pop("training", None)  # of more rows than these
    for layer in document["layers"]:
        if layer["type"] == "dropout":
            layer["mask"] = made[f"{layer['name']}.mask"].tolist()
    return json.dumps(document)


def bundled() -> list[Path]:
    """The bundled networks that compute with all digits and update everything at once."""
    found = []
    for path in sorted(NETWORKS.glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        if "rounding:" not in text and "sequential}" not in text and "update_order: sequential" not in text:
            found.append(path)
    return found


def roundoff(objective: float, step: float = 1e-6) -> float:
    """What rounding may do to a difference quotient of values of this size."""
    return 2e-15 * abs(objective) / step


def numeric_gradient(objective: Any, array: Array, step: float = 1e-6) -> tuple[Array, Array]:
    """Central differences of a scalar by each element (changed in place and put back), and where the
    differences to both sides disagree: at a kink, or where there is no value."""
    slopes, kinks = np.zeros(array.shape), np.zeros(array.shape, dtype=bool)
    middle = objective()
    for place in np.ndindex(*array.shape):
        kept = float(array[place])
        h = step * max(1.0, abs(kept))
        array[place] = kept + h
        above = objective()
        array[place] = kept - h
        below = objective()
        array[place] = kept
        slopes[place] = (above - below) / (2 * h)
        right, left = (above - middle) / h, (middle - below) / h
        allowed = 0.01 * max(1.0, abs(slopes[place])) + roundoff(middle, step)
        kinks[place] = not abs(right - left) <= allowed
    return slopes, kinks
