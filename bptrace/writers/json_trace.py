"""The trace as JSON: every number in full precision, every formula as text.

Written as a stream of chunks, one iteration after the other, so that a long trace needs no more
memory than one iteration of it. `json_text` writes any report of ours with the same numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from bptrace.formula.expr import Expr, Ref, Sum, children
from bptrace.formula.text import symbols
from bptrace.graph.general import general
from bptrace.graph.node import Node, Own
from bptrace.graph.op import formula_of
from bptrace.graph.sources import sources
from bptrace.report.notation import Notation, indices

if TYPE_CHECKING:
    from bptrace.graph.graph import Graph
    from bptrace.trace import Trace, Values

FORMAT = "bptrace-trace"
VERSION = 1
MOST_ELEMENTS = 1000
"""Elements of a node up to which each has its formula written out ..."""
MOST_TERMS = 100
"""... if none of these has more terms."""
CHUNK = 4096
"""Numbers that are turned into text at once."""
MOST_DIGITS = 4300
"""Digits of a whole number that readers of JSON take (Python's limit); longer ones are strings."""

_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode
_encode_ascii = json.JSONEncoder(allow_nan=False).encode


def json_trace(trace: Trace, iterations: Sequence[int] | None = None, *, ascii_only: bool = False) -> Iterator[str]:
    """The trace with the numbers of some of its recorded iterations (of all where None), in chunks.

    With `ascii_only` other characters are escaped, for outputs that cannot show them.
    """
    chosen = trace.recorded if iterations is None else iterations
    encode = _encode_ascii if ascii_only else _encode
    yield f'{{"format": {encode(FORMAT)}, "version": {VERSION}, "name": {encode(trace.network.name)},\n'
    yield f' "engine": {encode(dict(trace.engine))},\n "conventions": {encode(conventions(trace))},\n'
    about = data_entry(trace)
    if about:
        yield f' "data": {encode(about)},\n'
    yield ' "nodes": ['
    for k, (node, names) in enumerate(_nodes(trace, chosen)):
        yield f"{',' if k else ''}\n  {encode(node_entry(node, names))}"
    yield '\n ],\n "iterations": ['
    for k, iteration in enumerate(chosen):
        yield f"{',' if k else ''}\n"
        yield from _iteration(trace, iteration, encode)
    yield "\n ],\n"
    yield from _final(trace, encode)
    yield from _metrics(trace)
    yield "}\n"


# numbers


def number_text(value: Any) -> str:
    """A number in full: floats shortest round trip, decimals with their digits, fractions as 7/12."""
    if type(value) is float and value - value == 0:
        return repr(value)
    if isinstance(value, Fraction):
        whole = _whole_text(value.numerator)
        return whole if value.denominator == 1 else f"{whole}/{_whole_text(value.denominator)}"
    if isinstance(value, Decimal):
        short = value.is_finite() and (not value or -12 < value.adjusted() < 21)
        return f"{value:f}" if short else str(value)
    if value - value != 0:
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return float.__repr__(value) if isinstance(value, float) else str(value)


def json_number(value: Any) -> str:
    """A number as JSON: what is no JSON number (7/12, NaN, infinities) is a string."""
    text = number_text(value)
    plain = text[-1].isdigit() and "/" not in text and (isinstance(value, float) or len(text) <= MOST_DIGITS)
    return text if plain else f'"{text}"'


def json_text(value: Any, *, ascii_only: bool = False) -> str:
    """Any report as JSON, on one line: mappings, lists, texts, and numbers of every kind."""
    encode = _encode_ascii if ascii_only else _encode
    try:
        return encode(value)
    except (TypeError, ValueError):  # fractions or decimals; NaN or infinities
        pass
    if isinstance(value, Mapping):
        pairs = (f"{encode(str(key))}: {json_text(item, ascii_only=ascii_only)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(json_text(item, ascii_only=ascii_only) for item in value)}]"
    return json_number(value)


def _whole_text(value: int) -> str:
    return str(value) if value.bit_length() < 3 * MOST_DIGITS else str(Decimal(value))


def _array(numbers: Sequence[Any], shape: Sequence[int]) -> Iterator[str]:
    """Numbers in the shape of their node, many of them in several chunks."""
    if len(numbers) <= CHUNK:
        yield _small_array(list(numbers), shape)
    elif len(shape) == 1:
        for start in range(0, len(numbers), CHUNK):
            part = list(numbers[start : start + CHUNK])
            yield f"{', ' if start else '['}{_small_array(part, (len(part),))[1:-1]}"
        yield "]"
    else:
        step = len(numbers) // shape[0]
        for k in range(shape[0]):
            yield ", " if k else "["
            yield from _array(numbers[k * step : (k + 1) * step], shape[1:])
        yield "]"


def _small_array(numbers: list[Any], shape: Sequence[int]) -> str:
    array: Any = numbers
    for extent in reversed(shape[1:]):
        array = [array[k : k + extent] for k in range(0, len(array), extent)]
    if not shape:
        array = numbers[0]
    if numbers and type(numbers[0]) is float:
        text = repr(array)  # what JSON wants, and the quickest way to it, if there is no nan or inf
        if "n" not in text:
            return text
    return json_text(array)


# conventions and nodes


def data_entry(trace: Trace) -> dict[str, Any]:
    """Where the data are from and what was done with their rows; nothing where they stand in the YAML as
    they are used. Rows count from 1."""
    assembly, data = trace.final_assembly, trace.spec.network.data
    made = assembly.data
    found: dict[str, Any] = {}
    if made.source is not None:
        found = {"file": made.source.file, "rows": len(next(iter(made.tables.values())).rows)}
        if made.source.classes:
            found["classes"] = {column: list(classes) for column, classes in made.source.classes.items()}
        if made.source.divisor != 1:
            found["divisor"] = made.source.divisor
    if data is not None and (data.split is not None or data.folds is not None):
        parts = ("training", "validation", "test")
        found["parts"] = {part: [n + 1 for n in getattr(made.parts, part)] for part in parts}
    if made.filled:
        found["filled"] = {column: {"cells": count, "value": x} for column, (count, x) in made.filled.items()}
    scaled = {table.name: table for table in assembly.tables.values() if table.scaling is not None}
    if scaled:
        found["scaling"] = {
            name: {"kind": table.scaling.kind, "columns": list(table.labels), **table.scaling.constants}
            for name, table in scaled.items()
            if table.scaling is not None
        }
    return found


def conventions(trace: Trace) -> dict[str, Any]:
    """Every convention as it was used; under `layers` those that a layer sets for itself."""
    network = trace.spec.network
    found: dict[str, Any] = network.conventions.model_dump(mode="json")
    own: dict[str, dict[str, Any]] = {}
    for name, layer in trace.final_assembly.layers.items():
        set_here = {key: getattr(layer, key, None) for key in found}
        if any(value is not None for value in set_here.values()):
            own[name] = {key: value for key, value in set_here.items() if value is not None}
    return {**found, "layers": own} if own else found


def _nodes(trace: Trace, iterations: Sequence[int]) -> Iterator[tuple[Node, Names]]:
    """The stored nodes of all iterations. Batches of different sizes have a graph each, and nearly
    always the same nodes: shapes and formulas are those of the first."""
    seen: set[str] = set()
    graphs: list[Graph] = []
    for graph in (trace.assembly(i).graph for i in iterations) if iterations else [trace.final_assembly.graph]:
        if not any(graph is known for known in graphs):
            graphs.append(graph)
            names = Names(graph)
            yield from ((node, names) for node in graph.listed() if node.id not in seen)
            seen.update(node.id for node in graph.listed())


def node_entry(node: Node, names: Names) -> dict[str, Any]:
    """What is known of a node before any number."""
    entry: dict[str, Any] = {
        "id": node.id,
        "aliases": list(node.aliases),
        "phase": node.phase,
        "layer": node.layer,
        "symbol": Notation(node.layer).array(node),
        "shape": list(node.shape),
        "names": list(node.names),
        "op": "affine" if node.op.name == "contract" and len(node.inputs) == 3 else node.op.name,
        "inputs": [operand.id for operand in sources(node)],
        "block": node.block,
    }
    if node.op.name != "leaf":
        name = names.seen_from(node)
        letters, expr = general(node)
        entry["formula"] = f"{name(Ref(node, letters))} = {_spaced(expr, name, True)}"
        formulas = _formulas(node, name)
        if formulas is not None:
            entry["formulas"] = formulas
    return entry


def _formulas(node: Node, name: Callable[[Ref], str]) -> list[str] | None:
    """The formula of each element, row by row; none of a node that is too large."""
    if node.size > MOST_ELEMENTS:
        return None
    found: list[str] = []
    for index in indices(node.shape):
        expr = formula_of(node, index)
        if _terms(expr, MOST_TERMS) > MOST_TERMS:
            return None
        found.append(_spaced(expr, name, False))
    return found


def _terms(expr: Expr, most: int) -> int:
    """The terms of the longest sum of a formula, counted up to `most`."""
    if not isinstance(expr, Sum):
        return max((_terms(part, most) for part in children(expr)), default=1)
    if len(expr.terms) > most:
        return len(expr.terms)
    count = 0
    for term in expr.terms:
        count += _terms(term, most)
        if count > most:
            break
    return count


def _spaced(expr: Expr, name: Callable[[Ref], str], in_general: bool) -> str:
    """A formula as text; a product is spaced after a symbol that has a slash of its own."""

    def marked(ref: Ref) -> str:
        text = name(ref)
        return f"{text}\0" if "/" in text else text

    return symbols(expr, marked, in_general).replace("\0·", " · ").replace("\0", "")


class Names:
    """The page's names of elements, where they say which node is meant.

    The page has one symbol for the loss and its parts, which stand together there; here a part goes
    by its id.
    """

    def __init__(self, graph: Graph) -> None:
        self._owners = {
            node.symbol.array: node
            for node in graph.nodes
            if node.phase == "loss" and isinstance(node.symbol, Own) and not node.inline
        }

    def seen_from(self, node: Node) -> Callable[[Ref], str]:
        """The names of elements in the formulas of `node`."""
        notation = Notation(node.layer)

        def name(ref: Ref) -> str:
            symbol = ref.node.symbol
            if ref.node.phase == "setting":
                return notation.one(ref.node)
            text = notation.element(ref)
            if ref.node.phase == "loss" and isinstance(symbol, Own) and self._owners[symbol.array] is not ref.node:
                index = text.removeprefix(symbol.array)
                return text if index and not index.startswith("[") else ref.node.id + index
            return text

        return name


# iterations


def _iteration(trace: Trace, iteration: int, encode: Callable[[Any], str]) -> Iterator[str]:
    values = trace.values(iteration)
    graph = trace.assembly(iteration).graph
    samples = encode(trace.samples(iteration))
    text = f'  {{"iteration": {iteration}, "epoch": {trace.epoch(iteration)}, "samples": {samples}, '
    text += f'"loss": {_loss(values, graph.loss)},\n   "values": {{'
    for k, node in enumerate(graph.listed()):
        text += f"{',' if k else ''}\n    {encode(node.id)}: "
        for part in _array(values.flat(node), node.shape):
            text += part
            if len(text) > CHUNK:
                yield text
                text = ""
    yield text + "}}"


def _loss(values: Values, loss: Node | None) -> str:
    return "null" if loss is None else json_number(values.flat(loss)[0])


def _final(trace: Trace, encode: Callable[[Any], str]) -> Iterator[str]:
    """The loss, outputs and parameters after the last update."""
    values, graph = trace.final_values, trace.final_assembly.graph
    outputs = list(zip(trace.final["outputs"], graph.outputs, strict=True))
    parameters = [(node.id, node) for node in graph.nodes if node.phase == "parameter"]
    yield f' "final": {{"loss": {_loss(values, graph.loss)}'
    for heading, pairs in (("outputs", outputs), ("parameters", parameters)):
        yield f',\n  "{heading}": {{'
        for k, (id, node) in enumerate(pairs):
            yield f"{', ' if k else ''}{encode(id)}: "
            yield from _array(values.flat(node), node.shape)
        yield "}"
    yield "}"


def _metrics(trace: Trace) -> Iterator[str]:
    """The metrics of each epoch, where there are any: `epoch`, `iteration`, and a list for each of a part's."""
    if trace.metrics is not None:
        yield f',\n "metrics": {json_text({**trace.metrics, "constants": trace.metric_constants})}'
