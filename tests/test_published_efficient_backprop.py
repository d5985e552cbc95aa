"""Efficient BackProp (LeCun, Bottou, Orr and Müller, 1998): what each trick buys, as the networks' notes say."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest

from bptrace.network import load

EPOCHS = {
    "efficient-backprop-1-base": [1409, 1793, 1267, 1926, 1449],
    "efficient-backprop-2-standard": [1775, 2182, 1547, 2791, 2224],
    "efficient-backprop-3-tanh": [510, 720, 328, 654, 865],
    "efficient-backprop-4-weights": [369, 278, 1040, 479, 464],
    "efficient-backprop-5-stochastic": [5, 4, 9, 6, 5],
    "efficient-backprop-6-rate": [4, 4, 5, 7, 4],
}
"""Epochs until the loss is below 0.1, with the seeds 0 to 4."""
AT_OWN_RATE = {
    "efficient-backprop-1-base": (0.1827, 387),
    "efficient-backprop-2-standard": (0.3698, 241),
    "efficient-backprop-3-tanh": (0.2536, 103),
    "efficient-backprop-4-weights": (0.1133, 168),
}
"""1/λ_max at the start, with seed 0, and the epochs with it as the learning rate."""


@cache
def epochs(step: str, seed: int = 0, rate: float | None = None) -> int:
    overrides = ["training.epochs=3000", "training.stop={loss_below: 0.1}", f"seed={seed}", f"training.seed={seed}"]
    overrides += [] if rate is None else [f"optimizer.learning_rate={rate}"]
    return load(step, overrides=overrides).run(show=[1]).epochs


def notes(step: str) -> str:
    return load(step).spec.network.notes or ""


@pytest.mark.parametrize("step", EPOCHS)
def test_the_notes_say_what_was_measured(step: str) -> None:
    counts = [epochs(step, seed) for seed in range(5)]
    assert counts == EPOCHS[step]
    assert " ".join(map(str, counts)) in " ".join(notes(step).split())


@pytest.mark.parametrize("step", AT_OWN_RATE)
def test_epochs_at_the_rate_of_the_largest_eigenvalue(step: str) -> None:
    rate, count = AT_OWN_RATE[step]
    fastest = load(step).run(1).curvature().fastest
    assert fastest is not None
    assert round(fastest, 4) == rate
    assert epochs(step, rate=rate) == count
    assert {f"{rate}", f"{count}"} <= set(re.findall(r"\d+\.\d+|\d+", notes(step)))


def test_the_last_network_has_that_rate() -> None:
    trace = load("efficient-backprop-6-rate").run(1)
    fastest = trace.curvature().fastest
    assert fastest is not None
    assert trace["setting.optimizer.learning_rate"] == round(fastest, 4)


def test_what_each_trick_buys() -> None:
    """Standardised inputs help through the learning rate, one sample at a time helps most."""
    base, standard, tanh, weights, stochastic, rate = EPOCHS.values()
    assert all(a < b for a, b in zip(base, standard, strict=True))
    own = [count for _, count in AT_OWN_RATE.values()]
    assert own[1] < own[0]
    assert all(a > 2 * b for a, b in zip(standard, tanh, strict=True))
    assert all(a > 50 * b for a, b in zip(weights, stochastic, strict=True))
    assert sum(rate) < sum(stochastic)


def test_the_activation_and_the_inputs_are_the_papers() -> None:
    trace = load("efficient-backprop-4-weights").run(1)
    x, z = np.array(trace["x"]), np.array(trace["h.z"])
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(x.var(axis=0), 1, rtol=1e-12)
    np.testing.assert_allclose(np.array(trace["h.a"]), 1.7159 * np.tanh(2 / 3 * z), rtol=1e-14)


def test_every_sample_once_in_an_epoch() -> None:
    trace = load("efficient-backprop-5-stochastic").run()
    first = [trace.samples(k)[0] for k in range(1, 151)]
    assert sorted(first) == list(range(1, 151))
    assert first != sorted(first)
