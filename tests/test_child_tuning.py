"""Child-Tuning: masks drawn anew at every step, and masks from the Fisher information before training."""

from __future__ import annotations

import itertools
import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from bptrace.engine.checkpoint import checkpoint_text, read_checkpoint
from bptrace.errors import SpecError
from bptrace.network import Network, load
from bptrace.ops.drawn import Drawn
from bptrace.optimizers import OPTIMIZERS
from bptrace.optimizers.fisher import NOT_LIKELIHOODS
from bptrace.optimizers.mask import Below, Largest, MaskedMean, trained_count
from bptrace.spec.words import LOSSES
from bptrace.trace import Trace

PARAMETERS = ("h.W", "h.b", "o.W", "o.b")
LAYERS = [
    {"type": "dense", "name": "h", "units": 2, "activation": "tanh"},
    {"type": "dense", "name": "o", "units": 2, "activation": "softmax"},
]
DATA = {"inputs": [[0.5, 1.0], [1.0, -1.0], [-0.5, 0.5], [0.25, 2.0]], "targets": [[1, 0], [0, 1], [1, 0], [0.5, 0.5]]}
DECAYING = ("adamw",)
"""Optimizers whose own weight decay moves every weight, as in the authors' code."""


def network(mask: Any = None, optimizer: str = "sgd", **fields: Any) -> Network:
    settings: dict[str, Any] = {"type": optimizer, **({} if optimizer == "adadelta" else {"learning_rate": 0.1})}
    settings |= {"weight_decay": 0} if optimizer in DECAYING else {}
    settings |= {"mask": mask} if mask else {}
    settings |= fields.pop("optimizer_fields", {})
    whole = {
        "data": DATA,
        "layers": LAYERS,
        "loss": "cross_entropy",
        "optimizer": settings,
        "training": {"iterations": 6},
    }
    return load("net.yaml", text=json.dumps(whole | fields))


def free(p: float, seed: int = 0) -> dict[str, Any]:
    return {"child_tuning": "free", "p": p, "seed": seed}


def task(p: float) -> dict[str, Any]:
    return {"child_tuning": "task", "p": p}


def refused(**fields: Any) -> str:
    with pytest.raises(SpecError) as error:
        network(**fields).run(1)
    return str(error.value)


# drawn anew


@pytest.mark.parametrize("p", [Fraction(3, 10), Fraction(1, 2), Fraction(1)])
def test_mean_and_variance_over_all_masks(p: Fraction) -> None:
    """Of the published gradient, exactly: E[M·g/p] = g, Var = g²·(1 - p)/p."""
    g = [Fraction(3, 10), Fraction(-12, 10), Fraction(5, 100), Fraction(2)]
    mean, square = [Fraction(0)] * 4, [Fraction(0)] * 4
    for mask in itertools.product((0, 1), repeat=4):
        chance = p ** sum(mask) * (1 - p) ** (4 - sum(mask))
        masked = [MaskedMean().value(*map(_number, (x, Fraction(m), p))) for x, m in zip(g, mask, strict=True)]
        values = [_exact(expr) for expr in masked]
        mean = [a + chance * v for a, v in zip(mean, values, strict=True)]
        square = [a + chance * v * v for a, v in zip(square, values, strict=True)]
    assert mean == g
    assert [s - m * m for s, m in zip(square, mean, strict=True)] == [x * x * (1 - p) / p for x in g]


def _number(value: Fraction) -> Any:
    from bptrace.formula.expr import Number

    return Number(value, str(value))


def _exact(expr: Any) -> Fraction:
    from bptrace.formula.evaluate import Fractions, evaluate

    return evaluate(expr, lambda ref: pytest.fail(f"{ref}"), Fractions())  # type: ignore[no-any-return]


def test_the_share_of_ones() -> None:
    u = Drawn("0:mask.w", (100_000,)).compute(np.array(1.0))
    for p in (0.1, 0.3, 0.9):
        share = Below().numbers(u, np.array(p)).mean()
        assert abs(share - p) < 4 * (p * (1 - p) / u.size) ** 0.5
    assert Below().numbers(u, np.array(1.0)).all()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("mask", [free(1.0), task(1.0)], ids=["free", "task"])
def test_with_p_of_1_training_is_the_plain_one(optimizer: str, mask: dict[str, Any]) -> None:
    plain, masked = network(None, optimizer).run(), network(mask, optimizer).run()
    assert plain.losses == masked.losses
    assert plain.final["parameters"] == masked.final["parameters"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_reads_the_masked_gradient(optimizer: str) -> None:
    """As PyTorch users do it: p.grad is multiplied before the step."""
    trace = network(free(0.5), optimizer).run()
    for k in range(1, 7):
        for id in PARAMETERS:
            g, m = (np.array(trace.value(f"{what}.{id}", k)) for what in ("grad", "mask"))
            np.testing.assert_array_equal(np.array(trace.value(f"masked.{id}", k)), m * g / 0.5)
            assert set(m.reshape(-1)) <= {0.0, 1.0}
    assert trace.value("mask.h.W", 1) != trace.value("mask.h.W", 2)


def test_adam_moments_are_those_of_the_masked_gradient() -> None:
    trace = network(free(0.5), "adam").run()
    m = np.zeros((2, 2))
    for k in range(1, 7):
        m = 0.9 * m + 0.1 * np.array(trace.value("masked.h.W", k))
        np.testing.assert_allclose(np.array(trace.value("new.state.m.h.W", k)), m, rtol=1e-12)


def test_order_clip_mask_decay() -> None:
    trace = network(free(0.5), optimizer_fields={"clip": {"value": 0.01}, "weight_decay": 0.1}).run(1)
    for id in PARAMETERS:
        g, m, w, new = (np.array(trace.value(x)) for x in (f"grad.{id}", f"mask.{id}", id, f"new.{id}"))
        np.testing.assert_allclose(new, w - 0.1 * (m * np.clip(g, -0.01, 0.01) / 0.5 + 0.1 * w), rtol=1e-12)


def test_masks_follow_the_seed() -> None:
    masks = [network(free(0.5, seed)).run(1)["mask.h.W"] for seed in (0, 0, 1, 2, 3)]
    assert masks[0] == masks[1]
    assert any(mask != masks[0] for mask in masks[2:])
    by_network = network({"child_tuning": "free", "p": 0.5}, seed=3).run(1)
    assert by_network["mask.h.W"] == masks[4]


# from the Fisher information


def fisher(trace: Trace) -> dict[str, Any]:
    return {id: np.array(trace.value(f"fisher.{id}", 1)) for id in PARAMETERS}


@pytest.mark.parametrize("batch", ["all", 1, 3])
def test_fisher_information_is_pytorchs(batch: Any) -> None:
    """The mean over the samples of the squared gradient of log p(y|x), whatever the batches of the training."""
    torch = pytest.importorskip("torch")
    trace = network(task(0.4), training={"epochs": 2, "batch_size": batch}).run()
    w = {id: torch.tensor(trace.value(id, 1), dtype=torch.float64, requires_grad=True) for id in PARAMETERS}
    expected = {id: 0.0 for id in PARAMETERS}
    for x, t in zip(torch.tensor(DATA["inputs"], dtype=torch.float64), torch.tensor(DATA["targets"]), strict=True):
        z = torch.tanh(x @ w["h.W"].T + w["h.b"]) @ w["o.W"].T + w["o.b"]
        gradients = torch.autograd.grad((t * torch.log_softmax(z, 0)).sum(), list(w.values()))
        for id, g in zip(PARAMETERS, gradients, strict=True):
            expected[id] = expected[id] + (g**2).numpy() / 4
    for id, found in fisher(trace).items():
        np.testing.assert_allclose(found, expected[id], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("p", [0.1, 0.25, 0.3, 0.5, 0.75, 0.9, 1.0])
def test_the_fraction_p_of_the_largest(p: float) -> None:
    """The authors' threshold is the (1 - p)-quantile of all F; what reaches it is trained."""
    trace = network(task(p)).run()
    found = fisher(trace)
    every = np.concatenate([f.reshape(-1) for f in found.values()])
    limit = np.percentile(every, 100 * (1 - p), method="higher")  # no value lies between it and the quantile
    for id, f in found.items():
        np.testing.assert_array_equal(np.array(trace[f"mask.{id}"]), (f >= limit).astype(float))
    kept = sum(int(np.sum(np.array(trace[f"mask.{id}"]))) for id in PARAMETERS)
    assert kept >= trained_count(p, 12)
    assert trace["mask.threshold"] == sorted(every)[-trained_count(p, 12)]


@pytest.mark.parametrize(
    ("p", "n", "count"), [(0.3, 10, 3), (0.5, 9, 5), (0.1, 5, 1), (1.0, 7, 7), (0.25, 8, 2), (0.01, 3, 1)]
)
def test_how_many_are_trained(p: float, n: int, count: int) -> None:
    values = np.arange(n, dtype=float)
    assert trained_count(p, n) == count == int((values >= np.percentile(values, 100 * (1 - p)) - 1e-12).sum())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("batch", ["all", 3])
def test_masked_weights_stay_bit_for_bit(optimizer: str, batch: Any) -> None:
    trace = network(task(0.4), optimizer, training={"epochs": 20, "batch_size": batch}).run()
    for id in PARAMETERS:
        before, after, mask = (
            np.array(x) for x in (trace.value(id, 1), trace.final["parameters"][id], trace[f"mask.{id}"])
        )
        assert (before[mask == 0] == after[mask == 0]).all()
        first = np.array(trace.value(f"new.{id}", 1))
        assert (before[mask == 1] != first[mask == 1]).all()
        assert trace.value(f"mask.{id}", 1) == trace[f"mask.{id}"]


def test_the_pass_trains_nothing_and_adds_up() -> None:
    trace = network(task(0.4)).run()
    before = trace.fisher_pass
    assert before is not None
    assert before.count == 4
    for id in PARAMETERS:
        squares = [np.array(before.value(f"grad.{id}", k)) ** 2 for k in range(1, 5)]
        np.testing.assert_allclose(np.array(trace.value(f"fisher.{id}", 1)), sum(squares) / 4, rtol=1e-12)
        assert all(before.value(id, k) == trace.value(id, 1) for k in range(1, 5))
    assert network(free(0.4)).run(1).fisher_pass is None


def test_penalties_and_dropout_are_no_part_of_it() -> None:
    plain = fisher(network(task(0.4)).run(1))
    dropout = {"type": "dropout", "rate": 0.5, "name": "d"}
    layers = [LAYERS[0] | {"penalty": {"l2": 0.2}}, dropout, LAYERS[1]]
    changed = fisher(network(task(0.4), penalty={"l2": 0.5}, layers=layers).run(1))
    for id in PARAMETERS:
        np.testing.assert_array_equal(plain[id], changed[id])


def test_held_parameters_have_no_share() -> None:
    layers = [LAYERS[0] | {"trainable": {"bias": False}}, LAYERS[1]]
    trace = network(task(0.5), layers=layers).run()
    assert "mask.h.b" not in trace.assembly(1).graph.by_id
    kept = sum(np.sum(np.array(trace[f"mask.{id}"])) for id in ("h.W", "o.W", "o.b"))
    assert kept >= trained_count(0.5, 10)


def test_given_fisher_information_needs_no_pass() -> None:
    given = {"h.W": [[4, 3], [2, 1]], "h.b": 0, "o.W": 0, "o.b": 0}
    trace = network(task(0.2), optimizer_fields={"state": {"fisher": given}}).run(1)
    assert trace.fisher_pass is None
    assert trace["mask.h.W"] == [[1, 1], [1, 0]]
    assert trace["mask.o.W"] == [[0, 0], [0, 0]]


def test_exact_numbers() -> None:
    layers = [{"type": "dense", "name": "o", "units": 1, "weights": [[0.5, -1]], "bias": 0.25}]
    data = {"inputs": [[1, 2], [3, 1]], "targets": [[1], [0]]}
    net = network(task(0.4), layers=layers, data=data, loss="half_squared_error", training={"iterations": 1})
    trace = net.run(exact=True)
    # δ is -2.25 and 0.75
    assert trace["fisher.o.W"] == [
        [Fraction(81, 16) / 2 + Fraction(81, 16) / 2, Fraction(81, 4) / 2 + Fraction(9, 16) / 2]
    ]
    assert trace["mask.o.W"] == [[0, 1]]
    assert trace["mask.o.b"] == [0]


@pytest.mark.parametrize("mask", [free(0.5), task(0.4)], ids=["free", "task"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Any, mask: dict[str, Any], optimizer: str) -> None:
    net = network(mask, optimizer)
    whole = net.run(6)
    file = tmp_path / "c.json"
    file.write_text(checkpoint_text(net.run(3)), encoding="utf-8")
    start, done = read_checkpoint(str(file), net)
    rest = net.run(3, start=start, done=done)
    assert rest.losses == whole.losses[3:]
    assert rest.final["parameters"] == whole.final["parameters"]
    assert rest.fisher_pass is None


@pytest.mark.parametrize("policy", ["all", "lean", "replay"])
def test_recordings(policy: Any) -> None:
    for mask in (free(0.5), task(0.4)):
        trace, whole = network(mask).run(record=policy), network(mask).run()
        assert trace.value("masked.h.W", 4) == whole.value("masked.h.W", 4)


def test_largest() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=11)
    for place in range(1, 12):
        assert Largest(place).compute(values[:4].reshape(2, 2), values[4:]) == sorted(values, reverse=True)[place - 1]


# the page


@pytest.mark.parametrize("name", ["child-tuning-free", "child-tuning-task"])
def test_pages(name: str) -> None:
    trace = load(name).run()
    page = trace.text("text", [1, 2])
    assert "M·g" in page
    assert ("the Fisher pass, sample 1 of 3" in page) == (name == "child-tuning-task")
    assert "the Fisher pass" not in trace.text("text", [2])
    assert trace.text("text", [1], language="zh").isprintable() is False
    assert "largest(3, F)" in page or name == "child-tuning-free"


def test_explaining_a_mask_ends_at_the_pass() -> None:
    said = load("child-tuning-task").run().explain("masked.h.W[1,1]", depth=None)
    assert "from the Fisher pass before training" in said


# bad input


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        ({"child_tuning": "free", "p": 0}, "optimizer.mask.p: cannot be 0; expected a number above 0"),
        ({"child_tuning": "free", "p": -0.1}, "optimizer.mask.p: cannot be -0.1"),
        ({"child_tuning": "task", "p": 1.01}, "optimizer.mask.p: cannot be 1.01; expected a number of at most 1"),
        ({"child_tuning": "free"}, "'p' is missing"),
        ({"p": 0.5}, "'child_tuning' is missing"),
        ({"child_tuning": "fre", "p": 0.5}, "free"),
        ({"child_tuning": "task", "p": 0.5, "seed": 1}, "the mask of child_tuning: task is not drawn"),
        ({"child_tuning": "free", "p": 0.5, "see": 1}, "unknown key 'see'"),
        (0.3, "optimizer.mask"),
    ],
)
def test_bad_masks(mask: Any, said: str) -> None:
    assert said in refused(mask=mask)


@pytest.mark.parametrize("loss", LOSSES)
def test_which_losses_are_likelihoods(loss: str) -> None:
    data = {"inputs": DATA["inputs"]} | ({"targets": DATA["targets"]} if loss not in ("sum", "mean") else {})
    layers = [LAYERS[0], LAYERS[1] | {"activation": "sigmoid"}]
    if loss in NOT_LIKELIHOODS:
        said = refused(mask=task(0.5), loss=loss, data=data, layers=layers)
        assert f"needs a loss that is -log p(y|x); {loss} is none" in said
    else:
        network(task(0.5), loss=loss, data=data, layers=layers).run(1)


def test_weighted_cross_entropies_are_none() -> None:
    said = refused(mask=task(0.5), loss={"type": "cross_entropy", "weight": 2})
    assert "needs -log p(y|x) itself; here it is weighted" in said
    network(task(0.5), loss={"type": "squared_error", "weight": 2}).run(1)


def test_without_data_or_loss() -> None:
    text = """
inputs: {x: 1}
parameters: {w: 2}
graph: {f: x*w}
optimizer: {type: sgd, learning_rate: 0.1, mask: {child_tuning: task, p: 0.5}}
"""
    with pytest.raises(SpecError) as error:
        load("net.yaml", text=text).run(1)
    assert "the Fisher information is a mean over data" in str(error.value)
    assert "the Fisher information needs a loss" in str(error.value)
