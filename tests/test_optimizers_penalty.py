"""L1 and L2 penalties in every published scaling, against the sums written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import test_optimizers as cases

FACTORS = {"half": (0.5, 1.0), "one": (1.0, 1.0), "half_over_samples": (0.125, 0.25), "over_samples": (0.25, 0.25)}
"""Before λ2·Σw² and before λ1·Σ|w|, with 4 samples."""


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("scale", FACTORS)
@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.3), (0.2, 0.0), (0.2, 0.3)])
def test_scale(scale: str, l1: float, l2: float, bias: bool) -> None:
    found = cases.trace(cases.dense(None, 1, penalty={"l1": l1, "l2": l2, "scale": scale, "bias": bias}))
    plain = cases.trace(cases.dense(None, 1))
    square, absolute = FACTORS[scale]
    total = 0.0
    for id, start in cases.START.items():
        w = np.array(start)
        slope = 0 * w
        if bias or id.endswith("W"):
            own = l2 * square * (w**2).sum() + l1 * absolute * np.abs(w).sum()
            assert found.value(f"loss.penalty.{id}") == pytest.approx(own, rel=1e-14)
            slope = 2 * l2 * square * w + l1 * absolute * np.sign(w)
            total += own
        np.testing.assert_allclose(
            found.value(f"grad.{id}"), np.array(plain.value(f"grad.{id}")) + slope, rtol=1e-13, atol=1e-15
        )
    assert found.value("loss.penalty") == pytest.approx(total, rel=1e-14)
    assert found.value("loss") == pytest.approx(plain.value("loss") + total, rel=1e-14)
    np.testing.assert_array_equal(found.value("loss.terms"), plain.value("loss.terms"))


def test_penalties_of_the_top_and_of_a_layer_add_up() -> None:
    document = cases.dense(None, 1, penalty={"l2": 0.1})
    document["layers"][0]["penalty"] = {"l1": 0.2, "scale": "one"}
    found, w = cases.trace(document), np.array(cases.START["h.W"])
    plain = cases.trace(cases.dense(None, 1))
    assert found.value("loss.penalty.h.W") == pytest.approx(0.05 * (w**2).sum())
    assert found.value("loss.penalty.h.W.2") == pytest.approx(0.2 * np.abs(w).sum())
    np.testing.assert_allclose(
        found.value("grad.h.W"), np.array(plain.value("grad.h.W")) + 0.1 * w + 0.2 * np.sign(w), rtol=1e-13
    )


def test_the_strength_is_a_setting() -> None:
    document: Any = cases.dense({"type": "sgd", "learning_rate": 0.1}, 2, penalty={"l2": 0.1, "l1": 0.05})
    document["layers"][1]["penalty"] = {"l2": 0.4}
    found = cases.trace(document)
    assert found.value("setting.penalty.l2") == 0.1
    assert found.value("setting.penalty.l1") == 0.05
    assert found.value("setting.penalty.o.l2") == 0.4
    text = str(found.explain("loss.penalty.o.W.2"))
    assert "λ2_o" in text
    assert "0.4" in text


def test_smaller_batches_divide_by_their_own_number() -> None:
    document: Any = cases.dense({"type": "sgd", "learning_rate": 0.0}, 2, penalty={"l2": 0.1, "scale": "over_samples"})
    document["training"]["batch_size"] = 3
    found, w = cases.trace(document), np.array(cases.START["o.W"])
    for iteration, samples in ((1, 3), (2, 1)):
        assert found.value("loss.penalty.o.W", iteration=iteration) == pytest.approx(0.1 / samples * (w**2).sum())
