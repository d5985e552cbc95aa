"""Graph expressions: trees that execute nothing, and a hint at the column of every slip."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptrace.errors import SpecError
from bptrace.spec.expression import (
    FUNCTIONS,
    Binary,
    Call,
    Expression,
    ExpressionError,
    Literal,
    Name,
    Unary,
    dependencies,
    parse,
)
from bptrace.spec.graph import check_graph
from bptrace.spec.load import load
from bptrace.spec.words import ACTIVATIONS


def shape(tree: Expression) -> str:
    """The tree with all its brackets."""
    match tree:
        case Name(id=name):
            return name
        case Literal(text=text):
            return text
        case Unary(op=op, operand=operand):
            return f"({op}{shape(operand)})"
        case Binary(op=op, left=left, right=right):
            return f"({shape(left)} {op} {shape(right)})"
        case Call(function=function, arguments=arguments, options=options):
            inner = [shape(a) for a in arguments] + [f"{k}={v}" for k, v in options.items()]
            return f"{function}({', '.join(inner)})"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("w*x + b", "((w * x) + b)"),
        ("-x**2", "(-(x ** 2))"),
        ("2**-1", "(2 ** (-1))"),
        ("2**3**2", "(2 ** (3 ** 2))"),
        ("a - b - c", "((a - b) - c)"),
        ("a @ b * c", "((a @ b) * c)"),
        ("+a", "a"),
        ("9**9**9", "(9 ** (9 ** 9))"),
        ("x'*lambda", "(x' * lambda)"),
        ("权重 * 输入", "(权重 * 输入)"),
        ("sum(a, axis=0)", "sum(a, axis=0)"),
        ("sum(a, -1)", "sum(a, axis=-1)"),
        ("reshape(x, [2, 3])", "reshape(x, shape=(2, 3))"),
        ("take(x, [0, 2], axis=1)", "take(x, indices=(0, 2), axis=1)"),
        ("max(a, b)", "max(a, b)"),
        ("leaky_relu(x, negative_slope=0.1)", "leaky_relu(x, negative_slope=0.1)"),
        ("where(step(x), a, b)", "where(step(x), a, b)"),
        ("  a\n  + 1e-3", "(a + 1e-3)"),
        ("x1e5 + 010", "(x1e5 + 010)"),
    ],
)
def test_precedence_and_forms(text: str, expected: str) -> None:
    assert shape(parse(text)) == expected


def test_every_activation_can_be_called() -> None:
    for name in ACTIVATIONS:
        assert parse(f"{name}(x)") == Call(name, (Name("x", len(name) + 1),), {}, 0)


def test_literals_keep_their_spelling() -> None:
    assert parse("0.10") == Literal(0.1, "0.10", 0)
    assert parse("010") == Literal(10.0, "010", 0)


def test_dependencies_come_once_in_order_of_appearance() -> None:
    tree = parse("b*a + sum(c, axis=0) - b")
    assert [(name.id, name.column) for name in dependencies(tree)] == [("b", 0), ("a", 2), ("c", 10)]


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("x^2", 1, "write ** for a power"),
        ("2x", 1, "write 2*x"),
        ("2(x)", 1, "write 2*("),
        ("(a)(b)", 3, "write )*("),
        ("a b", 2, "write a*b"),
        ("x − y", 2, "plain minus"),
        ("x×y", 1, "write * to multiply"),
        ("x²", 1, "write **2"),
        ("x₁", 1, "write x1"),
        ("x.T", 1, "write transpose(x)"),
        ("x.__class__", 1, "attribute access"),
        ("__import__('os')", 11, "no text in an expression"),
        ("a < b", 2, "no comparisons"),
        ("a == b", 2, "no comparisons"),
        ("a if b else c", 2, "write where"),
        ("lambda x: x", 0, "'lambda' is no operation"),
        ("x[0]", 1, "write take("),
        ("a // b", 2, "write / to divide"),
        ("（a)", 0, "full-width"),
        ("a\u00a0+ b", 1, "plain space"),
        ("sigmod(x)", 0, "did you mean 'sigmoid'?"),
        ("foo(x)", 0, "unknown function 'foo'; known: abs"),
        ("sum(x, axes=0)", 7, "its options: axis"),
        ("sum(x, axis=y)", 12, "must be a number"),
        ("sum(x, axis=[0, 1.5])", 16, "not a whole number"),
        ("sum(x, axis=0, axis=1)", 15, "given twice"),
        ("sum(*a)", 4, "no operation"),
        ("sum()", 0, "takes 1 operand"),
        ("where(a, b)", 0, "takes 3 operands"),
        ("exp(x, 1)", 7, "fewer operands"),
        ("reshape(x)", 0, "lacks its shape"),
        ("(a", 0, "never closed"),
        ("a)", 1, "closes nothing"),
        ("a +", 2, "ends after an operator"),
        ("f = q*z", 2, "belongs in options only"),
        ("", 0, "empty"),
        ("a, b", 0, "a list cannot stand here"),
        ("x # c", 2, "no comments"),
        ("1e999", 0, "too large"),
        ("x + " * 600 + "x", 2000, "2,401 characters where 2,000 are allowed"),
        ("-" * 60 + "x", 50, "more than 50 operations deep"),
        ("(" * 60 + "x" + ")" * 60, 50, "more than 50 brackets deep"),
    ],
)
def test_slips_have_a_column_and_a_hint(text: str, column: int, words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    error = caught.value
    assert (error.column, words in f"{error.message}; {error.hint}") == (column, True), error.__dict__


def test_long_chains_of_signs_are_refused_without_a_crash() -> None:
    for text in ("-" * 1999 + "x", "**".join("2" * 600), "+".join("x" * 900)):
        with pytest.raises(ExpressionError):
            parse(text)


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ("graph:\n  f: x + yy^2", "net.yaml:3:12: graph.f: '^' is no part of an expression; write **"),
        ("graph:\n  f: 'x^2'", "net.yaml:3:8: graph.f:"),
        ("graph:\n  f: >\n    x^2", "net.yaml:3:6: graph.f:"),
        ("graph: {f: x + velocty, velocity: x}", "'velocty' is not defined; did you mean 'velocity'?"),
        ("graph: {f: x + g}", "net.yaml:2:16: graph.f: 'g' is not defined; expected one of x, f"),
        ("graph: {a: x*b, b: c, c: -a}", "net.yaml:2:27: graph.c: a cycle: a <- b <- c <- a"),
        ("graph: {a: a}", "net.yaml:2:12: graph.a: a cycle: a <- a"),
        ("graph: {x: 2}", "net.yaml:2:9: graph.x: 'x' is also an input or a parameter"),
        ("graph: {grad: 2}", "net.yaml:2:9: graph.grad: the name 'grad' is reserved"),
        ("graph: {f.g: 2}", "net.yaml:2:9: graph.f.g: '.' cannot stand in a name"),
        ("graph: {f: x}\noutput: ff", "net.yaml:3:9: output: 'ff' is not defined; did you mean 'f'?"),
        ("graph: {loss: x}\nloss: sum", "net.yaml:2:9: graph.loss: the name 'loss' is taken by 'loss:'"),
        ("graph: {f: true}", "net.yaml:2:12: graph.f: not an expression: true"),
        ("graph: {f: }", "net.yaml:2:11: graph.f: an empty expression"),
        ("graph: {}", "net.yaml:2:8: graph: an empty graph"),
    ],
)
def test_mistakes_of_a_graph_are_placed_in_the_file(graph: str, expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        load("net.yaml", f"inputs: {{x: 1}}\n{graph}\n")
    assert expected in str(caught.value)


def test_the_order_is_that_of_the_file_where_it_can_be() -> None:
    graph = check_graph({"d": "b + c", "a": "x", "b": "a", "c": "3"}, ["x"])
    assert graph.complaints == ()
    assert graph.order == ("a", "b", "c", "d")


def test_a_long_chain_of_definitions_needs_no_recursion() -> None:
    names = {f"v{i}": f"v{i + 1} + 1" for i in range(5000)}
    assert check_graph({**names, "v5000": "x"}, ["x"]).order[0] == "v5000"


def test_names_are_compared_in_nfc() -> None:
    spec = load("n", "inputs: {e\u0301: 1}\ngraph: {f: \u00e9 * 2}\n")
    assert set(spec.network.inputs) == {"\u00e9"}


PIECES = st.sampled_from(
    [
        *FUNCTIONS,
        *"()[]+-*/@=,.^<>!#'\"{}:;%&|~ \n\t",
        *("**", "axis=", "x", "y'", "权", "12", "1e5", ".5", "−", "²", "if"),
    ]
)


@given(st.one_of(st.lists(PIECES, max_size=40).map("".join), st.text(max_size=60)))
@settings(max_examples=500, deadline=None)
def test_damaged_expressions_end_in_an_error_with_a_column_or_a_tree(text: str) -> None:
    try:
        tree = parse(text)
    except ExpressionError as error:
        assert 0 <= error.column <= len(text)
        assert error.message
    else:
        assert shape(tree)
        for name in dependencies(tree):
            assert text[name.column]
