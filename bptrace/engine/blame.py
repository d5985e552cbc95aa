"""Where a run went wrong: the first number that is none, its formula with numbers, what helps."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, isnan

from bptrace.engine.values import Values, index_at
from bptrace.errors import RunError
from bptrace.formula.text import symbols
from bptrace.graph.node import Node
from bptrace.graph.op import formula_of

LONGEST_FORMULA = 300


def not_finite(values: Values, iteration: int) -> RunError | None:
    """The error of an iteration that holds NaN or an infinity outside its checks."""
    found = first_not_finite(values)
    if found is None:
        return None
    node, k = found
    return RunError(_message(values, node, k, values.flat(node)[k], iteration))


def first_not_finite(values: Values) -> tuple[Node, int] | None:
    """The first node, in the order of computing, and its first element that is NaN or infinite."""
    for node in values.assembly.graph.nodes:
        if node.inline or node.op.infinite or node.phase in ("check", "data", "setting"):
            continue
        for k, value in enumerate(values.flat(node)):
            if not isfinite(value):
                return node, k
    return None


def _message(values: Values, node: Node, k: int, value: float, iteration: int) -> str:
    index = index_at(node.shape, k)
    place = f"[{','.join(str(i + 1) for i in index)}]" if index else ""
    name = node.names[k] if k < len(node.names) else ""
    said = "not a number (NaN)" if isnan(value) else f"{'-' if value < 0 else ''}infinite"
    parts = [f"iteration {iteration}: {node.id}{place}{f' ({name})' if name else ''} is {said}"]
    if node.inputs:
        parts.append(f"= {_formula(values, node, index)}")
    return f"{' '.join(parts)}; {_advice(node, bool(values.assembly.graph.carry))}"


def _formula(values: Values, node: Node, index: Sequence[int]) -> str:
    text = symbols(formula_of(node, tuple(index)), lambda ref: f"{float(values.number(ref)):.9g}")
    return text if len(text) <= LONGEST_FORMULA else text[: LONGEST_FORMULA - 2] + " …"


def _advice(node: Node, trained: bool) -> str:
    if not trained:
        return "a division by 0, a logarithm of 0 or an exp of a large number; other inputs usually help"
    if node.phase == "loss":
        return "a smaller learning rate, or a loss 'with_logits' (no logarithm of an output of 0), usually helps"
    return "the numbers have grown beyond float64; a smaller learning rate usually helps"
