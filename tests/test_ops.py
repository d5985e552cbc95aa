"""Every op, on its own samples: shape, kernel, formula, text. A new op is tested by being written."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from support.calculator import name, numbers, typed
from support.interpreter import Values, places, run, value_of
from support.ops import Case, all_cases, cases, every_class, every_op, leaves_of, tiny
from support.scratch import bound

from bptrace.engine.batching import beside
from bptrace.formula.evaluate import Decimals, Floats
from bptrace.formula.expr import Expr, Ref, refs, worked
from bptrace.formula.text import pieces, symbols
from bptrace.graph.graph import Graph
from bptrace.graph.op import Op, formula_of
from bptrace.ops import all_ops
from bptrace.ops.arithmetic import Pointwise
from bptrace.ops.losses import loss_terms
from bptrace.ops.reduction import Total
from bptrace.ops.selection import Take

CASES = all_cases()
SEEDS = range(3)


def each(cases: list[Case]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[case[0] for case in cases])


def close(found: float, expected: float, within: float = 1e-12) -> bool:
    """Equal to `within`, relative above 1; infinities and NaN must be the same."""
    if not math.isfinite(expected) or not math.isfinite(found):
        return found == expected or (math.isnan(found) and math.isnan(expected))
    return abs(found - expected) <= within * max(1.0, abs(expected))


def variants(case: Case) -> list[tuple[Op, tuple[Any, ...]]]:
    """The case and the same with other random operands."""
    label, op, arrays = case
    k = int(label.rsplit("-", 1)[1])
    return [(op, arrays), *(cases(type(op), seed)[k][1:] for seed in SEEDS[1:])]


# Enrolment


def unenrolled(op: type[Op]) -> str:
    """Why an op escapes the universal tests, or nothing."""
    if "name" not in vars(op):
        return "has no name of its own"
    if op.compute is Op.compute:
        return "" if op.shape is Op.shape and op.formula is Op.formula else "has no kernel"
    if not op.samples(random.Random(0)):
        return "has no samples"
    return ""


@pytest.mark.parametrize("op", [op for op in every_class() if not op.__subclasses__()], ids=lambda op: op.__name__)
def test_op_is_enrolled(op: type[Op]) -> None:
    assert not unenrolled(op), f"{op.__name__} {unenrolled(op)}"


def test_op_without_samples_is_noticed() -> None:
    @dataclass(frozen=True)
    class Forgotten(Pointwise):
        name = "forgotten"

        def compute(self, *arrays: Any) -> Any:
            return arrays[0]

    @dataclass(frozen=True)
    class Nameless(Take):
        pass

    assert unenrolled(Forgotten) == "has no samples"
    assert unenrolled(Nameless) == "has no name of its own"


def test_names_are_unique() -> None:
    names = [op.name for op in every_op()]
    assert sorted(set(names)) == names


def test_all_ops_finds_those_of_the_package() -> None:
    assert {op for op in every_op() if op.__module__.startswith("bptrace.ops.")} <= set(all_ops())


def test_samples_are_an_op_of_the_class() -> None:
    for op in every_op():
        for _, instance, arrays in cases(op):
            assert isinstance(instance, op)
            assert all(np.isfinite(array).all() for array in arrays), op.name
            hash(instance)  # frozen and interchangeable
            assert instance == type(instance)(**vars(instance))


# Shape, kernel, view


@each(CASES)
def test_shape_is_the_kernels(case: Case) -> None:
    for op, arrays in variants(case):
        shapes = tuple(array.shape for array in arrays)
        with np.errstate(all="ignore"):
            result = op.compute(*arrays)
        assert op.shape(*shapes) == np.shape(result)
        assert np.asarray(result).dtype == np.float64
        assert not any(np.shares_memory(result, array) for array in arrays), "compute returns a new array"


def _apart(array: Any) -> Any:
    """The same values in every second place of a larger array, filled with NaN between."""
    wide = np.full([2 * extent for extent in array.shape], np.nan)
    seconds = (..., *(slice(None, None, 2) for _ in array.shape))
    wide[seconds] = array
    return wide[seconds]


LAYOUTS: dict[str, Any] = {
    "contiguous": lambda array: array.copy(),
    "fortran": lambda array: np.array(array, order="F"),
    "apart": _apart,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@each(CASES)
def test_bind_is_compute(case: Case, layout: str) -> None:
    for op, arrays in variants(case):
        operands = tuple(LAYOUTS[layout](array) for array in arrays)
        with np.errstate(all="ignore"):
            expected = np.asarray(op.compute(*arrays))
            out = np.full(expected.shape, np.nan)
            calls = bound(op, out, operands)
            results = []
            for _ in range(2):
                for function, arguments in calls:
                    function(*arguments)
                results.append(out.copy())
            # other numbers in the same places: nothing was remembered from the first run
            for operand in operands:
                operand[...] = operand * 0.75
            for function, arguments in calls:
                function(*arguments)
            moved = np.asarray(op.compute(*operands))
            for operand, array in zip(operands, arrays, strict=True):
                np.testing.assert_array_equal(operand, array * 0.75, err_msg="operands are not changed")
        np.testing.assert_allclose(results[0], expected, rtol=1e-14, atol=1e-15)
        np.testing.assert_array_equal(results[0], results[1])
        np.testing.assert_allclose(out, moved, rtol=1e-13, atol=1e-15)


@each(CASES)
def test_stacked_is_compute(case: Case) -> None:
    """Two results in one call: of other operands each, or of one operand for both."""
    for op, arrays in variants(case):
        for shared in range(-1, len(arrays)):
            which = [k != shared for k in range(len(arrays))]
            together = op.stacked(which)
            if together is None or not arrays:
                continue
            others = [array * 0.75 if many else array for array, many in zip(arrays, which, strict=True)]
            stacks = [
                np.stack(pair) if many else pair[0]
                for pair, many in zip(zip(arrays, others, strict=True), which, strict=True)
            ]
            if op.elementwise:
                rank = 1 + max(array.ndim for array in arrays)
                stacks = [beside(stack, many, rank) for stack, many in zip(stacks, which, strict=True)]
            with np.errstate(all="ignore"):
                expected = np.stack([op.compute(*arrays), op.compute(*others)])
                out = np.full(expected.shape, np.nan)
                for function, arguments in bound(together, out, stacks):
                    function(*arguments)
            np.testing.assert_allclose(out, expected, rtol=1e-13, atol=1e-15)


@each(CASES)
def test_ahead_is_compute(case: Case) -> None:
    """A kernel cut in two gives the same, wherever it can be cut."""
    for op, arrays in variants(case):
        for ready in itertools.product((False, True), repeat=min(len(arrays), 6)):
            parts = op.ahead((*ready, *(False for _ in arrays[6:])))
            if parts is None:
                continue
            out = np.full(op.compute(*arrays).shape, np.nan)
            for part, chosen in parts:
                for function, arguments in bound(part, out, [arrays[k] for k in chosen]):
                    function(*arguments)
            np.testing.assert_allclose(out, op.compute(*arrays), rtol=1e-13, atol=1e-15)


@each(CASES)
def test_view_is_compute(case: Case) -> None:
    for op, arrays in variants(case):
        view = op.view(*arrays)
        if view is None:
            continue
        np.testing.assert_array_equal(view, op.compute(*arrays))
        assert view.shape == op.shape(*(array.shape for array in arrays))
        assert all(np.shares_memory(view, array) for array in arrays)


def test_op_refuses_what_does_not_fit() -> None:
    from bptrace.ops.contract import Contract
    from bptrace.ops.shaping import Concat, Expand, Reshape, Slice, Transpose

    for op, shapes in [
        (Pointwise(), ((2,), (3,))),
        (Contract(), ((3, 4), (2, 5))),
        (Contract(), ((3,), (2, 3))),
        (Contract("nk", "jk", "nj", "jn"), ((3, 4), (2, 4), (2, 3))),
        (Total((1,), ("",)), ((3,),)),
        (Take((3,)), ((3,),)),
        (Concat(1), ((2, 3), (3, 3))),
        (Expand((3, 2), (1,)), ((3,),)),
        (Expand((3, 2), (1, 0)), ((2, 3),)),
        (Reshape((2, 2)), ((3,),)),
        (Slice(0, 1, 4), ((3,),)),
        (Transpose((0, 0)), ((2, 3),)),
    ]:
        with pytest.raises(ValueError, match=r"\w"):
            op.shape(*shapes)


# Formula


def _elements(case: Case) -> Any:
    """(formula, lookup, kernel's value) of each element, for all variants of a case."""
    for op, arrays in variants(case):
        graph, _, node = tiny(op, arrays)
        values = run(graph)
        for place in places(node):
            yield formula_of(node, place), values, float(values[node][place])


@each(CASES)
def test_formula_in_floats_is_the_kernel(case: Case) -> None:
    for expr, values, expected in _elements(case):
        assert close(value_of(expr, values), expected), (expr, value_of(expr, values), expected)


@each(CASES)
def test_formula_in_decimals_is_the_kernel(case: Case) -> None:
    for expr, values, expected in _elements(case):
        found = value_of(expr, values, Decimals())
        assert isinstance(found, Decimal)
        assert close(float(found), expected), (expr, found, expected)


def text_is_true(expr: Expr, values: Values, expected: float) -> None:
    """The text with numbers, and the middle line, typed into a calculator give the value."""

    def lookup(ref: Ref) -> float:
        return float(values[ref.node][ref.index])

    line = numbers(expr, lookup, Floats())
    assert close(typed(line), expected), (line, typed(line), expected)
    middle = numbers(worked(expr), lookup, Floats())
    assert close(typed(middle), expected), (middle, typed(middle), expected)
    assert symbols(expr, name)


@each(CASES)
def test_text_typed_into_a_calculator_gives_the_value(case: Case) -> None:
    for expr, values, expected in _elements(case):
        text_is_true(expr, values, expected)


@each(CASES)
def test_general_formula_can_be_written(case: Case) -> None:
    _, op, arrays = case
    _, _, node = tiny(op, arrays)
    letters = tuple("nijmpqr"[: len(node.shape)])
    expr = formula_of(node, letters)
    assert pieces(expr, general=True)
    assert symbols(expr, name, general=True)


@each(CASES)
def test_formula_reads_only_the_operands(case: Case) -> None:
    _, op, arrays = case
    _, leaves, node = tiny(op, arrays)
    for place in places(node):
        for ref in refs(formula_of(node, place)):
            assert ref.node in leaves
            assert len(ref.index) == len(ref.node.shape)
            assert all(0 <= i < extent for i, extent in zip(ref.index, ref.node.shape, strict=True))


@each([case for case in CASES if len(case[2]) > 1])
def test_inline_operands_are_written_out(case: Case) -> None:
    """An operand that is an inline node (here -(-x)) takes its formula's place in the text."""
    from bptrace.graph.node import Own
    from bptrace.ops.arithmetic import Scale

    _, op, arrays = case
    graph = Graph()
    leaves = leaves_of(graph, arrays)
    inline = [
        graph.add(f"i{k}", Scale(Fraction(-1)), graph.add(
            f"j{k}", Scale(Fraction(-1)), leaf, phase="forward", symbol=Own("j")
        ), phase="forward", symbol=Own("i"), inline=True)
        for k, leaf in enumerate(leaves)
    ]  # fmt: skip
    node = graph.add("f", op, *inline, phase="forward", symbol=Own("f"))
    values = run(graph)
    for place in places(node):
        expr = formula_of(node, place)
        assert not any(ref.node in inline for ref in refs(expr))
        assert close(value_of(expr, values), float(values[node][place]))
        text_is_true(expr, values, float(values[node][place]))


# Edges of losses: where 0·ln 0 is 0, at equal values, at thresholds

LOSS_EDGES: dict[str, list[tuple[float, float]]] = {
    "real": [(1.0, 1.0), (1.0, 2.0), (2.0, 1.0), (1.0, 3.5), (3.5, 1.0), (0.0, 0.0), (-20.0, 1.0)],
    "sign": [(1.0, 1.0), (-1.0, -1.0), (1.0, 0.0), (-1.0, 3.0), (1.0, 3.0)],
    "probability": [(0.0, 0.5), (1.0, 0.5), (1.0, 1e-9), (0.5, 1e-9), (0.0, 1e-9), (1.0, 1 - 1e-9)],
}


@pytest.mark.parametrize("loss", loss_terms(), ids=lambda loss: loss.name)
def test_loss_at_its_edges(loss: Any) -> None:
    from bptrace.ops.losses import LossSlope

    t, y = (np.array(column) for column in zip(*LOSS_EDGES[loss.labels], strict=True))
    for op in (loss(), LossSlope(loss())):
        graph, _, node = tiny(op, (t, y))
        values = run(graph)
        for place in places(node):
            expr, expected = formula_of(node, place), float(values[node][place])
            assert math.isfinite(expected)
            # 1 - 1e-9 has seven digits left: -ln of it and quotients by it agree to those
            assert close(value_of(expr, values), expected, 1e-12), (place, t, y)
            text_is_true(expr, values, expected)


@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy"])
def test_zero_times_ln_of_zero_is_zero(name: str) -> None:
    (loss,) = (loss for loss in loss_terms() if loss.name == name)
    graph, _, node = tiny(loss(), (np.array([0.0, 1.0]), np.array([0.0, 1.0])))
    values = run(graph)
    for place in places(node):
        assert values[node][place] == 0.0
        assert value_of(formula_of(node, place), values) == 0.0


def test_stable_kernels_where_the_textbook_form_overflows() -> None:
    from bptrace.ops import activations, losses, softmax

    far = np.array([-1000.0, 0.0, 1000.0])
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(activations.Sigmoid().compute(far), [0.0, 0.5, 1.0])
        np.testing.assert_allclose(activations.Softplus().compute(far), [0.0, math.log(2), 1000.0])
        np.testing.assert_allclose(activations.Swish().compute(far), [0.0, 0.0, 1000.0])
        np.testing.assert_allclose(softmax.Softmax().compute(far), [0.0, 0.0, 1.0])
        np.testing.assert_allclose(softmax.LogSoftmax().compute(far), [-2000.0, -1000.0, 0.0])
        zero = np.zeros(3)
        bce = losses.BinaryCrossEntropyWithLogits().compute(zero, far)
        np.testing.assert_allclose(bce, [0.0, math.log(2), 1000.0])
        np.testing.assert_allclose(losses.LogCosh().compute(zero, far), [1000 - math.log(2), 0, 1000 - math.log(2)])
        ce = losses.CrossEntropyWithLogits().compute(np.array([1.0, 0.0, 0.0]), far)
        np.testing.assert_allclose(ce, [2000.0, 0.0, 0.0])
