"""Every op's vjp and jvp against finite differences and against each other, through the real drivers."""

from __future__ import annotations

import importlib
import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from support.derivatives import pulled_back, pushed_forward
from support.interpreter import bundled, network, numeric_gradient, places, roundoff, run
from support.ops import Case, all_cases, below, differentiable, every_op, tiny

from bptrace.graph.graph import Graph
from bptrace.graph.node import Own
from bptrace.graph.op import Op
from bptrace.graph.reverse import Reverse
from bptrace.layers import LAYERS
from bptrace.ops.arithmetic import Multiply, copy_of
from bptrace.ops.contract import Contract
from bptrace.ops.leaves import Leaf
from bptrace.ops.reduction import Extreme
from bptrace.ops.selection import Larger

STOPS = ("hold", "drawn", "at_least", "sinusoid")
"""Ops that pass no derivative on although their result depends on their operands."""

CASES = all_cases(differentiable)
BINARY = [
    case
    for case in CASES
    if len(case[2]) == 2
    and case[2][0].shape == case[2][1].shape
    and pulled_back(case[1], case[2], Fraction(1))[0] is not None
]  # fmt: skip


def each(cases: list[Case]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[case[0] for case in cases])


def random_like(shape: tuple[int, ...], seed: int) -> Any:
    return np.random.default_rng(seed).uniform(-2.0, 2.0, shape)


# Which ops have derivatives


def test_both_modes_or_neither() -> None:
    for op in every_op():
        assert (op.vjp is Op.vjp) == (op.jvp is Op.jvp), op.name


def _emitted(case: Case) -> set[type[Op]]:
    """The ops in a backward pass and in a tangent pass of an op."""
    _, op, arrays = case
    graph, leaves, node = tiny(op, arrays)
    cotangent = graph.leaf("u", node.shape, [1.0] * node.size, phase="data", symbol=Own("u"))
    Reverse(graph, node, leaves).run({node: copy_of(cotangent)})
    from bptrace.graph.forward import add_tangents

    for leaf in leaves:
        add_tangents(graph, [*leaves, node], leaf, (0,) * len(leaf.shape), leaf.id)
    return {type(made.op) for made in graph.nodes if made not in (*leaves, node)}


def test_ops_without_derivative_rules_occur_only_in_derivatives_and_updates() -> None:
    """They are found, and found only, where rules and optimizers put them."""
    networks = [network(path=path) for path in bundled()]
    behind = set().union(*(_emitted(case) for case in CASES))
    for computed in networks:
        for node in computed.graph.nodes:
            if node.phase not in ("forward", "loss"):
                behind.add(type(node.op))
            elif node.inputs:
                assert differentiable(type(node.op)), f"{node.id} stands in a forward pass"
    for op in every_op():
        if not differentiable(op) and not op.__module__.startswith("bptrace.optimizers."):
            assert op in behind, f"{op.name} has no vjp, but nothing in a backward pass uses it"


def test_what_networks_are_built_from_has_derivative_rules() -> None:
    modules = [place.split(":")[0] for place in LAYERS.values()]
    modules += ["bptrace.build.builder", "bptrace.build.expressions", "bptrace.layers.functions"]
    for module in modules:
        for value in vars(importlib.import_module(module)).values():
            kinds = value.values() if isinstance(value, dict) else [value]
            for kind in kinds:
                if isinstance(kind, type) and issubclass(kind, Op) and kind in every_op():
                    constant = not kind.samples(random.Random(0))[0][1]
                    assert differentiable(kind) or constant, f"{kind} in {module}"


# Finite differences, and one mode against the other


@each(CASES)
def test_derivatives_are_those_of_finite_differences(case: Case) -> None:
    _, op, arrays = case
    backward = pulled_back(op, arrays, Fraction(1))
    forward = pushed_forward(op, arrays)
    compared = 0
    for k, array in enumerate(arrays):
        if backward[k] is None:
            continue  # a target or a condition: see the next test
        operands = [operand.copy() for operand in arrays]

        def objective(operands: Any = operands) -> float:
            with np.errstate(all="ignore"):
                result = op.compute(*operands)
                # the -∞ of a masked score stays what it is
                return float(np.sum(result[np.isfinite(result)] if op.infinite else result))

        slopes, kinks = numeric_gradient(objective, operands[k])
        scale = np.maximum(1.0, np.abs(slopes))
        allowed = 1e-6 + roundoff(objective())
        np.testing.assert_array_less(np.abs(backward[k] - slopes)[~kinks] / scale[~kinks], allowed)
        results = tuple(range(forward[k].ndim - array.ndim))
        column_sums = np.nansum(forward[k], axis=results)
        known = ~np.isnan(backward[k])
        np.testing.assert_allclose(column_sums[known], backward[k][known], rtol=1e-10, atol=1e-10)
        compared += int((~kinks).sum())
    assert compared or not arrays or op.name in STOPS


@each(CASES)
def test_an_operand_that_is_given_has_no_derivative_in_either_mode(case: Case) -> None:
    _, op, arrays = case
    backward, forward = pulled_back(op, arrays, Fraction(1)), pushed_forward(op, arrays)
    assert [b is None for b in backward] == [f is None for f in forward]
    assert not arrays or any(b is not None for b in backward) != (op.name in STOPS)


@each(CASES)
def test_both_modes_are_one_linear_map(case: Case) -> None:
    """<u, J v> = <Jᵀ u, v>, also with the local derivatives of a backward pass."""
    _, op, arrays = case
    shape = op.shape(*(array.shape for array in arrays))
    u = random_like(shape, 1)
    backward = pulled_back(op, arrays, u)
    for again in (False, True):
        for k, jacobian in enumerate(pushed_forward(op, arrays, again)):
            if jacobian is None:
                continue
            v = random_like(arrays[k].shape, 2 + k)
            pushed = np.tensordot(jacobian, v, axes=v.ndim) if v.ndim else jacobian * v
            if np.isnan(jacobian).any():  # the derivative by an exponent where the base is negative
                assert op.name == "power" and k == 1
                continue
            left, right = float(np.sum(u * pushed)), float(np.sum(backward[k] * v))
            assert abs(left - right) <= 1e-10 * max(1.0, abs(left)), (k, again)


@each(CASES)
def test_constant_cotangents(case: Case) -> None:
    """Constants are drawn to the front; the result is that of an array of them."""
    _, op, arrays = case
    shape = op.shape(*(array.shape for array in arrays))
    for constant in (Fraction(1), Fraction(-1), Fraction(-3, 7), Fraction(0)):
        whole = pulled_back(op, arrays, np.full(shape, float(constant)))
        for found, expected in zip(pulled_back(op, arrays, constant), whole, strict=True):
            if expected is not None:
                np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)


@each(CASES)
def test_inline_factor_of_a_cotangent(case: Case) -> None:
    _, op, arrays = case
    u = random_like(op.shape(*(array.shape for array in arrays)), 3)
    quartered = pulled_back(op, arrays, u, quarter=True)
    for found, expected in zip(quartered, pulled_back(op, arrays, u / 4), strict=True):
        if expected is not None:
            np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)


@each(CASES)
def test_parameters_get_the_same_gradient_as_data(case: Case) -> None:
    _, op, arrays = case
    u = random_like(op.shape(*(array.shape for array in arrays)), 4)
    as_parameters = pulled_back(op, arrays, u, phase="parameter")
    for found, expected in zip(as_parameters, pulled_back(op, arrays, u), strict=True):
        assert (found is None) == (expected is None)
        if expected is not None:
            np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)


@each(BINARY)
def test_one_node_as_both_operands(case: Case) -> None:
    """f(x, x): the gradient is the sum over both places, in both modes."""
    from bptrace.graph.forward import add_tangents

    _, op, arrays = case
    arrays = (np.abs(arrays[0]) + 0.5,) * 2
    u = random_like(op.shape(arrays[0].shape, arrays[1].shape), 5)
    apart = pulled_back(op, arrays, u)
    (together,) = pulled_back(op, arrays, u, same=True)
    np.testing.assert_allclose(together, apart[0] + apart[1], rtol=1e-13, atol=1e-14)
    graph = Graph()
    x = graph.leaf("x", arrays[0].shape, arrays[0].ravel().tolist(), phase="data", symbol=Own("x"))
    f = graph.add("f", op, x, x, phase="forward", symbol=Own("f"))
    tangents = [add_tangents(graph, [x, f], x, place, f"x{place}").get(f) for place in places(x)]
    values = run(graph)
    for place, tangent in zip(places(x), tangents, strict=True):
        pushed = float(np.sum(u * values[tangent])) if tangent else 0.0
        assert abs(pushed - together[place]) <= 1e-10 * max(1.0, abs(pushed))


@each([case for case in CASES if isinstance(case[1], Contract | Multiply)])
def test_the_error_path_reads_what_it_is_told_to(case: Case) -> None:
    """With `read`, the error goes back through another array in the place of an operand."""
    _, op, arrays = case
    other = random_like(arrays[1].shape, 6)
    graph, leaves, node = tiny(op, arrays)
    instead = graph.leaf("instead", other.shape, other.ravel().tolist(), phase="update", symbol=Own("B"))
    u = random_like(node.shape, 7)
    seed = graph.leaf("u", node.shape, u.ravel().tolist(), phase="data", symbol=Own("u"))
    reverse = Reverse(graph, node, leaves, read=lambda operand: instead if operand is leaves[1] else operand)
    gradients = reverse.run({node: copy_of(seed)})
    values = run(graph)
    swapped = pulled_back(op, (arrays[0], other, *arrays[2:]), u)
    own = pulled_back(op, arrays, u)
    np.testing.assert_allclose(values[gradients[leaves[0]]], swapped[0], rtol=1e-13)
    np.testing.assert_allclose(values[gradients[leaves[1]]], own[1], rtol=1e-13)


# At kinks: the stated conventions

AT_KINKS = [
    ("relu", {}, [-1.0, 0.0, 1.0], [0.0, 0.0, 1.0]),
    ("abs", {}, [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]),
    ("leaky_relu", {}, [-1.0, 0.0, 1.0], [0.01, 0.01, 1.0]),
    ("leaky_relu", {"negative_slope": 0.3}, [0.0], [0.3]),
    ("elu", {}, [0.0, 1.0], [1.0, 1.0]),
    ("elu", {"alpha": 0.5}, [0.0], [0.5]),
    ("selu", {}, [0.0], [1.6732632423543772 * 1.0507009873554805]),
    ("hard_tanh", {}, [-1.5, -1.0, 0.0, 1.0, 1.5], [0.0, 0.0, 1.0, 0.0, 0.0]),
    ("hard_sigmoid", {}, [-3.0, 0.0, 3.0], [0.0, 1 / 6, 0.0]),
    ("softsign", {}, [0.0], [1.0]),
    ("step", {}, [-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]),
]


@pytest.mark.parametrize(("name", "constants", "at", "slopes"), AT_KINKS)
def test_convention_at_kinks(name: str, constants: dict[str, float], at: list[float], slopes: list[float]) -> None:
    (kind,) = (op for op in every_op() if op.name == name)
    op, z = kind(**constants), np.array(at)
    (gradient,) = pulled_back(op, (z,), Fraction(1))
    np.testing.assert_allclose(gradient, slopes, rtol=1e-15)
    (jacobian,) = pushed_forward(op, (z,))
    np.testing.assert_allclose(np.diag(jacobian) if jacobian is not None else 0.0 * z, slopes, rtol=1e-15)


@pytest.mark.parametrize(
    "kind", [op for op in every_op() if getattr(op, "smooth", True) is False], ids=lambda op: op.name
)
def test_functions_with_kinks_have_a_stated_convention(kind: type[Op]) -> None:
    assert kind.name in {name for name, *_ in AT_KINKS}


@pytest.mark.parametrize(
    ("loss", "t", "y", "slope"),
    [
        ("absolute_error", 1.0, 1.0, 0.0),
        ("huber", 1.0, 2.0, 1.0),
        ("huber", 1.0, 0.0, -1.0),
        ("hinge", 1.0, 1.0, 0.0),
        ("hinge", -1.0, -1.0, 0.0),
        ("squared_hinge", 1.0, 1.0, 0.0),
    ],
)
def test_convention_of_losses_at_kinks(loss: str, t: float, y: float, slope: float) -> None:
    (kind,) = (op for op in every_op() if op.name == loss)
    _, gradient = pulled_back(kind(), (np.array([t]), np.array([y])), Fraction(1))
    assert gradient[0] == slope


def test_ties_of_the_largest_element() -> None:
    x = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
    for op, expected in [
        (Extreme((1,), ("unit",)), [[0, 1, 0], [1, 0, 0]]),
        (Extreme((1,), ("unit",), ties="all"), [[0, 1, 1], [1, 1, 1]]),
        (Extreme((1,), ("unit",), least=True), [[1, 0, 0], [1, 0, 0]]),
        (Extreme((1,), ("unit",), least=True, ties="all"), [[1, 0, 0], [1, 1, 1]]),
        (Extreme((0,), ("sample",)), [[0, 1, 1], [1, 0, 0]]),
        (Extreme((0, 1), ("a", "b")), [[0, 1, 0], [0, 0, 0]]),
        (Extreme((0, 1), ("a", "b"), ties="all"), [[0, 1, 1], [0, 0, 0]]),
    ]:
        (gradient,) = pulled_back(op, (x,), Fraction(1))
        np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize("least", [False, True])
def test_ties_of_the_larger_of_two(least: bool) -> None:
    pair = (np.array([2.0]), np.array([2.0]))
    assert [float(g[0]) for g in pulled_back(Larger(least), pair, Fraction(1))] == [1.0, 0.0]
    assert [float(g[0]) for g in pulled_back(Larger(least, "all"), pair, Fraction(1))] == [1.0, 1.0]


def test_reductions_over_an_axis_of_one_place() -> None:
    """With one place a maximum is that place, in every reading."""
    from support.interpreter import formula

    from bptrace.ops.reduction import Mean, Total

    for op in (
        Extreme((0,), ("sample",)),
        Extreme((0,), ("sample",), True),
        Mean((0,), ("",)),
        Total((0,), ("",)),
    ):
        x = np.array([[1.5, -2.5]])
        graph, _, node = tiny(op, (x,))
        values = run(graph)
        for place in places(node):
            assert formula(node, place, values) == values[node][place] == x[0][place]
        (gradient,) = pulled_back(op, (x,), Fraction(1))
        np.testing.assert_array_equal(gradient, [[1.0, 1.0]])


def test_leaves_are_the_only_ops_without_a_kernel() -> None:
    assert {
        op for op in below(Op) if op.name and op.compute is Op.compute and op.__module__.startswith("bptrace.")
    } == {Leaf}
