"""LaTeX of formulas and symbols: golden strings, and what every formula of ours must hold to."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import pytest

from bptrace.formula.expr import (
    Choice,
    Expr,
    Function,
    Negation,
    Number,
    Power,
    Product,
    Quotient,
    Ref,
    Sum,
    Terms,
    Worked,
    choose,
    exp,
    ln,
    number,
    sqrt,
    tanh,
)
from bptrace.formula.latex import equation, latex, symbol_latex
from bptrace.graph.general import general
from bptrace.graph.node import Node, Own
from bptrace.graph.op import formula_of
from bptrace.network import bundled, load
from bptrace.ops.leaves import Leaf
from bptrace.report.notation import Notation, indices


def ref(name: str, index: tuple[Any, ...] = ()) -> Ref:
    return Ref(Node(name, Leaf(), (), (9,) * len(index), "forward", symbol=Own(name)), index)


def name(r: Ref) -> str:
    return r.node.id + (f"[{','.join(map(str, r.index))}]" if r.index else "")


a, b, c, net = ref("a"), ref("b"), ref("c"), ref("net")
minus = ref("-0.5")
new = ref("new w5")


# what every piece of LaTeX holds to


def groups(text: str) -> None:
    """Braces, brackets of growing height, and environments are balanced."""
    depth = 0
    for k, character in enumerate(text):
        if text[k - 1 : k] == "\\":
            continue
        depth += (character == "{") - (character == "}")
        assert depth >= 0, text
    assert depth == 0, text
    assert len(re.findall(r"\\left(?![a-z])", text)) == len(re.findall(r"\\right(?![a-z])", text)), text
    assert text.count(r"\begin{cases}") == text.count(r"\end{cases}"), text


def tokens(text: str) -> list[Any]:
    """The text as a tree of TeX's groups."""
    found: list[Any] = []
    stack = [found]
    for token in re.findall(r"\\[a-zA-Z]+|\\.|\S", text):
        if token == "{":
            inner: list[Any] = []
            stack[-1].append(inner)
            stack.append(inner)
        elif token == "}":
            stack.pop()
        else:
            stack[-1].append(token)
    return found


def scripts(tree: list[Any], text: str) -> None:
    """No symbol has two subscripts, nor two superscripts."""
    used: set[str] = set()
    follows = False  # whether the item is the argument of a script
    for item in tree:
        if isinstance(item, list):
            scripts(item, text)
        if follows:
            follows = False
        elif item in ("_", "^", "'"):
            kind = "^" if item == "'" else item
            assert kind not in used, f"two of {kind}: {text}"
            if item != "'":
                used.add(kind)
                follows = True
        else:
            used = set()


def check(text: str) -> None:
    groups(text)
    scripts(tokens(text), text)
    outside = re.sub(r"\\text\{[^}]*\}", "", text)
    assert outside.isascii(), text
    assert r"\operatorname" not in text and "%" not in text.replace(r"\%", "")
    for command in re.findall(r"\\([a-zA-Z]+)", text):
        assert command in COMMANDS, f"{command}: {text}"


COMMANDS = set(
    [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "zeta",
        "eta",
        "theta",
        "iota",
        "kappa",
        "lambda",
        "mu",
        "nu",
        "xi",
        "pi",
        "rho",
        "sigma",
        "tau",
        "upsilon",
        "phi",
        "chi",
        "psi",
        "omega",
        "Gamma",
        "Delta",
        "Theta",
        "Lambda",
        "Xi",
        "Pi",
        "Sigma",
        "Upsilon",
        "Phi",
        "Psi",
        "Omega",
        "partial",
        "cdot",
        "infty",
        "frac",
        "sum",
        "sqrt",
        "left",
        "right",
        "lvert",
        "rvert",
        "exp",
        "ln",
        "tanh",
        "sin",
        "cos",
        "max",
        "min",
        "mathrm",
        "mathsf",
        "text",
        "hat",
        "bar",
        "tilde",
        "begin",
        "end",
        "ge",
        "le",
        "ne",
        "sim",
        "wedge",
        "backslash",
    ]
)


# symbols


@pytest.mark.parametrize(
    ("plain", "expected"),
    [
        ("w", "w"),
        ("w5", "w_{5}"),
        ("δ_o1", r"\delta_{o1}"),
        ("out_h1", r"\mathrm{out}_{h1}"),
        ("net", r"\mathrm{net}"),
        ("net_h1[2]", r"\mathrm{net}_{h1,2}"),
        ("∂E/∂w5", r"\frac{\partial E}{\partial w_{5}}"),
        ("∂E/∂(new w5)", r"\frac{\partial E}{\partial w_{5}^{\mathrm{new}}}"),
        ("∂e/∂b via c", r"\left.\frac{\partial e}{\partial b}\right\rvert_{c}"),
        ("∂E/∂a[n,j] via o.z", r"\left.\frac{\partial E}{\partial a_{n,j}}\right\rvert_{\mathrm{o.z}}"),
        ("σ'(net)", r"\sigma'(\mathrm{net})"),
        ("relu'(z[n,j])", r"\mathrm{relu}'(z_{n,j})"),
        ("√'(x)", r"\mathrm{sqrt}'(x)"),
        ("log_softmax(z)", r"\mathrm{log\_softmax}(z)"),
        ("m(w5)", "m(w_{5})"),
        ("m_hat(w5)", r"\hat{m}(w_{5})"),
        ("new w5", r"w_{5}^{\mathrm{new}}"),
        ("new h.W[1,2]", r"\mathrm{h.W}_{1,2}^{\mathrm{new}}"),
        ("new w'", r"{w'}^{\mathrm{new}}"),
        ("h.W[1,2]", r"\mathrm{h.W}_{1,2}"),
        ("f.1", r"\mathrm{f.1}"),
        ("h.a[·,·]", r"\mathrm{h.a}_{\cdot,\cdot}"),
        ("R_h.W", r"R_{\mathrm{h.W}}"),
        ("t_price[n,j]", r"t_{\mathrm{price},n,j}"),
        ("x_1_2", "x_{1,2}"),
        ("x'_1", "x_{1}'"),
        ("_x", r"\mathrm{\_x}"),
        ("x_", r"\mathrm{x\_}"),
        ("a__b", r"\mathrm{a\_\_b}"),
        ("η", r"\eta"),
        ("β1", r"\beta_{1}"),
        ("Wᵀ", r"W^{\mathsf{T}}"),
        ("权重1", r"\text{权重}_{1}"),
        ("w_权重", r"w_{\text{权重}}"),
        ("é", r"\text{é}"),
        ("δé", r"{\delta}\text{é}"),
        ("lstm.h@2[1,3]", r"\mathrm{lstm.h@2}_{1,3}"),
        ("0.5", "0.5"),
        ("-0.25", "-0.25"),
        ("1e-08", r"1 \cdot 10^{-8}"),
        ("-7/12", r"-\frac{7}{12}"),
        ("-Infinity", r"-\mathrm{Infinity}"),
    ],
)
def test_symbols(plain: str, expected: str) -> None:
    assert symbol_latex(plain) == expected
    check(expected)


# formulas


def over(axis: str, letter: str, count: int, term: Any) -> Sum:
    return Sum(Terms(count, term, letter), axis)


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (a + b - c, "a + b - c"),
        (a - (b - c), "a - (b - c)"),
        (a * b * c, r"a \cdot b \cdot c"),
        ((a + b) * c, r"(a + b) \cdot c"),
        (1 / (1 + exp(-net)), r"\frac{1}{1 + \exp(-\mathrm{net})}"),
        ((a / b) ** 2, r"\left(\frac{a}{b}\right)^{2}"),
        (a / b * c, r"\frac{a}{b} \cdot c"),
        (a**2, "a^{2}"),
        ((a**2) ** 3, "(a^{2})^{3}"),
        ((-a) ** 2, "(-a)^{2}"),
        (-(a**2), "-a^{2}"),
        (a ** (b + c), "a^{b + c}"),
        (new**2, r"(w_{5}^{\mathrm{new}})^{2}"),
        (tanh(a) ** 2, r"(\tanh(a))^{2}"),
        (sqrt(a / b), r"\sqrt{\frac{a}{b}}"),
        (ln(1 - a), r"\ln(1 - a)"),
        (exp(a / b), r"\exp\left(\frac{a}{b}\right)"),
        (Function("abs", (a - b,)), r"\lvert a - b \rvert"),
        (Function("abs", (a / b,)), r"\left\lvert \frac{a}{b} \right\rvert"),
        (Function("max", (number(0), a)), r"\max(0, a)"),
        (Function("erf", (a,)), r"\mathrm{erf}(a)"),
        (Function("times_ln", (a - b, c)), r"(a - b) \cdot \ln(c)"),
        (-Function("times_ln", (a, c)), r"-a \cdot \ln(c)"),
        (number(Fraction(1, 2)) * (a - b) ** 2, r"\frac{1}{2} \cdot (a - b)^{2}"),
        (number(1e-08) ** 2, r"(1 \cdot 10^{-8})^{2}"),
        (a + number(-2), "a - 2"),
        (a - number(-2), "a + 2"),
        (a * number(-2), r"a \cdot (-2)"),
        (a + minus, "a - 0.5"),
        (a - minus, "a + 0.5"),
        (minus - a, "-0.5 - a"),
        (minus * a, r"(-0.5) \cdot a"),
        (minus**2, "(-0.5)^{2}"),
        (-minus, "0.5"),
        (a * -minus, r"a \cdot 0.5"),
        (a / minus, r"\frac{a}{-0.5}"),
        (Negation(a + b), "-(a + b)"),
        (Negation(Negation(a * b)), r"-(-a \cdot b)"),
        (Worked(a + b) * c, r"(a + b) \cdot c"),
        (
            choose(a, ">", 0, 1, b),
            r"\begin{cases} 1 & a > 0 \\ b & a \le 0 \end{cases}",
        ),
        (
            c * choose(a, "=", b, 1, 0),
            r"c \cdot \left(\begin{cases} 1 & a = b \\ 0 & a \ne b \end{cases}\right)",
        ),
        (Sum(()), "0"),
    ],
)
def test_formulas(expr: Expr, expected: str) -> None:
    assert latex(expr, name) == expected
    check(expected)


def test_worked_operations_are_numbers_where_they_are_given() -> None:
    assert latex(Worked(a + b) * c, name, worked=lambda leaf: "-0.3") == r"(-0.3) \cdot c"


def test_sums_over_an_axis() -> None:
    total = over("input", "k", 2, lambda k: ref("w", (k,)) * ref("x", (k,)))
    bias = ref("b1")
    assert latex(total + bias, name, general=True) == r"\sum_{k=1}^{2} w_{k} \cdot x_{k} + b_{1}"
    assert latex(total + bias, name) == r"w_{0} \cdot x_{0} + w_{1} \cdot x_{1} + b_{1}"
    assert latex(total / 2, name, general=True) == r"\frac{\sum_{k=1}^{2} w_{k} \cdot x_{k}}{2}"
    assert latex(2 * total, name, general=True) == r"2 \cdot \left(\sum_{k=1}^{2} w_{k} \cdot x_{k}\right)"
    assert latex(-total, name, general=True) == r"-\sum_{k=1}^{2} w_{k} \cdot x_{k}"
    assert latex(over("input", "k", 1, lambda k: ref("w", (k,))), name, general=True) == "w_{0}"
    differences = over("sample", "n", 4, lambda n: a - ref("y", (n,)))
    assert latex(differences, name, general=True) == r"\sum_{n=1}^{4} (a - y_{n})"
    double = over("sample", "n", 4, lambda n: over("unit", "j", 3, lambda j: ref("E", (n, j))))
    assert latex(double, name, general=True) == r"\sum_{n=1}^{4} \sum_{j=1}^{3} E_{n,j}"


def test_every_kind_is_written_and_no_other() -> None:
    kinds = (Ref, Number, Sum, Product, Quotient, Power, Negation, Function, Choice, Worked)
    known = {kind.__name__ for kind in Expr.__subclasses__() if kind.__module__ == "bptrace.formula.expr"}
    assert {kind.__name__ for kind in kinds} == known

    class Stranger(Expr):
        pass

    with pytest.raises(TypeError, match="not a kind of formula"):
        latex(Stranger() * a, name)
    with pytest.raises(TypeError, match="not a kind of formula"):
        latex(Stranger() * a, name, general=True)


def test_an_equation() -> None:
    assert equation("out_h1", 1 / (1 + exp(-net)), name) == r"\mathrm{out}_{h1} = \frac{1}{1 + \exp(-\mathrm{net})}"


@pytest.mark.parametrize("network", bundled())
def test_every_formula_of_the_bundled_networks(network: str) -> None:
    for node in load(network).assembly().graph.stored():
        notation = Notation(node.layer)
        if node.op.name == "leaf":
            continue
        letters, expr = general(node)
        check(equation(notation.element(Ref(node, letters)), expr, notation.element, general=True))
        check(equation(notation.one(node), expr, lambda r, n=notation: n.one(r.node), general=True))
        for index in indices(node.shape)[:3]:
            check(equation(notation.element(Ref(node, index)), formula_of(node, index), notation.element))
            check(latex(formula_of(node, index), lambda r: "-0.25"))


def test_the_checks_find_what_they_look_for() -> None:
    for wrong in ("x_1_2", "x^{2}^{3}", "w'^{2}'", "{a", r"\operatorname{f}", "50%", "δ"):
        with pytest.raises(AssertionError):
            check(wrong)
    check("x_{1}^{2}")
