"""Whole networks against PyTorch in float64, by an interpreter of the YAML that shares nothing with ours."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason='PyTorch is not installed: pip install "bptrace[torch]"')

import torch.nn.functional as F  # noqa: E402 - after the skip
from support.graphs import GRAPHS, graph_yaml  # noqa: E402
from support.interpreter import Computed, bundled, inlined, network  # noqa: E402
from support.torch_network import ACTIVATIONS, KNOWN_LAYERS, LOSSES, TorchNetwork, layer_types  # noqa: E402

ALIKE: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-12}


def compare(text: str) -> tuple[Computed, TorchNetwork]:
    """Build and compute the YAML in both ways; every value and gradient must be the same."""
    ours = network(text)
    drawn = {id: ours[id] for id in ours.assembly.drawn}
    theirs = TorchNetwork(text, drawn)
    for id, value in theirs.nodes.items():
        found = ours[id].T if theirs.columns and id not in theirs.leaves else ours[id]
        np.testing.assert_allclose(found, value.detach().numpy(), **ALIKE, err_msg=id)
    if theirs.loss is not None:
        np.testing.assert_allclose(ours["loss"], theirs.loss.item(), **ALIKE)
    if theirs.objective is None:
        assert not ours.ids("grad.")
        return ours, theirs
    held = {node.id for node in ours.assembly.held}
    for id in theirs.leaves:
        expected = theirs.gradient(id)
        if id in held:
            assert f"grad.{id}" not in ours
        elif f"grad.{id}" in ours:
            np.testing.assert_allclose(ours[f"grad.{id}"], expected, **ALIKE, err_msg=f"grad.{id}")
        else:
            assert not expected.any(), f"grad.{id} is missing"
    for id, value in theirs.nodes.items():
        # leaves are done; what nothing wants and what a fused delta bypasses has no gradient of its own
        if id not in theirs.leaves and f"grad.{id}" in ours and value.grad is not None:
            expected = theirs.node_gradient(id)
            np.testing.assert_allclose(ours[f"grad.{id}"], expected, **ALIKE, err_msg=f"grad.{id}")
    for id in ours.ids("check."):
        np.testing.assert_allclose(ours[id], ours[id.removeprefix("check.")], rtol=1e-9, atol=1e-12, err_msg=id)
    return ours, theirs


@pytest.mark.parametrize("path", bundled(), ids=lambda path: path.stem)
def test_bundled_network(path: Path) -> None:
    text = inlined(path)
    assert layer_types(text) <= KNOWN_LAYERS, "teach tests/support/torch_layers.py these layers"
    ours, theirs = compare(text)
    trainable = {node.id for node in ours.assembly.trainable}
    assert trainable <= set(theirs.leaves)
    if theirs.objective is not None:
        assert all(f"grad.{id}" in ours for id in trainable)


def test_there_are_bundled_networks() -> None:
    assert len(bundled()) > 30


# Layers, activations and losses, one at a time


def document(layers: list[dict[str, Any]], loss: Any, targets: Any, inputs: Any = None, **rest: Any) -> str:
    inputs = inputs or [[0.5, -1.25], [1.5, 0.75], [-0.3, 0.2]]
    data = {"inputs": inputs, "targets": targets} if targets else {"inputs": inputs}
    parts = {"data": data, "layers": layers, "loss": loss, **rest}
    return yaml.safe_dump({key: value for key, value in parts.items() if value is not None}, sort_keys=False)


HIDDEN = {"type": "dense", "name": "h", "units": 3, "activation": "tanh"}
REAL = [[0.1, 0.9], [-0.5, 0.25], [2.5, 0.0]]
SHARES = [[0.25, 0.75], [1.0, 0.0], [0.0, 1.0]]
SIGNS = [[1, -1], [-1, -1], [1, 1]]


def head(loss: str) -> tuple[dict[str, Any], Any]:
    """An output layer that suits a loss, and targets."""
    function, targets = {
        "binary_cross_entropy": ("sigmoid", SHARES),
        "binary_cross_entropy_with_logits": (None, SHARES),
        "cross_entropy": ("softmax", SHARES),
        "cross_entropy_with_logits": (None, SHARES),
        "hinge": ("tanh", SIGNS),
        "squared_hinge": ("tanh", SIGNS),
    }.get(loss, ("sigmoid", None if loss in ("sum", "mean") else REAL))
    layer = {"type": "dense", "name": "o", "units": 2}
    return ({**layer, "activation": function} if function else layer), targets


@pytest.mark.parametrize("outputs", [None, "sum", "mean"])
@pytest.mark.parametrize("reduction", [None, "mean", "sum"])
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_loss(loss: str, reduction: str | None, outputs: str | None) -> None:
    layer, targets = head(loss)
    spec = {"type": loss, "reduction": reduction, "outputs": outputs, "weight": 0.75}
    compare(document([HIDDEN, layer], {key: value for key, value in spec.items() if value}, targets))


def _last(text: str) -> tuple[float, Any]:
    """The loss and the output of the last layer."""
    ours, theirs = compare(text)
    return float(ours["loss"]), theirs.nodes["o.y"].detach()


@pytest.mark.parametrize(
    ("spec", "torch_loss"),
    [
        ({"type": "mean_squared_error"}, lambda y, t: F.mse_loss(y, t)),
        ({"type": "squared_error", "reduction": "sum"}, lambda y, t: F.mse_loss(y, t, reduction="sum")),
        ({"type": "mean_absolute_error"}, lambda y, t: F.l1_loss(y, t)),
        ({"type": "huber", "outputs": "mean"}, lambda y, t: F.huber_loss(y, t)),
        ({"type": "huber", "outputs": "mean", "threshold": 0.5}, lambda y, t: F.huber_loss(y, t, delta=0.5)),
        ({"type": "binary_cross_entropy", "outputs": "mean"}, lambda y, t: F.binary_cross_entropy(y, t)),
        (
            {"type": "binary_cross_entropy_with_logits", "outputs": "mean"},
            lambda y, t: F.binary_cross_entropy_with_logits(y, t),
        ),
        ({"type": "cross_entropy_with_logits"}, lambda y, t: F.cross_entropy(y, t)),
        (
            {"type": "cross_entropy_with_logits", "reduction": "sum"},
            lambda y, t: F.cross_entropy(y, t, reduction="sum"),
        ),
        (
            {"type": "cross_entropy"},
            lambda y, t: F.nll_loss(torch.log(y), t.argmax(1)) if t.max() == 1 else None,
        ),
    ],
    ids=lambda value: str(value.get("type")) if isinstance(value, dict) else "",
)
def test_reduction_is_pytorchs(spec: dict[str, Any], torch_loss: Any) -> None:
    layer, targets = head(spec["type"])
    if spec["type"] == "cross_entropy":
        targets = [[1, 0], [0, 1], [1, 0]]
    loss, y = _last(document([HIDDEN, layer], spec, targets))
    assert abs(loss - float(torch_loss(y, torch.tensor(targets, dtype=torch.float64)))) < 1e-13


@pytest.mark.parametrize("kind", ["cross_entropy", "cross_entropy_with_logits"])
def test_class_numbers(kind: str) -> None:
    layer, _ = head(kind)
    numbers = document([HIDDEN, {**layer, "units": 4}], kind, [3, 0, 2])
    rows = document([HIDDEN, {**layer, "units": 4}], kind, [[0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0]])
    (loss, y), (again, _) = _last(numbers), _last(rows)
    assert loss == again
    logits = torch.log(y) if kind == "cross_entropy" else y
    assert abs(loss - float(F.cross_entropy(logits, torch.tensor([3, 0, 2])))) < 1e-13


def test_targets_that_do_not_add_up_to_one() -> None:
    """The fused delta is y·Σt - t."""
    layer, _ = head("cross_entropy")
    ours, _ = compare(
        document([HIDDEN, layer], {"type": "cross_entropy", "reduction": "sum"}, [[1, 1], [0.5, 0], [0, 0]])
    )
    t, y = np.array([[1, 1], [0.5, 0], [0, 0]]), ours["o.a"]
    np.testing.assert_allclose(ours["o.delta"], y * t.sum(1, keepdims=True) - t, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activation_in_a_layer(name: str) -> None:
    first = {**HIDDEN, "activation": name}
    compare(document([first, {"type": "dense", "name": "o", "units": 2}], "half_squared_error", REAL))
    layers = [{**HIDDEN, "activation": None}, {"type": "activation", "name": "f", "function": name}]
    del layers[0]["activation"]
    compare(document([*layers, {"type": "dense", "name": "o", "units": 2}], "half_squared_error", REAL))


@pytest.mark.parametrize(
    "function",
    [
        {"type": "leaky_relu", "negative_slope": 0.2},
        {"type": "elu", "alpha": 0.5},
        {"type": "scaled_tanh", "scale": 1.5, "slope": 0.5},
        {"type": "gelu", "approximate": "tanh"},
    ],
    ids=lambda function: str(function["type"]),
)
def test_constants_of_an_activation(function: dict[str, Any]) -> None:
    compare(document([{**HIDDEN, "activation": function}], "half_squared_error", [[0.1, 0.2, 0.3]] * 3))


VARIANTS: dict[str, dict[str, Any]] = {
    "no bias": {"bias": False},
    "shared bias": {"shared_bias": True},
    "shared bias given": {"shared_bias": True, "bias": 0.25},
    "threshold": {"threshold": [0.1, -0.2, 0.3]},
    "own layout": {"weight_layout": "in_out"},
    "pre-activation": {"derivative_from": "pre_activation"},
    "sigmoid from z": {"derivative_from": "pre_activation", "activation": "sigmoid"},
    "penalty": {"penalty": {"l2": 0.1, "l1": 0.05}},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_dense_layer(variant: str) -> None:
    layer, targets = head("half_squared_error")
    compare(document([{**HIDDEN, **VARIANTS[variant]}, layer], "half_squared_error", targets))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("scale", ["half", "one", "half_over_samples", "over_samples"])
def test_penalty(scale: str, bias: bool) -> None:
    layer, targets = head("cross_entropy")
    penalty = {"l1": 0.03, "l2": 0.2, "bias": bias, "scale": scale}
    compare(document([HIDDEN, layer], "cross_entropy", targets, penalty=penalty))


def test_shared_layer_and_named_inputs() -> None:
    layers = [
        {"type": "dense", "name": "a", "units": 2, "activation": "tanh"},
        {"type": "dense", "name": "b", "units": 2, "activation": "sigmoid", "share": "a"},
        {"type": "dense", "name": "o", "units": 2, "input": ["a", "b", "x"]},
    ]
    ours, _ = compare(document(layers, "half_squared_error", REAL))
    assert "grad.a.W/a.z" in ours and "grad.a.W/b.z" in ours


UPSTREAM = """
data:
  inputs: [[0.5, -1.25], [1.5, 0.75]]
  targets: [[1, 0], [0.25, 0.75]]
layers:
  - {type: dense, name: h, units: 2, activation: tanh, weights: [[0.1, 0.2], [0.3, -0.4]]}
  - {type: dense, name: o, units: 2, activation: ACT, weights: [[0.5, -0.2], [0.3, 0.7]]}
"""


@pytest.mark.parametrize("upstream", [
    "{h.a: 0.5}", "{h.z: [[1, 2], [3, 4]], h.a: [[0.1, 0.2], [0.3, 0.4]]}", "{o.z: -1}",
    "{o.a: [[1, 2], [3, 4]]}",
])  # fmt: skip
@pytest.mark.parametrize(("function", "loss"), [
    ("tanh", "half_squared_error"), ("softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy"),
    ("tanh", None),
])  # fmt: skip
def test_upstream(function: str, loss: str | None, upstream: str) -> None:
    text = UPSTREAM.replace("ACT", function) + f"upstream: {upstream}\n" + (f"loss: {loss}\n" if loss else "")
    ours, _ = compare(text)
    assert "grad.h.W" in ours and ("grad.o.W" in ours) == (loss is not None or "o." in upstream)


# Random dense networks

FUNCTIONS = sorted(set(ACTIVATIONS) - {"step", "exp", "linear"})
JUDGED = sorted(set(LOSSES) - {"sum", "mean"})


@st.composite
def dense_networks(draw: st.DrawFn) -> str:
    """YAML of a random network: numbers from a seed, structure from hypothesis."""
    rng = random.Random(draw(st.integers(0, 10**6)))
    batch, width = draw(st.integers(1, 4)), draw(st.integers(1, 4))

    def array(*shape: int, low: float = -1.5, high: float = 1.5) -> Any:
        if not shape:
            return round(rng.uniform(low, high), 4)
        return [array(*shape[1:], low=low, high=high) for _ in range(shape[0])]

    conventions = {
        "weight_layout": draw(st.sampled_from(["out_in", "in_out"])),
        "sample_axis": draw(st.sampled_from(["rows", "columns"])),
        "derivative_from": draw(st.sampled_from(["activation", "pre_activation"])),
        "delta_sign": draw(st.sampled_from(["gradient", "error"])),
        "delta_scale": draw(st.sampled_from(["batch", "sample"])),
    }
    loss = draw(st.sampled_from(JUDGED))
    layers, before = [], width
    for k in range(draw(st.integers(0, 2))):
        units = draw(st.integers(1, 4))
        layer = {
            "type": "dense",
            "name": f"h{k}",
            "units": units,
            "activation": draw(st.sampled_from(FUNCTIONS)),
        }
        layers.append((layer, before))
        before = units
    last, _ = head(loss)
    layers.append(({**last, "units": draw(st.integers(1, 3))}, before))
    for layer, inputs in layers:
        shape = (layer["units"], inputs)
        layer["weights"] = array(*(shape if conventions["weight_layout"] == "out_in" else shape[::-1]))
        match draw(st.sampled_from(["each", "number", "none", "shared", "threshold", "drawn"])):
            case "each":
                layer["bias"] = array(layer["units"])
            case "number":
                layer["bias"] = array()
            case "none":
                layer["bias"] = False
            case "shared":
                layer |= {"bias": array(), "shared_bias": True}
            case "threshold":
                layer["threshold"] = array(layer["units"])
    units = layers[-1][0]["units"]
    match loss:
        case "hinge" | "squared_hinge":
            targets: Any = [[rng.choice([-1, 1]) for _ in range(units)] for _ in range(batch)]
        case (
            "binary_cross_entropy" | "binary_cross_entropy_with_logits" | "cross_entropy" | "cross_entropy_with_logits"
        ):
            targets = array(batch, units, low=0.0, high=1.0)
        case _:
            targets = array(batch, units)
    inputs = array(batch, width)
    if conventions["sample_axis"] == "columns":
        inputs, targets = ([list(column) for column in zip(*rows, strict=True)] for rows in (inputs, targets))
    spec = {
        "type": loss,
        "reduction": draw(st.sampled_from(["mean", "sum"])),
        "weight": draw(st.sampled_from([1, 0.5])),
    }
    penalty = draw(
        st.sampled_from([None, {"l2": 0.1}, {"l1": 0.05, "l2": 0.02, "bias": True, "scale": "over_samples"}])
    )
    return document(
        [layer for layer, _ in layers], spec, targets, inputs, conventions=conventions, penalty=penalty,
        optimizer={"type": "sgd", "learning_rate": 0.1},
    )  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(dense_networks())
def test_random_dense_networks(text: str) -> None:
    ours, theirs = compare(text)
    for node in ours.assembly.trainable:
        updated = theirs.leaves[node.id].detach().numpy() - 0.1 * theirs.gradient(node.id)
        np.testing.assert_allclose(ours[f"new.{node.id}"], updated, **ALIKE)


# Expressions of a graph


@pytest.mark.parametrize("graph", GRAPHS)
def test_expressions(graph: str) -> None:
    compare(graph_yaml(graph))
