"""Optimizers against PyTorch in float64, over 50 updates of a small dense network and of a quadratic graph."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from bptrace.errors import SpecError
from bptrace.network import load
from bptrace.optimizers import OPTIMIZERS

UPDATES = 50
INPUTS = [[0.5, -1.0, 0.25], [1.5, 0.3, -0.7], [-0.2, 0.8, 1.1], [0.9, -0.4, 0.6]]
TARGETS = [[0.2, 0.9], [0.7, -0.3], [-0.5, 0.4], [0.1, 0.6]]
START = {
    "h.W": [[0.3, -0.2, 0.5], [-0.4, 0.1, 0.25], [0.15, 0.35, -0.6]],
    "h.b": [0.1, -0.2, 0.05],
    "o.W": [[0.2, -0.5, 0.4], [0.6, 0.3, -0.1]],
    "o.b": [0.05, -0.15],
}
QUADRATIC = {"u": -5.0, "v": [-2.0, 1.5]}

Parameters = dict[str, Any]


def dense(optimizer: Any, updates: int = UPDATES, **more: Any) -> dict[str, Any]:
    return {
        "data": {"inputs": INPUTS, "targets": TARGETS},
        "layers": [
            {"type": "dense", "name": "h", "units": 3, "activation": "tanh",
             "weights": START["h.W"], "bias": START["h.b"]},
            {"type": "dense", "name": "o", "units": 2, "weights": START["o.W"], "bias": START["o.b"]},
        ],
        "loss": "half_squared_error", "training": {"iterations": updates},
        **({"optimizer": optimizer} if optimizer else {}), **more,
    }  # fmt: skip


def quadratic(optimizer: Any, updates: int = UPDATES, **more: Any) -> dict[str, Any]:
    return {
        "parameters": QUADRATIC, "graph": {"f": "0.1*u**2 + 2*sum(v**2)"},
        "optimizer": optimizer, "training": {"iterations": updates}, **more,
    }  # fmt: skip


def trace(document: dict[str, Any]) -> Any:
    return load("net.yaml", text=json.dumps(document)).run()


def torch_runs(network: str, make: Any, hook: Any = None, schedule: Any = None, updates: int = UPDATES) -> Parameters:
    """The parameters after PyTorch's updates; `hook` may change the gradients, `schedule` makes a scheduler."""
    torch = pytest.importorskip("torch")
    with torch_in_float64(torch):
        return _torch_runs(torch, network, make, hook, schedule, updates)


@contextmanager
def torch_in_float64(torch: Any) -> Iterator[None]:
    """NAdam keeps its product of μ in the default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _torch_runs(torch: Any, network: str, make: Any, hook: Any, schedule: Any, updates: int) -> Parameters:
    start = START if network == "dense" else QUADRATIC
    p = {id: torch.tensor(values, dtype=torch.float64, requires_grad=True) for id, values in start.items()}
    optimizer = make(torch.optim, list(p.values()))
    scheduler = schedule(torch.optim.lr_scheduler, optimizer) if schedule else None
    x, t = (torch.tensor(rows, dtype=torch.float64) for rows in (INPUTS, TARGETS))
    for _ in range(updates):
        optimizer.zero_grad()
        if network == "dense":
            y = torch.tanh(x @ p["h.W"].T + p["h.b"]) @ p["o.W"].T + p["o.b"]
            loss = (0.5 * ((t - y) ** 2).sum(1)).mean()
        else:
            loss = 0.1 * p["u"] ** 2 + 2 * (p["v"] ** 2).sum()
        loss.backward()
        if hook:
            hook(torch, list(p.values()))
        optimizer.step()
        if scheduler:
            scheduler.step()
    return {id: value.detach().numpy() for id, value in p.items()}


def agree(document: dict[str, Any], expected: Parameters, within: float = 1e-10) -> None:
    found = trace(document)
    for id, value in expected.items():
        got = np.array(found.final["parameters"][id])
        assert np.max(np.abs(got - value) / np.maximum(1.0, np.abs(value))) < within, id


Case = tuple[dict[str, Any], Callable[..., Any]]

# name: (our fields, PyTorch's optimizer)
CASES: dict[str, Case] = {
    "sgd": ({"type": "sgd", "learning_rate": 0.1}, lambda o, p: o.SGD(p, 0.1)),
    "sgd, PyTorch's rate": ({"type": "sgd"}, lambda o, p: o.SGD(p)),
    "sgd decay": (
        {"type": "sgd", "learning_rate": 0.1, "weight_decay": 0.02}, lambda o, p: o.SGD(p, 0.1, weight_decay=0.02)
    ),
    "sgd up": (
        {"type": "sgd", "learning_rate": 0.01, "maximize": True}, lambda o, p: o.SGD(p, 0.01, maximize=True)
    ),
    "sgd up, decay": (
        {"type": "sgd", "learning_rate": 0.01, "maximize": True, "weight_decay": 0.1},
        lambda o, p: o.SGD(p, 0.01, maximize=True, weight_decay=0.1),
    ),
    "momentum": ({"type": "momentum", "learning_rate": 0.05}, lambda o, p: o.SGD(p, 0.05, momentum=0.9)),
    "momentum up": (
        {"type": "momentum", "learning_rate": 0.001, "maximize": True},
        lambda o, p: o.SGD(p, 0.001, momentum=0.9, maximize=True),
    ),
    "learning rate inside": (
        {"type": "momentum", "learning_rate": 0.05, "momentum_form": "learning_rate_inside"},
        lambda o, p: o.SGD(p, 0.05, momentum=0.9),
    ),
    "average": (
        {"type": "momentum", "learning_rate": 0.05, "momentum_form": "average"},
        lambda o, p: o.SGD(p, 0.05 * (1 - 0.9), momentum=0.9),
    ),
    "dampening": (
        {"type": "sgd", "learning_rate": 0.1, "momentum": 0.8, "dampening": 0.3},
        lambda o, p: o.SGD(p, 0.1, momentum=0.8, dampening=0.3),
    ),
    "nesterov": (
        {"type": "sgd", "learning_rate": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.01},
        lambda o, p: o.SGD(p, 0.05, momentum=0.8, nesterov=True, weight_decay=0.01),
    ),
    "nesterov, learning rate inside": (
        {"type": "nesterov", "learning_rate": 0.05, "momentum": 0.8, "nesterov": "rewritten",
         "momentum_form": "learning_rate_inside"},
        lambda o, p: o.SGD(p, 0.05, momentum=0.8, nesterov=True),
    ),
    "adagrad": ({"type": "adagrad"}, lambda o, p: o.Adagrad(p)),
    "adagrad, options": (
        {"type": "adagrad", "learning_rate": 0.1, "lr_decay": 0.1, "initial_accumulator": 0.2, "weight_decay": 0.01,
         "epsilon": 1e-4, "maximize": False},
        lambda o, p: o.Adagrad(p, 0.1, lr_decay=0.1, initial_accumulator_value=0.2, weight_decay=0.01, eps=1e-4),
    ),
    "rmsprop": ({"type": "rmsprop"}, lambda o, p: o.RMSprop(p)),
    "rmsprop centered": (
        # s - mean² nearly cancels in the dense network, and only ε keeps digits that do not depend on the order
        {"type": "rmsprop", "centered": True, "decay": 0.9, "epsilon": 0.01},
        lambda o, p: o.RMSprop(p, centered=True, alpha=0.9, eps=0.01),
    ),
    "rmsprop centered, momentum": (
        {"type": "rmsprop", "centered": True, "momentum": 0.5, "weight_decay": 0.01, "epsilon": 1e-5},
        lambda o, p: o.RMSprop(p, centered=True, momentum=0.5, weight_decay=0.01, eps=1e-5),
    ),
    "rmsprop momentum": (
        {"type": "rmsprop", "momentum": 0.9, "maximize": True, "learning_rate": 1e-3},
        lambda o, p: o.RMSprop(p, 1e-3, momentum=0.9, maximize=True),
    ),
    "adadelta": ({"type": "adadelta"}, lambda o, p: o.Adadelta(p)),
    "adadelta, options": (
        {"type": "adadelta", "learning_rate": 0.5, "decay": 0.8, "epsilon": 1e-3, "weight_decay": 0.01},
        lambda o, p: o.Adadelta(p, 0.5, rho=0.8, eps=1e-3, weight_decay=0.01),
    ),
    "adam": ({"type": "adam"}, lambda o, p: o.Adam(p)),
    "adam, options": (
        {"type": "adam", "learning_rate": 0.02, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3, "weight_decay": 0.01,
         "maximize": True},
        lambda o, p: o.Adam(p, 0.02, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.01, maximize=True),
    ),
    "amsgrad": ({"type": "amsgrad", "learning_rate": 0.05}, lambda o, p: o.Adam(p, 0.05, amsgrad=True)),
    "adamw": ({"type": "adamw"}, lambda o, p: o.AdamW(p)),
    "adamw, options": (
        {"type": "adamw", "learning_rate": 0.05, "weight_decay": 0.2, "beta1": 0.5},
        lambda o, p: o.AdamW(p, 0.05, weight_decay=0.2, betas=(0.5, 0.999)),
    ),
    "adamax": ({"type": "adamax"}, lambda o, p: o.Adamax(p)),
    "adamax, options": (
        {"type": "adamax", "beta1": 0.8, "beta2": 0.9, "epsilon": 0.01, "weight_decay": 0.1},
        lambda o, p: o.Adamax(p, betas=(0.8, 0.9), eps=0.01, weight_decay=0.1),
    ),
    "nadam": ({"type": "nadam"}, lambda o, p: o.NAdam(p)),
    "nadam, options": (
        {"type": "nadam", "learning_rate": 0.01, "momentum_decay": 0.05, "weight_decay": 0.02, "epsilon": 1e-4},
        lambda o, p: o.NAdam(p, 0.01, momentum_decay=0.05, weight_decay=0.02, eps=1e-4),
    ),
    "radam": ({"type": "radam", "learning_rate": 0.05}, lambda o, p: o.RAdam(p, 0.05)),
    "radam, options": (
        {"type": "radam", "beta2": 0.9, "weight_decay": 0.02, "epsilon": 1e-3},
        lambda o, p: o.RAdam(p, betas=(0.9, 0.9), weight_decay=0.02, eps=1e-3),
    ),
    "rprop": ({"type": "rprop"}, lambda o, p: o.Rprop(p)),
    "rprop, options": (
        {"type": "rprop", "learning_rate": 0.1, "etas": [0.4, 1.5], "step_sizes": [1e-3, 0.5], "maximize": True},
        lambda o, p: o.Rprop(p, 0.1, etas=(0.4, 1.5), step_sizes=(1e-3, 0.5), maximize=True),
    ),
}  # fmt: skip
NETWORKS = {"dense": dense, "quadratic": quadratic}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", CASES)
def test_as_pytorch(name: str, network: str) -> None:
    ours, theirs = CASES[name]
    agree(NETWORKS[network](ours), torch_runs(network, theirs))


BOTH: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "momentum": ({}, "SGD", {"momentum": 0.9}),
    "adagrad": ({}, "Adagrad", {}),
    "rmsprop": ({"centered": True, "momentum": 0.3, "epsilon": 1e-3}, "RMSprop",
                {"centered": True, "momentum": 0.3, "eps": 1e-3}),
    "adadelta": ({}, "Adadelta", {}),
    "amsgrad": ({}, "Adam", {"amsgrad": True}),
    "adamw": ({}, "AdamW", {}),
    "adamax": ({}, "Adamax", {}),
    "nadam": ({}, "NAdam", {}),
    "radam": ({}, "RAdam", {}),
}  # fmt: skip


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("kind", BOTH)
def test_decay_maximize_and_a_schedule_together(kind: str, network: str) -> None:
    """The decay is taken from the sign's side that PyTorch takes it from, and with the rate of the schedule."""
    ours, name, theirs = BOTH[kind]
    document = NETWORKS[network]({
        "type": kind, "learning_rate": 0.002, "weight_decay": 0.05, "maximize": True,
        "schedule": {"type": "step", "step_size": 9, "gamma": 0.7}, **ours,
    })  # fmt: skip
    expected = torch_runs(
        network,
        lambda o, p: getattr(o, name)(p, lr=0.002, weight_decay=0.05, maximize=True, **theirs),
        schedule=lambda s, o: s.StepLR(o, 9, 0.7),
    )
    agree(document, expected)


def test_a_learning_rate_inside_stays_in_the_velocity_when_the_rate_changes() -> None:
    """v = μ·v - η·g keeps the old rates, so that with a schedule the two forms are no longer the same."""

    def step(w: Any, g: Any, t: int, memory: dict[str, Any]) -> Any:
        memory["v"] = 0.9 * memory.get("v", 0 * w) - 0.02 * 0.5 ** ((t - 1) // 5) * g
        return w + memory["v"]

    schedule = {"type": "step", "step_size": 5, "gamma": 0.5}
    options = {"type": "momentum", "learning_rate": 0.02, "schedule": schedule}
    agree(quadratic({**options, "momentum_form": "learning_rate_inside"}), by_hand(step))
    plain = trace(quadratic(options)).final["parameters"]["u"]
    assert abs(plain - by_hand(step)["u"]) > 1e-3


@pytest.mark.parametrize("kind", ["sgd", "momentum", "nesterov", "adam", "lion", "rprop"])
def test_frozen_parameters_stay_and_have_no_state(kind: str) -> None:
    document = dense({"type": kind, "learning_rate": 0.01, "weight_decay": 0.1 if kind != "rprop" else 0.0}, 5)
    document["layers"][0]["trainable"] = {"weights": False}
    document["layers"][1]["trainable"] = False
    found = trace(document)
    for id in ("h.W", "o.W", "o.b"):
        assert found.final["parameters"][id] == START[id]
        assert not [node.id for node in found.assembly(1).graph.nodes if node.id.endswith(f".{id}")]
    assert found.final["parameters"]["h.b"] != START["h.b"]


def test_every_type_is_tried() -> None:
    tried = {ours["type"] for ours, _ in CASES.values()}
    assert tried | {"lion"} == set(OPTIMIZERS)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_twice_the_same(kind: str) -> None:
    first, again = (trace(dense({"type": kind, "learning_rate": 0.01}, 5)).final for _ in range(2))
    assert json.dumps(first) == json.dumps(again)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_both_engines_agree(kind: str) -> None:
    """Generated code from the formulas, and NumPy's kernels."""
    from bptrace.engine import engines

    document = dense({"type": kind, "learning_rate": 0.01, "weight_decay": 0.01, "clip": {"global_norm": 0.5}}, 10)
    by_code = trace(document)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "fits", lambda assembly: False)
        by_kernels = trace(document)
    assert by_code._record.description["name"] == "scalar"
    assert by_kernels._record.description["name"] == "array"
    for node in by_code.assembly(10).graph.stored():
        for iteration in (1, 2, 10):
            one, other = (t.value(node.id, iteration=iteration) for t in (by_code, by_kernels))
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-13, err_msg=node.id)


# what PyTorch has not


def by_hand(step: Callable[[Any, Any, int, dict[str, Any]], Any], updates: int = UPDATES) -> Parameters:
    """The quadratic graph, updated by `step(w, g, t, memory)`."""
    values = {id: np.array(value) for id, value in QUADRATIC.items()}
    memory: dict[str, dict[str, Any]] = {id: {} for id in values}
    for t in range(1, updates + 1):
        for id, w in values.items():
            values[id] = step(w, (0.2 if id == "u" else 4.0) * w, t, memory[id])
    return values


def lion(w: Any, g: Any, t: int, memory: dict[str, Any]) -> Any:
    m = memory.get("m", 0 * w)
    memory["m"] = 0.99 * m + 0.01 * g
    return w - 0.01 * (np.sign(0.9 * m + 0.1 * g) + 0.1 * w)


def test_lion() -> None:
    agree(quadratic({"type": "lion", "learning_rate": 0.01, "weight_decay": 0.1}), by_hand(lion))


def moments(w: Any, g: Any, memory: dict[str, Any], beta1: float = 0.9) -> tuple[Any, Any]:
    memory["m"] = beta1 * memory.get("m", 0 * w) + (1 - beta1) * g
    memory["v"] = 0.999 * memory.get("v", 0 * w) + 0.001 * g * g
    return memory["m"], memory["v"]


def corrected(w: Any, g: Any, t: int, memory: dict[str, Any], beta1: float = 0.9) -> tuple[Any, Any]:
    m, v = moments(w, g, memory, beta1)
    return m / (1 - 0.9**t), v / (1 - 0.999**t)


def adam(options: dict[str, Any]) -> dict[str, Any]:
    return quadratic({"type": "adam", "learning_rate": 0.1, "epsilon": 0.01, **options})


def test_adam_without_correction() -> None:
    def step(w: Any, g: Any, t: int, memory: dict[str, Any]) -> Any:
        m, v = moments(w, g, memory)
        return w - 0.1 * m / (np.sqrt(v) + 0.01)

    agree(adam({"bias_correction": False}), by_hand(step))
    agree(adam({"bias_correction": False, "epsilon_at": "uncorrected"}), by_hand(step))


def test_adam_with_constant_correction() -> None:
    def step(w: Any, g: Any, t: int, memory: dict[str, Any]) -> Any:
        m, v = moments(w, g, memory)
        return w - 0.1 * (m / (1 - 0.9)) / (np.sqrt(v / (1 - 0.999)) + 0.01)

    agree(adam({"bias_correction": "constant"}), by_hand(step))


def test_adam_epsilon_inside() -> None:
    def step(w: Any, g: Any, t: int, memory: dict[str, Any]) -> Any:
        m, v = corrected(w, g, t, memory)
        return w - 0.1 * m / np.sqrt(v + 0.01)

    agree(adam({"epsilon_at": "inside"}), by_hand(step))


@pytest.mark.parametrize("constant", [False, True])
def test_adam_epsilon_beside_the_uncorrected_root(constant: bool) -> None:
    def step(w: Any, g: Any, t: int, memory: dict[str, Any]) -> Any:
        m, v = moments(w, g, memory)
        n = 1 if constant else t
        return w - 0.1 * np.sqrt(1 - 0.999**n) / (1 - 0.9**n) * m / (np.sqrt(v) + 0.01)

    options = {"epsilon_at": "uncorrected", **({"bias_correction": "constant"} if constant else {})}
    agree(adam(options), by_hand(step))


def test_adam_counts_from_another_step() -> None:
    def step(w: Any, g: Any, t: int, memory: dict[str, Any]) -> Any:
        m, v = corrected(w, g, t + 1, memory)
        return w - 0.1 * m / (np.sqrt(v) + 0.01)

    document = adam({"first_step": 2})
    agree(document, by_hand(step))
    assert trace(document).value("setting.step", iteration=1) == 2


def test_adam_with_a_fading_momentum() -> None:
    def step(w: Any, g: Any, t: int, memory: dict[str, Any]) -> Any:
        m, v = corrected(w, g, t, memory, 0.9 * 0.95 ** (t - 1))
        return w - 0.1 * m / (np.sqrt(v) + 0.01)

    agree(adam({"beta1_decay": 0.95}), by_hand(step))


def test_nesterov_looks_ahead() -> None:
    def step(w: Any, g: Any, t: int, memory: dict[str, Any]) -> Any:
        slope, v = g / w, memory.get("v", 0 * w)
        memory["v"] = 0.8 * v - 0.05 * slope * (w + 0.8 * v)
        return w + memory["v"]

    expected = by_hand(step)
    for form in ("velocity", "learning_rate_inside"):
        agree(
            quadratic({"type": "nesterov", "learning_rate": 0.05, "momentum": 0.8, "momentum_form": form}), expected
        )


def test_lookahead_is_the_rewritten_form_seen_from_ahead() -> None:
    """PyTorch's parameters are those at which the gradient of the other form is taken."""
    options = {"learning_rate": 0.05, "momentum": 0.8}
    ahead = trace(dense({"type": "nesterov", **options}, 10))
    rewritten = trace(dense({"type": "sgd", "nesterov": True, **options}, 10))
    for iteration in (1, 2, 10):
        for id in START:
            np.testing.assert_allclose(
                ahead.value(f"ahead.{id}", iteration=iteration), rewritten.value(id, iteration=iteration), rtol=1e-12
            )
            np.testing.assert_allclose(
                ahead.value(f"grad.{id}", iteration=iteration), rewritten.value(f"grad.{id}", iteration=iteration),
                rtol=1e-11, atol=1e-14,
            )  # fmt: skip


def test_lookahead_ends_at_the_parameters() -> None:
    """The result is what the parameters that it shows give, not a place ahead of them."""
    document = quadratic({"type": "nesterov", "learning_rate": 0.05, "momentum": 0.8}, 5)
    ended = trace(document).final
    there = trace({**document, "parameters": ended["parameters"], "training": {"iterations": 1}})
    assert ended["loss"] == there.losses[0]


def test_lookahead_in_every_kind_of_network() -> None:
    """The gradient that is passed back, and forward mode, are those at the place ahead."""
    document = dense({"type": "nesterov", "learning_rate": 0.05}, 3, penalty={"l2": 0.1}, tangents=["h.W[1,2]"])
    found = trace(document)
    ahead = {id: np.array(found.value(f"ahead.{id}", iteration=3)) for id in START}
    h = np.tanh(np.array(INPUTS) @ ahead["h.W"].T + ahead["h.b"])
    delta = (h @ ahead["o.W"].T + ahead["o.b"] - np.array(TARGETS)) / len(INPUTS)
    np.testing.assert_allclose(found.value("grad.o.W", iteration=3), delta.T @ h + 0.1 * ahead["o.W"], atol=1e-14)
    tangent = found.value("tangent.h.W[1,2].loss", iteration=3)
    np.testing.assert_allclose(tangent, found.value("grad.h.W", iteration=3)[0][1], atol=1e-14)


@pytest.mark.parametrize("kind", ["adagrad", "rmsprop"])
def test_epsilon_inside(kind: str) -> None:
    def step(w: Any, g: Any, t: int, memory: dict[str, Any]) -> Any:
        s = memory.get("s", 0 * w)
        memory["s"] = s + g * g if kind == "adagrad" else 0.99 * s + 0.01 * g * g
        return w - 0.4 * g / np.sqrt(memory["s"] + 0.01)

    agree(quadratic({"type": kind, "learning_rate": 0.4, "epsilon": 0.01, "epsilon_at": "inside"}), by_hand(step))


def test_epsilon_outside_of_adadeltas_roots() -> None:
    def step(w: Any, g: Any, t: int, memory: dict[str, Any]) -> Any:
        memory["s"] = 0.9 * memory.get("s", 0 * w) + 0.1 * g * g
        u = memory.get("u", 0 * w)
        change = (np.sqrt(u) + 0.01) / (np.sqrt(memory["s"]) + 0.01) * g
        memory["u"] = 0.9 * u + 0.1 * change * change
        return w - change

    agree(quadratic({"type": "adadelta", "epsilon": 0.01, "epsilon_at": "outside"}), by_hand(step))


@pytest.mark.parametrize("place", ["outside", "inside"])
def test_nadam_with_its_epsilon(place: str) -> None:
    def step(w: Any, g: Any, t: int, memory: dict[str, Any]) -> Any:
        m, v = moments(w, g, memory)
        now, following = (0.9 * (1 - 0.5 * 0.96 ** (k * 0.004)) for k in (t, t + 1))
        memory["product"] = memory.get("product", 1.0) * now
        root = v / (1 - 0.999**t)
        root = np.sqrt(root) + 0.01 if place == "outside" else np.sqrt(root + 0.01)
        return w - 0.1 * ((1 - now) / (1 - memory["product"]) * g
                          + following / (1 - memory["product"] * following) * m) / root  # fmt: skip

    agree(quadratic({"type": "nadam", "learning_rate": 0.1, "epsilon": 0.01, "epsilon_at": place}), by_hand(step))


@pytest.mark.parametrize("place", ["uncorrected", "outside", "inside"])
def test_radam_with_its_epsilon(place: str) -> None:
    """PyTorch's is beside the uncorrected root; until the variance can be rectified, plain corrected momentum."""

    def step(w: Any, g: Any, t: int, memory: dict[str, Any]) -> Any:
        m, v = moments(w, g, memory)
        m = m / (1 - 0.9**t)
        most = 2 / (1 - 0.999) - 1
        length = most - 2 * t * 0.999**t / (1 - 0.999**t)
        if length <= 5:
            return w - 0.1 * m
        rectified = np.sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length))
        if place == "uncorrected":
            return w - 0.1 * m * rectified * np.sqrt(1 - 0.999**t) / (np.sqrt(v) + 0.01)
        v = v / (1 - 0.999**t)
        return w - 0.1 * m * rectified / (np.sqrt(v) + 0.01 if place == "outside" else np.sqrt(v + 0.01))

    agree(quadratic({"type": "radam", "learning_rate": 0.1, "epsilon": 0.01, "epsilon_at": place}), by_hand(step))


@pytest.mark.parametrize("place", ["outside", "inside", "uncorrected"])
def test_amsgrad_keeps_the_largest_whatever_the_place(place: str) -> None:
    """As PyTorch: the largest of the uncorrected v, corrected when it is used."""

    def step(w: Any, g: Any, t: int, memory: dict[str, Any]) -> Any:
        m, v = moments(w, g, memory)
        memory["largest"] = np.maximum(memory.get("largest", 0 * w), v)
        m, most = m / (1 - 0.9**t), memory["largest"]
        if place == "uncorrected":
            return w - 0.1 * np.sqrt(1 - 0.999**t) * m / (np.sqrt(most) + 0.01)
        most = most / (1 - 0.999**t)
        return w - 0.1 * m / (np.sqrt(most) + 0.01 if place == "outside" else np.sqrt(most + 0.01))

    agree(quadratic({"type": "amsgrad", "learning_rate": 0.1, "epsilon": 0.01, "epsilon_at": place}), by_hand(step))


def test_nadam_and_radam_with_epsilon_elsewhere() -> None:
    """With no epsilon at all, its place does not matter."""
    for kind, places in (("nadam", ["outside", "inside"]), ("radam", ["uncorrected", "outside", "inside"])):
        runs = [
            trace(quadratic({"type": kind, "epsilon": 0.0, "epsilon_at": place, "learning_rate": 0.1})).final
            for place in places
        ]
        for other in runs[1:]:
            for id in QUADRATIC:
                np.testing.assert_allclose(runs[0]["parameters"][id], other["parameters"][id], rtol=1e-11)


def test_adamax_epsilon_outside() -> None:
    def step(w: Any, g: Any, t: int, memory: dict[str, Any]) -> Any:
        memory["m"] = 0.9 * memory.get("m", 0 * w) + 0.1 * g
        memory["u"] = np.maximum(0.999 * memory.get("u", 0 * w), np.abs(g))
        return w - 0.1 * memory["m"] / (1 - 0.9**t) / (memory["u"] + 0.01)

    options = {"type": "adamax", "learning_rate": 0.1, "epsilon": 0.01, "epsilon_at": "outside"}
    agree(quadratic(options), by_hand(step))


# clipping


def clip_by(kind: str, way: str, limit: float) -> Callable[..., None]:
    def hook(torch: Any, parameters: Any) -> None:
        norms = [p.grad.abs().max() if kind == "max" else p.grad.square().sum().sqrt() for p in parameters]
        whole = torch.stack(norms)
        common = whole.max() if kind == "max" else whole.square().sum().sqrt()
        for p, own in zip(parameters, norms, strict=True):
            norm = common if way == "global_norm" else own
            if way == "value":
                p.grad.clamp_(-limit, limit)
            elif norm > limit:
                p.grad *= limit / norm

    return hook


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    ("way", "kind"), [("value", ""), *((w, k) for w in ("norm", "global_norm") for k in ("l2", "max"))]
)
def test_clipping_before_the_weight_decay(way: str, kind: str, network: str) -> None:
    clip = {way: 0.1, **({"kind": kind} if kind else {})}
    document = NETWORKS[network](
        {"type": "sgd", "learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.01, "clip": clip}
    )
    agree(
        document,
        torch_runs(
            network, lambda o, p: o.SGD(p, 0.1, momentum=0.5, weight_decay=0.01), clip_by(kind or "l2", way, 0.1)
        ),
    )


def test_clipped_gradients_have_ids() -> None:
    found = trace(dense({"type": "adam", "clip": {"norm": 0.1}, "maximize": True}, 1))
    gradient = np.array(found.value("grad.h.W"))
    norm = np.sqrt((gradient**2).sum())
    assert found.value("clipped.h.W.norm") == pytest.approx(norm, rel=1e-14)
    np.testing.assert_allclose(found.value("clipped.h.W"), gradient * 0.1 / norm, rtol=1e-14)
    found = trace(dense({"type": "adam", "clip": {"global_norm": 0.1}}, 1))
    every = [np.array(found.value(f"grad.{id}")) for id in START]
    common = np.sqrt(sum((g**2).sum() for g in every))
    assert found.value("clipped.global-norm") == pytest.approx(common, rel=1e-14)


def test_clipping_without_the_need_changes_nothing() -> None:
    for clip in ({"value": 1e6}, {"norm": 1e6}, {"global_norm": 1e6}):
        plain, clipped = (
            trace(dense({"type": "adam", **options}, 5)).final["parameters"] for options in ({}, {"clip": clip})
        )
        assert plain == clipped


# rates, states, schedules


def test_rates_of_layers_and_parameters() -> None:
    rates = {"h": 0.3, "o.b": 0.02}
    theirs = torch_runs(
        "dense",
        lambda o, p: o.Adam([{"params": p[:2], "lr": 0.3}, {"params": p[2:3]}, {"params": p[3:], "lr": 0.02}], 0.1),
    )
    document = dense({"type": "adam", "learning_rate": 0.1, "rates": rates})
    agree(document, theirs)
    assert trace(document).value("setting.optimizer.rates.h") == 0.3


def test_rates_with_a_schedule() -> None:
    document = dense({
        "type": "sgd", "learning_rate": 0.1, "rates": {"h": 0.3}, "schedule": {"type": "exponential", "gamma": 0.9},
    })  # fmt: skip
    theirs = torch_runs(
        "dense", lambda o, p: o.SGD([{"params": p[:2], "lr": 0.3}, {"params": p[2:]}], 0.1),
        schedule=lambda s, o: s.ExponentialLR(o, 0.9),
    )  # fmt: skip
    agree(document, theirs)


MIDDLE = [
    {"type": "sgd", "learning_rate": 0.1, "momentum": 0.9, "dampening": 0.2},
    {"type": "sgd", "learning_rate": 0.1, "schedule": {"type": "step", "step_size": 3, "gamma": 0.5}},
    {"type": "nesterov", "learning_rate": 0.1, "schedule": {"type": "cosine", "t_max": 9}},
    *({"type": kind, "learning_rate": 0.05} for kind in OPTIMIZERS),
]


@pytest.mark.parametrize("optimizer", MIDDLE, ids=lambda o: o["type"])
def test_starting_in_the_middle_is_going_on(optimizer: dict[str, Any]) -> None:
    whole = trace(quadratic(optimizer, 8))
    state: dict[str, Any] = {}
    for leaf in whole.assembly(1).graph.carry:
        if leaf.id.startswith("state."):
            _, name, *id = leaf.id.split(".", 2)
            value = np.array(whole.value(leaf.id, iteration=6)).tolist()
            state |= {name: state.get(name, {}) | {id[0]: value}} if id else {name: value}
        elif leaf.id == "setting.step":
            state["step"] = whole.value(leaf.id, iteration=6)
    start = {id: np.array(whole.value(id, iteration=6)).tolist() for id in QUADRATIC}
    rest = trace(quadratic({**optimizer, "state": state}, 3, parameters=start))
    for id in QUADRATIC:
        np.testing.assert_allclose(rest.final["parameters"][id], whole.final["parameters"][id], rtol=1e-14)


SCHEDULES: dict[str, tuple[Any, Callable[..., Any]]] = {
    "constant": ({"type": "constant"}, lambda s, o: s.ConstantLR(o)),
    "constant, options": ({"type": "constant", "factor": 0.5, "total_iters": 8}, lambda s, o: s.ConstantLR(o, 0.5, 8)),
    "step": ({"type": "step", "step_size": 7, "gamma": 0.5}, lambda s, o: s.StepLR(o, 7, 0.5)),
    "step of one": ({"type": "step", "step_size": 1, "gamma": 0.9}, lambda s, o: s.StepLR(o, 1, 0.9)),
    "multi_step": (
        {"type": "multi_step", "milestones": [3, 8, 8, 20], "gamma": 0.5},
        lambda s, o: s.MultiStepLR(o, [3, 8, 8, 20], 0.5),
    ),
    "exponential": ({"type": "exponential", "gamma": 0.95}, lambda s, o: s.ExponentialLR(o, 0.95)),
    "cosine": ({"type": "cosine", "t_max": 20}, lambda s, o: s.CosineAnnealingLR(o, 20)),
    "cosine, options": (
        {"type": "cosine", "t_max": 60, "eta_min": 0.01}, lambda s, o: s.CosineAnnealingLR(o, 60, 0.01)
    ),
    "one_cycle": (
        {"type": "one_cycle", "max_lr": 0.3, "total_steps": 50},
        lambda s, o: s.OneCycleLR(o, 0.3, 50, cycle_momentum=False),
    ),
    "one_cycle linear": (
        {"type": "one_cycle", "max_lr": 0.3, "total_steps": 60, "anneal_strategy": "linear", "pct_start": 0.25,
         "div_factor": 10, "final_div_factor": 100},
        lambda s, o: s.OneCycleLR(
            o, 0.3, 60, cycle_momentum=False, anneal_strategy="linear", pct_start=0.25, div_factor=10,
            final_div_factor=100,
        ),
    ),
    "linear": ({"type": "linear"}, lambda s, o: s.LinearLR(o)),
    "linear, options": (
        {"type": "linear", "start_factor": 0.1, "end_factor": 0.9, "total_iters": 12},
        lambda s, o: s.LinearLR(o, 0.1, 0.9, 12),
    ),
    "polynomial": ({"type": "polynomial", "total_iters": 20, "power": 2}, lambda s, o: s.PolynomialLR(o, 20, 2)),
    "inverse_time": (
        {"type": "inverse_time", "decay": 0.5}, lambda s, o: s.LambdaLR(o, lambda k: 1 / (1 + 0.5 * k))
    ),
    "list": ([0.1, 0.05, 0.01], lambda s, o: s.LambdaLR(o, lambda k: [1, 0.5, 0.1][min(k, 2)])),
    "list, written out": (
        {"type": "list", "values": [0.1, 0.05]}, lambda s, o: s.LambdaLR(o, lambda k: [1, 0.5][min(k, 1)])
    ),
}  # fmt: skip


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_as_pytorch(name: str, network: str) -> None:
    ours, theirs = SCHEDULES[name]
    document = NETWORKS[network]({"type": "sgd", "learning_rate": 0.1, "schedule": ours}, 49)
    agree(document, torch_runs(network, lambda o, p: o.SGD(p, 0.1), schedule=theirs, updates=49))


def test_every_schedule_is_tried() -> None:
    from bptrace.optimizers.schedule import SCHEDULES as TYPES

    assert {ours["type"] if isinstance(ours, dict) else "list" for ours, _ in SCHEDULES.values()} == set(TYPES)


def test_a_scheduled_rate_is_stored_with_its_formula() -> None:
    schedule = {"type": "exponential", "gamma": 0.5}
    found = trace(quadratic({"type": "sgd", "learning_rate": 0.1, "schedule": schedule}, 3))
    assert [found.value("setting.learning_rate", iteration=i) for i in (1, 2, 3)] == [0.1, 0.05, 0.025]
    text = str(found.explain("new.u", iteration=2))
    for part in ("η0·γ^(t - 1)", "= 0.1·0.5^(2 - 1)", "0.05"):
        assert part in text


def test_a_schedule_counts_updates_from_the_first_step() -> None:
    options = {"type": "adam", "learning_rate": 0.1, "schedule": [0.1, 0.05], "first_step": 3}
    found = trace(quadratic(options, 2))
    assert [found.value("setting.learning_rate", iteration=i) for i in (1, 2)] == [0.1, 0.05]


# ids


def test_ids_of_adam() -> None:
    found = trace(dense({"type": "adam"}, 2))
    ids = {node.id for node in found.assembly(1).graph.nodes}
    for name in ("h.W", "h.b", "o.W"):
        assert {f"new.{name}", f"state.m.{name}", f"new.state.m.{name}", f"state.v.{name}", f"m_hat.{name}",
                f"v_hat.{name}", f"step.{name}"} <= ids  # fmt: skip
    assert {"setting.optimizer.beta1", "setting.optimizer.learning_rate", "setting.step"} <= ids
    w, step = np.array(found.value("h.W")), np.array(found.value("step.h.W"))
    np.testing.assert_allclose(w + step, found.value("new.h.W"), rtol=1e-15)


STATES = {
    "sgd": set(), "momentum": {"v"}, "nesterov": {"v"}, "adagrad": {"s"}, "rmsprop": {"s"}, "adadelta": {"s", "u"},
    "adam": {"m", "v"}, "amsgrad": {"m", "v", "vmax"}, "adamw": {"m", "v"}, "adamax": {"m", "u"},
    "nadam": {"m", "v", "mu_product"}, "radam": {"m", "v"}, "lion": {"m"}, "rprop": {"g", "rate"},
}  # fmt: skip


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_names_of_states(kind: str) -> None:
    graph = trace(dense({"type": kind}, 1)).assembly(1).graph
    assert {leaf.id.split(".")[1] for leaf in graph.carry if leaf.id.startswith("state.")} == STATES[kind]
    plain = kind == "sgd"
    assert all((f"step.{id}" in graph.by_id) != plain for id in START)


def test_states_of_centered_rmsprop() -> None:
    graph = trace(dense({"type": "rmsprop", "centered": True, "momentum": 0.9}, 1)).assembly(1).graph
    assert {leaf.id.split(".")[1] for leaf in graph.carry if leaf.id.startswith("state.")} == {"s", "mean", "v"}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_number_has_a_derivation(kind: str) -> None:
    """The last new value comes down to data, settings and starting values alone."""
    found = trace(quadratic({"type": kind, "schedule": {"type": "cosine", "t_max": 5}} if kind != "rprop" else
                            {"type": kind}, 3))  # fmt: skip
    assert str(found.explain("new.v[2]", iteration=3))


# bad input


def refused(document: dict[str, Any] | str) -> str:
    text = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(SpecError) as error:
        load("net.yaml", text=text).run()
    return str(error.value)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown type": ({"type": "adma"}, "unknown optimizer type 'adma'; did you mean 'ada"),
    "unknown field": ({"type": "adam", "beta_1": 0.9}, "unknown key 'beta_1'"),
    "field of another": ({"type": "sgd", "epsilon": 1e-8}, "unknown key 'epsilon'"),
    "negative rate": ({"type": "sgd", "learning_rate": -0.1}, "cannot be -0.1; expected a number of at least 0"),
    "beta of 1": ({"type": "adam", "beta1": 1.0}, "optimizer.beta1: cannot be 1.0; expected a number below 1"),
    "no momentum": ({"type": "sgd", "nesterov": True}, "nesterov needs a momentum"),
    "no momentum ahead": ({"type": "nesterov", "momentum": 0}, "nesterov needs a momentum"),
    "dampened nesterov": (
        {"type": "sgd", "momentum": 0.9, "nesterov": True, "dampening": 0.1}, "nesterov has no dampening"
    ),
    "unknown layer": ({"type": "sgd", "rates": {"hh": 0.1}}, "optimizer.rates.hh: no layer or parameter"),
    "negative rate of a layer": ({"type": "sgd", "rates": {"h": -1}}, "optimizer.rates.h: cannot be -1"),
    "unknown state": ({"type": "adam", "state": {"u": {"h.W": 0}}}, "adam has no state 'u'"),
    "state of none": ({"type": "adam", "state": {"m": {"h.w": 0}}}, "no parameter 'h.w' that is trained"),
    "shape of a state": (
        {"type": "adam", "state": {"m": {"h.b": [1, 2]}}},
        "the shape is [2]; expected the shape [3] of h.b, or one number",
    ),
    "no array": ({"type": "adam", "state": {"m": {"h.b": [1, "x", 3]}}}, "optimizer.state.m.h.b[1]: not a number"),
    "a number for all": ({"type": "adam", "state": {"m": 0}}, "state m is one of each parameter"),
    "no step": ({"type": "sgd", "state": {"step": 3}}, "sgd has no state 'step'"),
    "half a step": ({"type": "adam", "state": {"step": 2.5}}, "cannot be 2.5; expected a whole number"),
    "two ways to clip": ({"type": "sgd", "clip": {"norm": 1, "value": 1}}, "value and norm are given"),
    "no way to clip": ({"type": "sgd", "clip": {}}, "nothing to clip by; expected one of value, norm, global_norm"),
    "kind of a value": ({"type": "sgd", "clip": {"value": 1, "kind": "l2"}}, "clipping by value has no kind"),
    "unknown schedule": ({"type": "sgd", "schedule": {"type": "stepp"}}, "unknown schedule 'stepp'"),
    "field of a schedule": (
        {"type": "sgd", "schedule": {"type": "step", "step_siz": 3}}, "unknown key 'step_siz'"
    ),
    "no schedule": ({"type": "sgd", "schedule": "step"}, "not a schedule"),
    "empty list": ({"type": "sgd", "schedule": []}, "at least 1 items"),
    "a rate that is none": ({"type": "sgd", "schedule": [0.1, -1]}, "optimizer.schedule[1]: cannot be -1"),
    "milestones": (
        {"type": "sgd", "schedule": {"type": "multi_step", "milestones": [5, 3]}}, "the milestones are not in order"
    ),
    "two kinds of rates": ({"type": "sgd", "rates": {"h": 0.1}, "schedule": [0.1]}, "says every rate itself"),
    "rprop's schedule": ({"type": "rprop", "schedule": [0.1]}, "rprop sets its own rates"),
    "etas": ({"type": "rprop", "etas": [1.2, 0.5]}, "a factor below 1 and one above"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_refused(name: str) -> None:
    optimizer, said = BAD[name]
    message = refused(dense(optimizer, 1))
    assert said in message
    assert message.startswith("net.yaml:1:")
    assert "optimizer" in message


def test_nearest_names() -> None:
    assert "'beta1'" in refused(dense({"type": "adam", "beta_1": 0.9}, 1))
    assert "'h.W'" in refused(dense({"type": "adam", "state": {"m": {"h.w": 0}}}, 1))
    assert "'step_size'" in refused(dense({"type": "sgd", "schedule": {"type": "step", "step_siz": 3}}, 1))
    assert "'v'" in refused(dense({"type": "adam", "state": {"vv": {"h.W": 0}}}, 1))


def test_places_of_mistakes() -> None:
    text = """
parameters: {u: 1}
graph: {f: u**2}
optimizer:
  type: momentum
  rates:
    w: 0.1
  state:
    v: {u: [1, 2]}
"""
    message = refused(text)
    assert "net.yaml:7:5: optimizer.rates.w:" in message
    assert "net.yaml:9:12: optimizer.state.v.u:" in message


def test_lookahead_and_common_norm_need_all_gradients() -> None:
    conventions = {"update_order": "sequential"}
    said = "expected conventions.update_order: simultaneous"
    assert said in refused(dense({"type": "nesterov"}, 1, conventions=conventions))
    assert said in refused(dense({"type": "sgd", "clip": {"global_norm": 1}}, 1, conventions=conventions))


def test_sequential_updates_with_a_state() -> None:
    conventions = {"update_order": "sequential"}
    found = trace(dense({"type": "adam", "learning_rate": 0.1}, 1, conventions=conventions))
    delta = np.array(found.value("o.delta"))
    np.testing.assert_allclose(found.value("grad.h.a"), delta @ np.array(found.value("new.o.W")), rtol=1e-13)
