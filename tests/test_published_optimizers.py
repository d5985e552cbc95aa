"""Published traces of optimizers, digit by digit, and the same bowl for the classic ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bptrace.network import load, locate

SIX = 0.51e-6

# network: (settings changed, x1 and x2 after 20 steps as printed)
PRINTED: dict[str, list[tuple[list[str], tuple[float, float]]]] = {
    # Dive into Deep Learning, sections Gradient Descent, Momentum, Adagrad, RMSProp
    "d2l-2d-gd2d": [([], (-0.057646, -0.000073))],
    "d2l-2d-gd": [
        ([], (-0.943467, -0.000073)),
        (["optimizer.learning_rate=0.6"], (-0.387814, -1673.365109)),
    ],
    "d2l-2d-momentum": [
        ([], (0.007188, 0.002553)),
        (["optimizer.momentum=0.25"], (-0.126340, -0.186632)),
    ],
    "d2l-2d-adagrad": [
        ([], (-2.382563, -0.158591)),
        (["optimizer.learning_rate=2"], (-0.002295, -0.000000)),
    ],
    "d2l-2d-rmsprop": [([], (-0.010599, 0.000000))],
}
COMPARED = [
    "quadratic-gd", "quadratic-momentum", "quadratic-nesterov", "quadratic-adagrad", "quadratic-rmsprop",
    "quadratic-adam",
]  # fmt: skip


def final(name: str, changes: list[str]) -> list[float]:
    parameters = load(locate(name), overrides=changes).run().final["parameters"]
    return [parameters["x1"], parameters["x2"]]


@pytest.mark.parametrize(
    ("name", "changes", "printed"),
    [
        pytest.param(name, changes, printed, id=f"{name} {' '.join(changes)}".strip())
        for name, lines in PRINTED.items()
        for changes, printed in lines
    ],
)
def test_printed_numbers(name: str, changes: list[str], printed: tuple[float, float]) -> None:
    np.testing.assert_allclose(final(name, changes), printed, rtol=0, atol=SIX)


# the bowl ½·(x1² + 10·x2²) from (4, 1)

START, STEEP = np.array([4.0, 1.0]), np.array([1.0, 10.0])


def test_gradient_descent_has_a_closed_form() -> None:
    np.testing.assert_allclose(final("quadratic-gd", []), START * (1 - 0.1 * STEEP) ** 20, atol=1e-14)


@pytest.mark.parametrize("ahead", [False, True])
def test_momentum_is_a_matrix_to_the_power_of_20(ahead: bool) -> None:
    """(v, w) -> (μ·v + c·w', w - η·(...)): linear, with w' = w or, ahead, w - η·μ·v."""
    found = []
    for start, steep in zip(START, STEEP, strict=True):
        v = np.array([0.8 - (steep * 0.05 * 0.8 if ahead else 0.0), steep])
        step = np.array([v, np.array([0.0, 1.0]) - 0.05 * v])
        found.append((np.linalg.matrix_power(step, 20) @ [0.0, start])[1])
    np.testing.assert_allclose(final("quadratic-nesterov" if ahead else "quadratic-momentum", []), found, atol=1e-13)


@pytest.mark.parametrize("kind", ["adagrad", "rmsprop", "adam"])
def test_as_pytorch(kind: str) -> None:
    torch = pytest.importorskip("torch")
    optimizers: dict[str, Any] = {
        "adagrad": lambda p: torch.optim.Adagrad([p], 0.5),
        "rmsprop": lambda p: torch.optim.RMSprop([p], 0.2, alpha=0.9),
        "adam": lambda p: torch.optim.Adam([p], 0.3),
    }
    x = torch.tensor(START, requires_grad=True)
    optimizer = optimizers[kind](x)
    for _ in range(20):
        optimizer.zero_grad()
        (0.5 * (torch.tensor(STEEP) * x**2).sum()).backward()
        optimizer.step()
    np.testing.assert_allclose(final(f"quadratic-{kind}", []), x.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", COMPARED)
def test_every_way_leads_down(name: str) -> None:
    trace = load(locate(name)).run()
    assert trace.count == 20
    assert trace.final["loss"] < trace.value("loss", iteration=1) / 10
