"""Training to convergence: what a run ends at, against what its source prints and against the same steps by NumPy."""

from __future__ import annotations

import numpy as np

from bptrace.network import load

OUTPUTS = [0.0155, 0.9849, 0.9849, 0.0175]
WEIGHTS = {
    "w13": 4.7621, "w23": 4.7618, "w14": 6.3917, "w24": 6.3917, "theta3": 7.3061, "theta4": 2.8441,
    "w35": -10.3788, "w45": 9.7691, "theta5": 4.5589,
}  # fmt: skip
"""As Negnevitsky prints them after training, to four decimals."""


def test_xor_is_learnt_from_negnevitskys_start() -> None:
    trace = load("negnevitsky-xor-trained").run()
    final = trace.final
    assert (trace.count, trace.stopped) == (2817, None)
    assert trace.losses[-1] < 0.0005 <= trace.losses[-2]
    np.testing.assert_allclose(np.ravel(final["outputs"]["o.y"]), OUTPUTS, atol=1e-4)
    for name, printed in WEIGHTS.items():
        assert abs(trace.value(f"new.{name}") - printed) < 0.03, name


def test_xor_by_numpy() -> None:
    """The thresholds as weights of an input of -1, the delta rule as the book has it: + α·y·δ."""
    x = np.array([[1, 1, -1], [0, 1, -1], [1, 0, -1], [0, 0, -1]], dtype=float)
    t = np.array([[0.0], [1], [1], [0]])
    hidden, output = np.array([[0.5, 0.4, 0.8], [0.9, 1.0, -0.1]]), np.array([[-1.2, 1.1, 0.3]])
    updates = 0
    while True:
        updates += 1
        y = 1 / (1 + np.exp(-x @ hidden.T))
        both = np.hstack([y, -np.ones((4, 1))])
        out = 1 / (1 + np.exp(-both @ output.T))
        if ((t - out) ** 2).sum() < 0.001:
            break
        delta = out * (1 - out) * (t - out)
        below = y * (1 - y) * (delta @ output[:, :2])
        output, hidden = output + 2 * delta.T @ both, hidden + 2 * below.T @ x
    trace = load("negnevitsky-xor-trained").run()
    assert updates == trace.count  # the run ends with the update after the loss that is small enough
    np.testing.assert_allclose(trace.value("o.W"), output[:, :2], rtol=1e-9)
    np.testing.assert_allclose(trace.value("h.b"), hidden[:, 2], rtol=1e-9)
