"""Generated source gives the bits of the walk over the same formula."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptrace.formula.evaluate import Floats, evaluate
from bptrace.formula.expr import Choice, Expr, Function, Negation, Power, Product, Quotient, Ref, Sum, Terms, number
from bptrace.formula.python import LONGEST_SUM, PythonWriter, TooLongError, literal
from bptrace.graph.node import Node, Own
from bptrace.ops.leaves import Leaf

VALUES = [0.3, -1.7, 2.0, 0.0, 0.9]
X = Node("x", Leaf(), (), (len(VALUES),), "data", symbol=Own("x"))


def grow(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    several = st.lists(inner, min_size=1, max_size=4).map(tuple)
    return st.one_of(
        several.map(Sum),
        several.map(Product),
        st.builds(Quotient, inner, inner),
        st.builds(Negation, inner),
        st.builds(Power, inner, st.sampled_from([number(2), number(3), number(-1)])),
        st.builds(lambda n, x: Function(n, (x,)), st.sampled_from(["exp", "tanh", "sin", "abs", "sqrt", "ln"]), inner),
        st.builds(lambda n, x, y: Function(n, (x, y)), st.sampled_from(["max", "min", "times_ln"]), inner, inner),
        st.builds(Choice, inner, st.sampled_from([">", ">=", "=", "<", "<="]), inner, inner, inner),
    )


LEAVES = st.one_of(
    st.integers(0, len(VALUES) - 1).map(lambda k: Ref(X, (k,))),
    st.sampled_from([0.5, 1.0, -2.0, 0.1]).map(number),
    st.just(number(Fraction(1, 3))),
)


def run(expr: Expr, most: int = 10_000) -> float:
    writer = PythonWriter(lambda ref: f"v{ref.index[0]}", most)
    text = writer.write(expr)
    source = "\n".join([*writer.lines, f"result = {text}"])
    scope: dict[str, object] = {
        name: getattr(math, name) for name in ("exp", "log", "sqrt", "tanh", "sin", "cos", "pow")
    }
    scope |= {f"v{k}": value for k, value in enumerate(VALUES)}
    exec(source, scope)
    result = scope["result"]
    assert isinstance(result, float)
    return result


@given(st.recursive(LEAVES, grow, max_leaves=25))
@settings(max_examples=400, deadline=None)
def test_the_same_bits_as_the_walk(expr: Expr) -> None:
    expected = evaluate(expr, lambda ref: VALUES[ref.index[0]], Floats())
    try:
        found = run(expr)
    except (ArithmeticError, ValueError):
        return  # the engine hands such an iteration over
    assert found == expected or (math.isnan(found) and math.isnan(expected))


@pytest.mark.parametrize("count", [1, LONGEST_SUM - 1, LONGEST_SUM, LONGEST_SUM + 1, 5 * LONGEST_SUM + 3])
def test_long_sums_run_from_left_to_right(count: int) -> None:
    term: Callable[[int], Expr] = lambda k: number(0.1 * k) * Ref(X, (k % len(VALUES),))  # noqa: E731
    total = Sum(Terms(count, term))
    assert run(total) == evaluate(total, lambda ref: VALUES[ref.index[0]], Floats())


def test_a_function_of_an_element_is_worked_out_once() -> None:
    writer = PythonWriter(lambda ref: f"v{ref.index[0]}", 100)
    e = Function("exp", (Ref(X, (0,)),))
    text = writer.write(e / (e + Function("exp", (Ref(X, (1,)),))))
    assert "\n".join([*writer.lines, text]).count("exp") == 2


def test_too_long() -> None:
    with pytest.raises(TooLongError):
        run(Sum(Terms(101, lambda k: Ref(X, (0,)))), most=100)


@pytest.mark.parametrize("value", [0.0, -0.0, 1.5, -2.0, 1e300, -5e-324, math.inf, -math.inf])
def test_literals_bind_like_names(value: float) -> None:
    assert math.copysign(1, eval(literal(value))) == math.copysign(1, value)
    assert eval(f"{literal(value)}**2.0 if abs({literal(value)}) < 1e9 else 0.0") >= 0
    assert eval(f"1.0 - {literal(value)}") == 1.0 - value
