"""A YAML of one layer for images run by both engines, and the numbers that PyTorch gives for it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from bptrace.build.assemble import assemble
from bptrace.engine.run import Run
from bptrace.graph.op import formula_of
from bptrace.network import Network
from bptrace.ops.leaves import Leaf
from bptrace.spec.load import load
from support.interpreter import places, start, value_of

Array = np.ndarray[Any, np.dtype[np.float64]]


def random(rng: np.random.Generator, *shape: int) -> Array:
    """Numbers with few digits, so that the YAML stays small."""
    return np.round(rng.uniform(-2, 2, shape), 3)


def document(x: Array, *layers: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"data": {"inputs": x.tolist()}, "layers": list(layers), **rest}


def traced(document: dict[str, Any]) -> Any:
    """The trace of a network given as a mapping."""
    from bptrace.trace import Trace

    made = Network(load("test.yaml", json.dumps(document)))
    return Trace(made, Run(made.spec.network, made.assembly, None, None, False))


def by_array_engine(document: dict[str, Any]) -> dict[str, Array]:
    """Every value, through the kernels as they are bound for the loop; twice, since nothing may be left over."""
    from bptrace.engine.array import ArrayEngine
    from bptrace.engine.layout import Layout, state_leaves

    assembly = assemble(load("test.yaml", json.dumps(document)))
    layout = Layout(assembly)
    samples = range(assembly.samples)
    engine = ArrayEngine(assembly, layout, samples)
    engine.state = [x for leaf in state_leaves(assembly.graph) for x in assembly.graph.values[leaf]]
    chunk = bytearray(2 * layout.bytes)
    engine.run([samples, samples], memoryview(chunk), 0, [])
    rows = np.frombuffer(chunk).reshape(2, -1)
    np.testing.assert_array_equal(rows[0], rows[1])
    found = {}
    for node in layout.offsets:
        found[node.id] = rows[0][layout.offsets[node] : layout.offsets[node] + node.size].reshape(node.shape)
    return found


def by_formula(document: dict[str, Any]) -> dict[str, Array]:
    """Every value, from the printed formulas alone."""
    assembly = assemble(load("test.yaml", json.dumps(document)))
    graph = assembly.graph
    values = start(graph, assembly.tables)
    for node in graph.nodes:
        if not isinstance(node.op, Leaf):
            made = np.zeros(node.shape)
            for place in places(node):
                made[place] = value_of(formula_of(node, place), values)
            values[node] = made
    return {node.id: values[node] for node in graph.nodes}
