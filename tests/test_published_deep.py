"""Published numbers and laws of residual blocks, dropout, and gradients that vanish in deep networks."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.interpreter import network

import bptrace
from bptrace.network import load as load_network

# residual blocks, deep networks


def test_yehs_residual_block() -> None:
    """AI by Hand, ResNet.xlsx, sheet small: columns are samples."""
    trace = bptrace.load("yeh-resnet-small").run()
    assert trace["h.a"] == [[2, 1], [4, 3], [1, 0]]
    assert trace["res.z"] == [[9, 3], [2, 1], [8, 5], [-4, 1]]
    assert trace["res.a"] == trace["res.y"] == [[9, 3], [2, 1], [8, 5], [0, 1]]
    assert trace["o.z"] == [[17, 7]]
    np.testing.assert_allclose(trace["o.a"], [[0.9999999586006244, 0.9990889488055994]], rtol=0, atol=1e-15)


def chain(count: int, weight: float, activation: str = "identity", bias: float = 0.0) -> Any:
    """A chain of one unit a layer; returns ∂y/∂x of its end."""
    layer = {"type": "dense", "units": 1, "weights": [[weight]], "bias": [bias], "activation": activation}
    text = json.dumps({"data": {"inputs": [[0.5]]}, "layers": [layer] * count, "loss": "sum"})
    return load_network("net.yaml", text=text).run()["grad.x"][0][0]


@pytest.mark.parametrize(
    ("found", "published"),
    [
        # the largest slope of the sigmoid, at z = 0: each layer's pre-activation is 1·1/2 - 1/2 = 0
        (lambda: chain(1, 1, "sigmoid", -0.5), 0.25),
        (lambda: chain(4, 1, "sigmoid", -0.5), 0.00390625),
        (lambda: chain(10, 1, "sigmoid", -0.5), 9.5367431640625e-07),
        (lambda: chain(100, 1.5), 4.065611775352152e17),
        (lambda: chain(100, 0.5), 7.888609052210118e-31),
        (lambda: chain(50, 0.9), 0.005153775207320115),
        (lambda: chain(50, 1.1), 117.3908528796953),
    ],
    ids=["0.25", "0.25^4", "0.25^10", "1.5^100", "0.5^100", "0.9^50", "1.1^50"],
)
def test_vanishing_and_exploding_factors(found: Any, published: float) -> None:
    """Nielsen chapter 5, Dive into Deep Learning 5.4: products of as many factors as there are layers."""
    assert math.isclose(found(), published, rel_tol=1e-14, abs_tol=1e-15)


def _norms(name: str, id: str) -> list[float]:
    trace = bptrace.load(name).run()
    return [float(np.linalg.norm(trace[id.format(k)])) for k in range(1, 7)]


def test_the_gradient_vanishes_through_sigmoids_alone() -> None:
    """The same weights four times: only what the error passes on its way back differs."""
    sigmoid, relu = _norms("vanishing-sigmoid", "grad.h{}.a"), _norms("vanishing-relu", "grad.h{}.a")
    residual, normed = _norms("vanishing-residual", "grad.r{}.y"), _norms("vanishing-batch-norm", "grad.n{}.a")
    factors = [below / above for below, above in itertools.pairwise(sigmoid)]
    assert all(factor < 1 / 4 for factor in factors)  # σ' is at most 1/4, the weights are about 1
    assert sigmoid[0] / sigmoid[-1] < 2e-4
    assert relu[0] / relu[-1] > 0.2
    assert 1 < residual[0] / residual[-1] < 1.5
    assert normed[0] / normed[-1] > 0.2
    names = [f"vanishing-{kind}" for kind in ("sigmoid", "relu", "residual", "batch-norm")]
    weights = [_norms(name, "h{}.W") for name in names]
    assert weights.count(weights[0]) == 4
    assert len({str(bptrace.load(name).run()["x"]) for name in names}) == 1


def test_batch_norm_divides_by_the_small_spread_of_sigmoids() -> None:
    """Its factor γ/√(σ² + ε) is more than 3 in each layer but the first, against σ' of at most 1/4."""
    trace = bptrace.load("vanishing-batch-norm").run()
    for k in range(2, 7):
        factor = 1 / np.sqrt(np.array(trace[f"n{k}.var"]) + 1e-5)
        assert (factor > 3).all(), k


# dropout


def test_expectation_over_all_masks() -> None:
    """Srivastava et al. 2014, Wager et al. 2013: inverted dropout before a linear unit leaves its expectation alone,
    and adds ((1-p)/p)·a²·w to the expected gradient of half the squared error, p the probability of being kept."""
    w, a, keep, y = [0.7, -1.1, 0.4], [1, 2, -0.5], 0.8, 0.3
    output, gradient, total = 0.0, np.zeros(3), 0.0
    for mask in itertools.product((0, 1), repeat=3):
        layers = [
            {"type": "dropout", "name": "drop", "rate": 0.2, "mask": mask},
            {"type": "dense", "name": "o", "units": 1, "weights": [w], "bias": False},
        ]
        data = {"inputs": [a], "targets": [[y]]}
        made = network(json.dumps({"data": data, "layers": layers, "loss": "half_squared_error"}))
        chance = float(np.prod([keep if m else 1 - keep for m in mask]))
        output += chance * made["o.z"].item()
        gradient += chance * made["grad.o.W"][0]
        total += chance
    plain = np.dot(w, a)
    assert total == pytest.approx(1, abs=1e-15)
    assert output == pytest.approx(plain, abs=1e-12)
    ridge = (1 - keep) / keep * np.square(a) * w
    np.testing.assert_allclose(gradient, (plain - y) * np.array(a) + ridge, rtol=0, atol=1e-12)


def test_ngs_dropout_forward() -> None:
    trace = bptrace.load("ng-c2-dropout-forward").run()
    published = [[0.36974721, 0.00305176, 0.04565099, 0.49683389, 0.36974721]]
    np.testing.assert_allclose(trace["o.a"], published, rtol=0, atol=6e-9)


PUBLISHED_DA1 = [[0.36544439, 0, -0.00188233, 0, -0.17408748], [0.65515713, 0, -0.00337459, 0, 0]]
PUBLISHED_DA2 = [
    [0.58180856, 0, -0.00299679, 0, -0.27715731], [0, 0.53159854, 0, 0.53159854, -0.34089673],
    [0, 0, -0.00292733, 0, 0],
]  # fmt: skip


def test_ngs_dropout_backward() -> None:
    trace = bptrace.load("ng-c2-dropout-backward").run()
    np.testing.assert_allclose(trace["grad.h2.a"], PUBLISHED_DA2, rtol=0, atol=1.5e-8)
    np.testing.assert_allclose(trace["grad.h1.a"], PUBLISHED_DA1, rtol=0, atol=1.5e-8)


def test_ngs_notebook_mixes_two_probabilities() -> None:
    """Its forward pass keeps with 0.5, its backward pass divides by 0.8. With 0.5 throughout the outputs are the
    notebook's, and the gradients differ by 0.8/0.5 for each dropout layer on the way."""
    path = Path(__file__).parent.parent / "networks" / "ng-c2-dropout-backward.yaml"
    text = path.read_text(encoding="utf-8").partition("upstream:")[0].replace("rate: 0.2", "rate: 0.5")
    text = text.replace("layers:", "  targets: [[1, 1, 0, 1, 0]]\nlayers:")
    text += "loss: {type: binary_cross_entropy, reduction: sum}\n"
    trace = load_network("net.yaml", text=text).run()
    a2 = [[1.06071093, 0, 8.21049603, 0, 1.06071093], [0] * 5, [0] * 5]
    np.testing.assert_allclose(trace["D2.y"], a2, rtol=0, atol=6e-9)
    a3 = [[0.32266394, 0.49683389, 0.00348883, 0.49683389, 0.32266394]]
    np.testing.assert_allclose(trace["o.a"], a3, rtol=0, atol=6e-9)
    np.testing.assert_allclose(trace["grad.h2.a"], 1.6 * np.array(PUBLISHED_DA2), rtol=0, atol=3e-8)
    np.testing.assert_allclose(trace["grad.h1.a"], 2.56 * np.array(PUBLISHED_DA1), rtol=0, atol=5e-8)


def test_dropout_before_a_linear_unit_draws_all_kinds_of_masks() -> None:
    """Each iteration's gradient is the one of its own mask: (w·u - t)·u with u = a·m/0.8."""
    trace = bptrace.load("dropout-linear-unit").run()
    masks = [trace.value("drop.mask", i)[0] for i in (1, 2, 3)]
    assert len({str(mask) for mask in masks}) > 1
    for i, mask in enumerate(masks, 1):
        u = np.array([1, 2, -0.5]) * mask / 0.8
        w = np.array(trace.value("o.W", i)[0])
        np.testing.assert_allclose(trace.value("grad.o.W", i)[0], (w @ u - 0.3) * u, rtol=1e-13, atol=1e-15)
