"""The evaluator of formulas: floats, decimals, fractions, rounding; and the calculator of these tests."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.calculator import numbers, typed

from bptrace.formula.evaluate import Decimals, Floats, Fractions, NotExactError, Rounding, evaluate
from bptrace.formula.expr import (
    Expr,
    Function,
    Negation,
    Power,
    Product,
    Quotient,
    Sum,
    Terms,
    choose,
    flat,
    number,
    worked,
)
from bptrace.formula.text import symbols


def nothing(ref: Any) -> Any:
    raise AssertionError("no element is read here")


def floats(expr: Expr) -> float:
    return float(evaluate(expr, nothing, Floats()))


def decimals(expr: Expr, rounding: Rounding | None = None) -> Decimal:
    value = evaluate(expr, nothing, Decimals(rounding))
    assert isinstance(value, Decimal)
    return value


def fractions(expr: Expr) -> Fraction:
    return Fraction(evaluate(expr, nothing, Fractions()))


def call(name: str, *arguments: float) -> Function:
    return Function(name, tuple(number(a) for a in arguments))


REAL: dict[str, Any] = {"sin": math.sin, "cos": math.cos, "erf": math.erf, "tanh": math.tanh, "exp": math.exp}


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("x", [-40.0, -11.9, -3.25, -1e-9, 0.0, 1e-30, 0.5, 2.0, 7.5, 12.5, 61.0])
def test_decimal_functions(name: str, x: float) -> None:
    expected = REAL[name](x)
    assert float(decimals(call(name, x))) == pytest.approx(expected, rel=1e-14, abs=1e-300)


@pytest.mark.parametrize("name", ["sin", "cos"])
@pytest.mark.parametrize("x", [500.0, 3000.0, -12345.5, 1e6])
def test_decimal_sine_and_cosine_of_large_arguments(name: str, x: float) -> None:
    assert float(decimals(call(name, x))) == pytest.approx(REAL[name](x), rel=1e-13)


def test_decimals_have_fifty_digits() -> None:
    third = decimals(Quotient(number(1), number(3)))
    assert third == Decimal("0." + "3" * 50)
    root = decimals(call("sqrt", 2))
    assert str(root).startswith("1.414213562373095048801688724209698078569671875376")


def test_a_number_is_what_is_spelled() -> None:
    assert fractions(number(0.1)) == Fraction(1, 10)
    assert decimals(number(0.1)) == Decimal("0.1")
    assert fractions(Sum((number(0.1), number(0.2)))) == Fraction(3, 10)
    assert floats(Sum((number(0.1), number(0.2)))) == 0.1 + 0.2


def test_sums_run_from_left_to_right() -> None:
    """Not compensated as by the built-in `sum` since Python 3.12."""
    terms = [1e16, 1.0, 1.0, -1e16]
    assert floats(Sum(tuple(number(t) for t in terms))) == ((1e16 + 1.0) + 1.0) - 1e16
    assert floats(Sum(Terms(4, lambda k: number(terms[k])), "k")) == 0.0
    assert floats(Sum(())) == 0.0


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (Quotient(number(1), number(0)), math.inf),
        (Quotient(number(-1), number(0)), -math.inf),
        (Quotient(number(0), number(0)), math.nan),
        (Power(number(0), number(-1)), math.inf),
        (Power(number(-8), number(0.5)), math.nan),
        (Power(number(10.0), number(400)), math.inf),
        (Power(number(-10.0), number(401)), -math.inf),
        (call("exp", 1000), math.inf),
        (call("exp", -1000), 0.0),
        (call("ln", 0), -math.inf),
        (call("ln", -1), math.nan),
        (call("sqrt", -1), math.nan),
        (call("times_ln", 0, 0), 0.0),
        (call("times_ln", 2, 0), -math.inf),
        (call("times_ln", -2, 0), math.inf),
        (Function("max", (number(1), call("ln", -1))), math.nan),
        (Function("min", (call("ln", -1), number(1))), math.nan),
        (call("max", 3), 3.0),
        (call("min", 3), 3.0),
        (call("max", 3, 5, 4), 5.0),
    ],
)
def test_floats_are_ieee(expr: Expr, expected: float) -> None:
    assert floats(expr) == expected or (math.isnan(floats(expr)) and math.isnan(expected))


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (Power(number(Fraction(2, 3)), number(-2)), Fraction(9, 4)),
        (call("sqrt", 2.25), Fraction(3, 2)),
        (call("exp", 0), 1),
        (call("tanh", 0), 0),
        (call("cos", 0), 1),
        (call("ln", 1), 0),
        (call("times_ln", 0, 0.3), 0),
        (call("abs", -0.5), Fraction(1, 2)),
        (call("max", 0.5, 0.25), Fraction(1, 2)),
        (choose(number(1), ">=", 1, 2, 3), 2),
    ],
)
def test_fractions(expr: Expr, expected: Any) -> None:
    assert fractions(expr) == expected


@pytest.mark.parametrize(
    "expr",
    [
        *(call(name, 1) for name in ("exp", "tanh", "sin", "erf")),
        *(call(name, 2) for name in ("ln", "sqrt")),
        call("sqrt", -4),
        Power(number(2), number(0.5)),
    ],
)
def test_irrational_functions_are_refused(expr: Expr) -> None:
    with pytest.raises(NotExactError):
        fractions(expr)


@pytest.mark.parametrize(
    ("value", "rounding", "expected"),
    [
        ("2.00005", Rounding(4), "2.0001"),
        ("-2.00005", Rounding(4), "-2.0001"),
        ("2.00005", Rounding(4, mode="half_even"), "2.0000"),
        ("0.012345", Rounding(3, "significant"), "0.0123"),
        ("123456", Rounding(3, "significant"), "1.23E+5"),
        ("9.996", Rounding(3, "significant"), "10.0"),
        ("-0.00001", Rounding(3), "0.000"),
        ("0", Rounding(3), "0"),
        ("0.5", Rounding(0), "1"),
    ],
)
def test_rounding(value: str, rounding: Rounding, expected: str) -> None:
    assert rounding(Decimal(value)) == Decimal(expected)


def test_each_operation_is_rounded() -> None:
    # (1/3)·3: 0.333·3
    assert decimals(Product((Quotient(number(1), number(3)), number(3))), Rounding(3)) == Decimal("0.999")
    # data and constants are not rounded, sums step by step
    assert decimals(Sum((number(0.1234), number(0.0001), number(0.0004))), Rounding(3)) == Decimal("0.124")
    assert decimals(number(0.12345), Rounding(3)) == Decimal("0.12345")


# Text of random formulas, typed into a calculator


def leaf() -> st.SearchStrategy[Expr]:
    return st.sampled_from([0.5, 2, 3, -2, -0.25, 1.5, 1e-7, -1e-7]).map(number)


def _no_prefix(expr: Expr) -> Expr:
    return Negation(expr) if isinstance(expr, Function) and expr.name == "ln" else expr


def grown(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return st.one_of(
        several.map(Sum),
        # sums along axes within each other: see test_sum_over_two_axes
        several.map(lambda terms: Sum(tuple(Negation(t) if isinstance(t, Sum) else t for t in terms), "unit")),
        several.map(Product),
        st.builds(Quotient, inner, inner),
        st.builds(Negation, inner),
        # powers of logarithms: see test_power_of_a_logarithm
        st.builds(Power, inner.map(_no_prefix), st.sampled_from([2, 3, -1, 0.5]).map(number)),
        st.builds(lambda x: Function("exp", (x,)), inner),
        st.builds(lambda x: Function("tanh", (x,)), inner),
        st.builds(lambda x: Function("abs", (x,)), inner),
        st.builds(lambda x: Function("sqrt", (x,)), inner),
        st.builds(lambda x: Function("ln", (x,)), inner),
        st.builds(lambda x, y: Function("times_ln", (x, y)), inner, inner),
        st.builds(lambda x, y: Function("max", (x, y)), inner, inner),
        st.builds(lambda a, b, x, y: choose(a, ">", b, x, y), inner, inner, inner, inner),
    )


FORMULAS = st.recursive(leaf(), grown, max_leaves=8)


def alike(a: float, b: float) -> bool:
    return a == b or abs(a - b) <= 1e-9 * max(1.0, abs(a))


@settings(max_examples=600, deadline=None)
@given(FORMULAS)
def test_text_of_any_formula_is_read_as_the_formula(expr: Expr) -> None:
    value = floats(expr)
    if not math.isfinite(value) or abs(value) > 1e30:
        return
    assert alike(floats(flat(expr)), value)
    assert alike(floats(worked(expr)), value)
    try:
        found = typed(numbers(expr, nothing, Floats()))
    except (OverflowError, ZeroDivisionError):
        return  # in a part that the value does not show: exp(-exp(1000))
    assert alike(found, value), (numbers(expr, nothing, Floats()), found, value)
    assert symbols(expr, str)


def test_sum_over_two_axes() -> None:
    inner = [Sum((number(a), number(b)), "unit") for a, b in ((1, -2), (-3, 4))]
    assert typed(numbers(Sum(tuple(inner), "sample"), nothing, Floats())) == 0.0


def test_power_of_a_logarithm() -> None:
    power = Power(call("ln", 3), number(2))
    assert typed(numbers(power, nothing, Floats())) == pytest.approx(floats(power))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 - 2 - 3", -4.0),
        ("-2²", -4.0),
        ("(-2)²", 4.0),
        ("6/2·3", 9.0),
        ("2·3²", 18.0),
        ("2^(-1)", 0.5),
        ("2⁻¹", 0.5),
        ("√4·2", 4.0),
        ("|1 - 3|·2", 4.0),
        ("ln 1 + 2", 2.0),
        ("-(1 + 1)·3", -6.0),
        ("max(0, 1 - 2·3)", 0.0),
        ("1e-3·2", 0.002),
    ],
)
def test_the_calculator_of_these_tests(text: str, expected: float) -> None:
    assert typed(text) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("text", ["1 + -2", "2·-3", "--1", "1 2", "(1", "2·", "x", "|1", "ln"])
def test_what_a_person_would_not_type_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        typed(text)
