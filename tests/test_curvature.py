"""The Hessian of the loss: products, the largest eigenvalue, learning rates; against algebra, PyTorch, differences."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bptrace.errors import RunError, UsageError
from bptrace.formula.dual import Dual, Duals
from bptrace.formula.evaluate import evaluate
from bptrace.formula.expr import ONE, Expr, Function, Number, Ref, choose, exp, ln, sqrt, tanh
from bptrace.graph.node import Node
from bptrace.network import Network, load
from bptrace.ops.activations import Tanh
from bptrace.ops.leaves import Leaf
from bptrace.study.curvature import curvature, hessian_of
from bptrace.study.hessian import Hessian

Floats = NDArray[np.float64]


def matrix(hessian: Hessian) -> Floats:
    return np.array([hessian.times(row) for row in np.eye(hessian.size)])


def hessian(network: Network) -> Hessian:
    return hessian_of(network.run(1), 1)


def quadratic(a: Any, start: Any = None) -> Network:
    """w·A·w/2, whose Hessian is the symmetric A."""
    size = len(a)
    text = {
        "inputs": {"a": a}, "parameters": {"w": start or [1.0] * size}, "graph": {"f": "0.5 * dot(w, a @ w)"},
        "optimizer": {"type": "sgd", "learning_rate": 0.1},
    }  # fmt: skip
    return load("net.yaml", text=json.dumps(text))


# quadratics: known eigenvalues


@pytest.mark.parametrize("seed", range(4))
def test_eigenvalues_of_quadratics(seed: int) -> None:
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    values = np.array([7.0, 3.0, 1.0, 0.5, 0.25])
    a = turn @ np.diag(values) @ turn.T
    a = (a + a.T) / 2
    trace = quadratic(a.tolist()).run(1)
    np.testing.assert_allclose(matrix(hessian_of(trace, 1)), a, atol=1e-13)
    found = trace.curvature()
    assert found.largest == pytest.approx(7.0, rel=1e-11)
    assert (found.fastest, found.limit) == (pytest.approx(1 / 7), pytest.approx(2 / 7))
    assert found.settled
    assert not found.further
    v = np.array(found.direction)
    np.testing.assert_allclose(a @ v, 7 * v, atol=1e-6)


@pytest.mark.parametrize("values", [[-6.0, 4.0, 1.0], [-6.0, -2.0, -1.0], [-5.0, 5.0, 1.0], [-6.0, 0.0, 0.0]])
def test_the_largest_where_another_is_larger_in_size(values: list[float]) -> None:
    found = quadratic(np.diag(values).tolist()).run(1).curvature()
    if values[0] == -values[1]:  # two of the same size: nothing is claimed
        assert not found.settled
        return
    assert found.dominant == pytest.approx(values[0], rel=1e-11)
    assert found.largest == pytest.approx(max(values), abs=1e-10)
    assert found.further


def test_gradient_descent_at_these_rates() -> None:
    """1/λ_max removes the steepest direction at once, below 2/λ_max it shrinks, above it grows."""
    a = [[10.0, 0.0], [0.0, 1.0]]
    found = quadratic(a).run(1).curvature()
    assert found.fastest is not None
    assert found.limit is not None
    for rate, growth in ((found.fastest, 0.0), (0.99 * found.limit, 0.98), (1.01 * found.limit, 1.02)):
        net = quadratic(a)
        trace = load("net.yaml", text=net.spec.text, overrides=[f"optimizer.learning_rate={rate}"]).run(3)
        w = [trace.value("w", k)[0] for k in (1, 2, 3)]
        assert abs(w[1] / w[0]) == pytest.approx(growth, abs=1e-9)


# PyTorch


ACTIVATIONS = {
    "sigmoid": "torch.sigmoid(z)", "tanh": "torch.tanh(z)", "scaled_tanh": "1.7159 * torch.tanh(2 / 3 * z)",
    "softplus": "torch.nn.functional.softplus(z)", "gelu": "torch.nn.functional.gelu(z)",
    "swish": "torch.nn.functional.silu(z)", "elu": "torch.nn.functional.elu(z)", "relu": "torch.relu(z)",
    "softsign": "torch.nn.functional.softsign(z)", "softmax": "torch.softmax(z, -1)",
}  # fmt: skip
LOSSES: dict[str, tuple[str, str]] = {
    "half_squared_error": ("identity", "0.5 * ((t - y) ** 2).sum(1).mean()"),
    "mean_squared_error": ("tanh", "((t - torch.tanh(y)) ** 2).mean()"),
    "cross_entropy": ("softmax", "-(t * torch.log_softmax(y, 1)).sum(1).mean()"),
    "cross_entropy_with_logits": ("identity", "-(t * torch.log_softmax(y, 1)).sum(1).mean()"),
    "binary_cross_entropy": ("sigmoid", "F.binary_cross_entropy_with_logits(y, t, reduction='sum') / 4"),
    "binary_cross_entropy_with_logits": ("identity", "F.binary_cross_entropy_with_logits(y, t, reduction='sum') / 4"),
    "log_cosh": ("identity", "torch.log(torch.cosh(y - t)).sum(1).mean()"),
}  # fmt: skip
X = [[0.5, -0.3], [1.2, 0.4], [-0.7, 0.9], [0.1, -1.5]]
T = [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.3, 0.7]]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_hessian_is_pytorchs(activation: str, loss: str) -> None:
    torch = pytest.importorskip("torch")
    last, formula = LOSSES[loss]
    layers = [
        {"type": "dense", "name": "h", "units": 3, "activation": activation},
        {"type": "dense", "name": "o", "units": 2, "activation": last},
    ]
    net = load("net.yaml", text=json.dumps({
        "data": {"inputs": X, "targets": T}, "layers": layers, "loss": loss, "penalty": {"l2": 0.3},
        "optimizer": {"type": "adam", "learning_rate": 0.1},
    }))  # fmt: skip
    trace = net.run(1)
    found = hessian_of(trace, 1)
    sizes = [(3, 2), (3,), (2, 3), (2,)]
    start = np.concatenate([np.array(trace[id]).reshape(-1) for id in ("h.W", "h.b", "o.W", "o.b")])

    def total(flat: Any) -> Any:
        parts, at = [], 0
        for size in sizes:
            count = math.prod(size)
            parts.append(flat[at : at + count].reshape(size))
            at += count
        x, t = torch.tensor(X, dtype=torch.float64), torch.tensor(T, dtype=torch.float64)
        z = x @ parts[0].T + parts[1]
        y = eval(ACTIVATIONS[activation], {"torch": torch, "z": z}) @ parts[2].T + parts[3]
        penalty = 0.15 * ((parts[0] ** 2).sum() + (parts[2] ** 2).sum())
        return eval(formula, {"F": torch.nn.functional, "torch": torch, "t": t, "y": y}) + penalty

    expected = torch.autograd.functional.hessian(total, torch.tensor(start)).numpy()
    np.testing.assert_allclose(matrix(found), expected, rtol=1e-9, atol=1e-12)
    assert trace.curvature().largest == pytest.approx(np.linalg.eigvalsh(expected)[-1], rel=1e-8)


SMOOTH = [
    "mazur", "gomez-lstm-numerical-example", "yeh-self-attention-small", "polarized-self-attention",
    "encoder-decoder-attention", "two-losses", "batch-norm-by-hand", "iris", "nielsen-toy-neuron-2",
    "diabetes-regularised", "child-tuning-task", "child-tuning-free",
]  # fmt: skip


@pytest.mark.parametrize("name", SMOOTH)
def test_products_are_differences_of_gradients(name: str) -> None:
    """The one thing that needs no derivative rule at all."""
    trace = load(name).run(1)
    found = hessian_of(trace, 1)
    v = np.random.default_rng(3).normal(size=found.size)
    v /= np.linalg.norm(v)
    ends = []
    for h in (1e-5, -1e-5):
        shifted: dict[str, list[float]] = {}
        at = 0
        for p in found.parameters:
            flat = [float(x) for x in trace.values(1).flat(trace.assembly(1).graph.by_id[p.id])]
            shifted[p.id] = [x + h * d for x, d in zip(flat, v[at : at + p.size], strict=True)]
            at += p.size
        ends.append(hessian_of(trace, 1, shifted).gradient())
    product = found.times(v)
    scale = max(1.0, float(np.abs(product).max()))
    np.testing.assert_allclose(product, (ends[0] - ends[1]) / 2e-5, atol=2e-8 * scale)


@pytest.mark.parametrize(
    "name", ["mazur", "iris", "diabetes-regularised", "batch-norm-by-hand", "child-tuning-task", "han-kamber"]
)
def test_hessians_are_symmetric(name: str) -> None:
    h = matrix(hessian(load(name)))
    np.testing.assert_allclose(h, h.T, atol=1e-12 * max(1.0, float(np.abs(h).max())))


# what it is taken of


def test_all_training_data_whatever_the_batches() -> None:
    batches = load("iris", overrides=["training.batch_size=7"]).run(1).curvature()
    whole = load("iris", overrides=["training.batch_size=all"]).run(1).curvature()
    assert batches.largest == whole.largest
    trace = load("iris", overrides=["training.batch_size=all", "training.order=given"]).run(1)
    assert whole.loss == pytest.approx(trace.loss(1), rel=1e-12)


def test_at_another_iteration() -> None:
    trace = load("mazur").run(5)
    first, later = trace.curvature(1), curvature(trace, 5)
    assert first.largest != later.largest
    assert later.loss == pytest.approx(trace.loss(5), rel=1e-12)
    assert first.at == 1


@pytest.mark.parametrize("convention", ["delta_sign=error", "delta_scale=sample", "update_order=sequential"])
def test_conventions_change_nothing(convention: str) -> None:
    plain = load("mazur").run(1).curvature().largest
    assert load("mazur", overrides=[f"conventions.{convention}"]).run(1).curvature().largest == pytest.approx(
        plain, rel=1e-12
    )


# dual numbers


NODE = Node("x", Leaf(), (), (), "data")
EXPRS: list[tuple[Callable[[Expr], Expr], Callable[[float], float], float]] = [
    (lambda x: x**3, lambda x: x**3, 1.3),
    (lambda x: x**3, lambda x: x**3, -1.3),
    (lambda x: ONE / x, lambda x: 1 / x, -0.7),
    (lambda x: x / (ONE + x), lambda x: x / (1 + x), 0.7),
    (exp, math.exp, 0.3),
    (ln, math.log, 2.5),
    (sqrt, math.sqrt, 2.5),
    (tanh, math.tanh, -0.4),
    (lambda x: Function("sin", (x,)), math.sin, 0.9),
    (lambda x: Function("cos", (x,)), math.cos, 0.9),
    (lambda x: Function("erf", (x,)), math.erf, 0.9),
    (lambda x: Function("abs", (x,)), abs, -0.9),
    (lambda x: Function("max", (x, ONE)), lambda x: max(x, 1), 1.5),
    (lambda x: Function("max", (x, ONE)), lambda x: max(x, 1), 0.5),
    (lambda x: Function("min", (x, ONE)), lambda x: min(x, 1), 0.5),
    (lambda x: Function("times_ln", (x, x * x)), lambda x: x * math.log(x * x), 1.7),
    (lambda x: Function("largest", (Number(Fraction(2), "2"), x, ONE, x * x)), lambda x: sorted((x, 1, x * x))[1], 1.7),
    (lambda x: choose(x, ">", ONE, x * x, -x), lambda x: x * x if x > 1 else -x, 1.7),
    (lambda x: choose(x, ">", ONE, x * x, -x), lambda x: x * x if x > 1 else -x, 0.7),
    (lambda x: (ONE + x) ** x, lambda x: (1 + x) ** x, 1.2),
]


@pytest.mark.parametrize(("formula", "function", "at"), EXPRS)
def test_dual_numbers(formula: Callable[[Expr], Expr], function: Callable[[float], float], at: float) -> None:
    found = evaluate(formula(Ref(NODE, ())), lambda ref: Dual(at, 1.0), Duals())
    assert found.value == pytest.approx(function(at), rel=1e-12)
    assert found.slope == pytest.approx((function(at + 1e-6) - function(at - 1e-6)) / 2e-6, rel=1e-7, abs=1e-8)


def test_what_does_not_move_adds_nothing() -> None:
    """0 times an infinity does not occur: a factor without a slope has no derivative, however large it is."""
    zero = evaluate(Function("times_ln", (Ref(NODE, ()), Ref(NODE, ()))), lambda ref: Dual(0.0, 0.0), Duals())
    assert (zero.value, zero.slope) == (0.0, 0.0)


# refusals


def test_without_loss_or_parameters() -> None:
    for name in ("convolution-3x3", "cs231n-fxyz"):
        with pytest.raises(UsageError, match="the Hessian needs a loss and parameters that are trained"):
            load(name).run(1).curvature()


def test_an_op_without_a_second_derivative_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
data: {inputs: [[1, 2]], targets: [[0]]}
layers:
- {type: dense, name: h, units: 1, activation: tanh}
loss: squared_error
"""
    trace = load("net.yaml", text=text).run(1)

    def unknown(self: Any, z: Expr, a: Expr) -> Expr:
        return Function("bessel", (a,))

    monkeypatch.setattr(Tanh, "slope", unknown)
    with pytest.raises(RunError, match=r"local\.h\.a: the op slope has no second derivative \('bessel'\)"):
        trace.curvature()


# the command


def test_page(command: Any) -> None:
    page = command("diagnose", "quadratic-gd", "--hessian", "--digits", "6").out
    rates = re.findall(r"^ (\S*λ_max) +.* (\S+)$", page, re.M)
    assert rates == [("λ_max", "10.000000"), ("1/λ_max", "0.100000"), ("2/λ_max", "0.200000")]
    assert "is not above 1/λ_max" in page
    beyond = command("diagnose", "quadratic-gd", "--hessian", "--set", "optimizer.learning_rate=0.3").out
    assert "0.3, is above both" in beyond
    assert "最大特征值" in command("diagnose", "quadratic-gd", "--hessian", "--lang", "zh").out


def test_json_and_csv(command: Any) -> None:
    found = json.loads(command("diagnose", "quadratic-gd", "--hessian", "--json").out)
    assert found["format"] == "bptrace-curvature"
    assert found["largest"] == pytest.approx(10)
    assert found["fastest_rate"] == pytest.approx(0.1)
    assert found["steps"][-1]["residual"] <= 1e-7 * found["largest"]
    rows = command("diagnose", "quadratic-gd", "--hessian", "--format", "csv").out.splitlines()
    assert rows[0] == "step,quantity,value"
    assert float(rows[-1].split(",")[2]) == found["largest"]


def test_the_table_is_that_of_the_powers() -> None:
    """Each estimate is that of a power iteration by hand."""
    a = np.array([[3.0, 1.0], [1.0, 2.0]])
    found = quadratic(a.tolist()).run(1).curvature()
    v = np.array(found.direction)
    np.testing.assert_allclose(a @ v, found.largest * v, atol=1e-6)
    changes = [step.change for step in found.steps[1:]]
    for before, after, change in zip(found.steps, found.steps[1:], changes, strict=False):
        assert change == after.estimate - before.estimate
    assert found.largest == pytest.approx((5 + math.sqrt(5)) / 2, rel=1e-11)
