"""Every op of the package with the operands on which it is tried."""

from __future__ import annotations

import importlib
import pkgutil
import random
from collections.abc import Iterator
from typing import Any

import numpy as np

import bptrace
from bptrace.graph.graph import Graph
from bptrace.graph.node import Node, Own
from bptrace.graph.op import Op
from bptrace.ops import all_ops
from bptrace.ops.activations import Slope, Unary

PACKAGES = ("ops", "graph", "layers", "optimizers", "rules")
"""Where ops may be defined."""

Array = np.ndarray[Any, np.dtype[np.float64]]
Case = tuple[str, Op, tuple[Array, ...]]

FAR = [-30.0, -8.0, -1e-3, -1e-8, 1e-8, 1e-3, 8.0, 30.0]
"""Arguments for the functions of one real number, besides those of their samples."""


def below(cls: type[Op]) -> Iterator[type[Op]]:
    """A class and all its subclasses."""
    yield cls
    for subclass in cls.__subclasses__():
        yield from below(subclass)


def every_class() -> list[type[Op]]:
    """Every class of ops of the package, bases included."""
    for module in pkgutil.walk_packages(bptrace.__path__, "bptrace."):
        if module.name.split(".")[1] in PACKAGES:
            importlib.import_module(module.name)
    found = {op for op in below(Op) if op.__module__.startswith("bptrace.") and op is not Op}
    return sorted(found | set(all_ops()), key=lambda op: (op.name, op.__qualname__))


def every_op() -> list[type[Op]]:
    """Every op that can be computed; not the bases (no name) and not the leaves (values that are given)."""
    return [op for op in every_class() if op.name and op.compute is not Op.compute]


def differentiable(op: type[Op]) -> bool:
    """Whether a derivative can pass through; the others only occur in derivatives and updates."""
    return op.vjp is not Op.vjp


def cases(op: type[Op], seed: int = 0) -> list[Case]:
    """An op on its own samples and, for functions of any real number, far from 0 and close to it."""
    found = list(op.samples(random.Random(seed)))
    if issubclass(op, Unary) and _for_all_reals(op):
        found.append((op(), (FAR,)))
    if op is Slope:
        for function in below(Unary):
            if function.name and _for_all_reals(function):
                z = np.array(FAR)
                a = np.asarray(function().compute(z))
                found.append((Slope(function()), {"z": (z,), "a": (a,), "za": (z, a)}[function.reads]))
    return [
        (f"{op.name}-{k}", instance, tuple(np.array(operand, dtype=np.float64) for operand in operands))
        for k, (instance, operands) in enumerate(found)
    ]


def _for_all_reals(function: type[Unary]) -> bool:
    return function.samples.__func__ is Unary.samples.__func__  # type: ignore[attr-defined]


def all_cases(only: Any = lambda op: True) -> list[Case]:
    return [case for op in every_op() if only(op) for case in cases(op)]


def leaves_of(graph: Graph, arrays: tuple[Array, ...], phase: Any = "data") -> list[Node]:
    """A leaf for each array, `x0`, `x1`, ..."""
    return [
        graph.leaf(f"x{k}", array.shape, array.ravel().tolist(), phase=phase, symbol=Own(f"x{k}"))
        for k, array in enumerate(arrays)
    ]


def tiny(op: Op, arrays: tuple[Array, ...], phase: Any = "data", **rest: Any) -> tuple[Graph, list[Node], Node]:
    """A graph of one operation: its leaves and its node `f`."""
    graph = Graph()
    leaves = leaves_of(graph, arrays, phase)
    return graph, leaves, graph.add("f", op, *leaves, phase="forward", symbol=Own("f"), **rest)
