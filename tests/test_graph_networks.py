"""Whole networks without PyTorch: every formula of every node, finite differences, both modes, structure."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.calculator import name, numbers, typed
from support.graphs import GRAPHS, graph_yaml
from support.interpreter import (
    Computed,
    bundled,
    compute,
    network,
    numeric_gradient,
    places,
    roundoff,
    start,
    value_of,
)

from bptrace.errors import SpecError
from bptrace.formula.evaluate import Floats
from bptrace.formula.expr import refs, worked
from bptrace.formula.text import symbols
from bptrace.graph.op import formula_of
from bptrace.ops.leaves import Fill, Leaf

PATHS = bundled()
LARGEST = 400
"""Elements of a node of which the formulas are tried; of larger ones the first and the last."""


@cache
def computed(path: Path) -> Computed:
    return network(path=path)


def networks(test: Any) -> Any:
    return pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)(test)


def close(found: float, expected: float) -> bool:
    """To 1e-12, relative above 1; -∞ of a masked score is -∞."""
    return found == expected or abs(found - expected) <= 1e-12 * max(1.0, abs(expected))


def formulas_are_true(of: Computed) -> None:
    """Formula, text and middle line of every element of every node."""
    for node in of.graph.nodes:
        if isinstance(node.op, Leaf):
            continue
        for place in places(node)[: LARGEST // 2] + places(node)[LARGEST // 2 :][-LARGEST // 2 :]:
            expr, expected = formula_of(node, place), float(of.values[node][place])
            assert all(not ref.node.inline for ref in refs(expr))
            assert close(value_of(expr, of.values), expected), (node.id, place)
            for form in (expr, worked(expr)):
                line = numbers(form, lambda ref: float(of.values[ref.node][ref.index]), Floats())
                assert close(typed(line), expected), (node.id, place, line)
            assert symbols(expr, name)
        letters = tuple("nijmpqr"[: len(node.shape)])
        assert symbols(formula_of(node, letters), name, general=True)


@networks
def test_every_formula_is_true(path: Path) -> None:
    formulas_are_true(computed(path))


@pytest.mark.parametrize("graph", GRAPHS)
def test_every_formula_of_an_expression_is_true(graph: str) -> None:
    """Also of its backward pass and its tangents."""
    formulas_are_true(network(graph_yaml(graph, "tangents: [s, 'v[1]', 'A[2,3]']")))


def objective(of: Computed, values: Any) -> float:
    """What is differentiated: the loss, and what upstream gradients are the gradient of."""
    total = 0.0 if of.graph.loss is None else float(values[of.graph.loss])
    for id, given in of.spec.network.upstream.items():
        total += float(np.sum(np.array(given) * values[of.graph.by_id[id]]))
    return total


@networks
def test_every_gradient_is_that_of_finite_differences(path: Path) -> None:
    of = computed(path)
    if of.graph.loss is None and not of.spec.network.upstream:
        assert not of.ids("grad.")
        return
    forward = [node for node in of.graph.nodes if node.phase in ("forward", "loss")]
    values = start(of.graph, of.assembly.tables)

    def again() -> float:
        return objective(of, compute(forward, values))

    assert all(f"grad.{leaf.id}" in of for leaf in of.assembly.trainable)
    inputs = [node for node in of.graph.nodes if node.phase == "data" and f"grad.{node.id}" in of]
    for leaf in [*of.assembly.trainable, *inputs]:
        slopes, kinks = numeric_gradient(again, values[leaf], 1e-5)
        assert not kinks.any(), "published networks are not at a kink"
        allowed = 1e-6 * np.maximum(1.0, np.abs(slopes)) + roundoff(again(), 1e-5)
        np.testing.assert_array_less(np.abs(of[f"grad.{leaf.id}"] - slopes), allowed, err_msg=leaf.id)


@networks
def test_forward_mode_agrees_with_reverse_mode(path: Path) -> None:
    from bptrace.graph.forward import add_tangents

    of = network(path=path)
    if of.graph.loss is None:
        return
    forward = [node for node in of.graph.nodes if node.phase not in ("backward", "update", "check", "tangent")]
    for leaf in of.assembly.trainable[:2]:
        for place in places(leaf)[:3]:
            label = f"again.{leaf.id}{list(place)}"
            tangent = add_tangents(of.graph, forward, leaf, place, label).get(of.graph.loss)
            values = compute(of.graph.nodes, start(of.graph, of.assembly.tables))
            found = float(values[tangent]) if tangent else 0.0
            expected = float(values[of.graph.by_id[f"grad.{leaf.id}"]][place])
            assert abs(found - expected) <= 1e-10 * max(1.0, abs(expected))


@networks
def test_structure(path: Path) -> None:
    """Nodes come after what they read; ids and shapes are right; only leaves are carried over."""
    of = computed(path)
    seen: set[Any] = set()
    for node in of.graph.nodes:
        assert all(operand in seen for operand in node.inputs), node.id
        seen.add(node)
        assert of.graph.by_id[node.id] is node
        if not isinstance(node.op, Leaf):
            assert node.op.shape(*(operand.shape for operand in node.inputs)) == node.shape
        assert not node.axes or len(node.axes) == len(node.shape), node.id
        assert node.inline or not node.id.startswith("~"), node.id
        assert isinstance(node.op, Fill) or node.inputs or isinstance(node.op, Leaf) or node.phase == "tangent"
    for leaf, new in of.graph.carry.items():
        assert isinstance(leaf.op, Leaf) and leaf.shape == new.shape
    optimizer = of.spec.network.optimizer
    carried = {leaf for leaf in of.graph.carry if leaf in (*of.assembly.trainable, *of.assembly.held)}
    assert carried == (set(of.assembly.trainable) if optimizer else set())
    if optimizer and optimizer.type == "sgd" and len(of.graph.carry) == len(carried):
        sign = 1 if optimizer.maximize else -1
        for leaf, new in of.graph.carry.items():
            gradient = of[f"clipped.{leaf.id}" if f"clipped.{leaf.id}" in of else f"grad.{leaf.id}"]
            updated = of.values[leaf] + sign * optimizer.learning_rate * gradient
            np.testing.assert_allclose(of.values[new], updated, rtol=1e-14)


@networks
def test_every_inner_node_is_read(path: Path) -> None:
    of = computed(path)
    read = {operand for node in of.graph.nodes for operand in node.inputs}
    assert not [node for node in of.graph.nodes if node.id.startswith("~") and node not in read]


@networks
def test_witnesses_agree(path: Path) -> None:
    of = computed(path)
    for id in of.ids("check."):
        if id.removeprefix("check.") in of:
            np.testing.assert_allclose(of[id], of[id.removeprefix("check.")], rtol=1e-9, atol=1e-13)


# Conventions: what changes and what does not

TWO_LAYERS = """
data:
  inputs: [[0.5, -1.25], [1.5, 0.75]]
  targets: [[1, 0], [0.25, 0.75]]
layers:
  - {type: dense, name: h, units: 2, activation: tanh, weights: [[0.1, 0.2], [0.3, -0.4]], bias: [0.1, -0.1]}
  - {type: dense, name: o, units: 2, activation: sigmoid, weights: [[0.5, -0.2], [0.3, 0.7]], bias: [0.2, 1]}
loss: LOSS
optimizer: {type: sgd, learning_rate: 0.5}
conventions: {CONVENTIONS}
"""


def two_layers(conventions: str = "", loss: str = "half_squared_error", more: str = "") -> Computed:
    return network(TWO_LAYERS.replace("CONVENTIONS", conventions).replace("LOSS", loss) + more)


GRADIENTS = ["h.W", "h.b", "o.W", "o.b", "x", "h.a", "h.z", "o.z"]


@pytest.mark.parametrize(
    "loss", ["half_squared_error", "binary_cross_entropy", "{type: half_squared_error, reduction: sum}"]
)
@pytest.mark.parametrize(
    ("conventions", "factor"),
    [
        ("delta_sign: error", -1.0),
        ("delta_scale: sample", 2.0),
        ("delta_sign: error, delta_scale: sample", -2.0),
        ("derivative_from: pre_activation", 1.0),
    ],
)
def test_conventions_of_delta_change_only_delta(conventions: str, factor: float, loss: str) -> None:
    plain, other = two_layers(loss=loss), two_layers(conventions, loss)
    if "sum" in loss and "sample" in conventions:
        factor /= 2  # the δ of a sum is the sample's own already
    for layer in ("h", "o"):
        np.testing.assert_allclose(other[f"{layer}.delta"], factor * plain[f"{layer}.delta"], rtol=1e-14)
    for id in GRADIENTS:
        np.testing.assert_allclose(other[f"grad.{id}"], plain[f"grad.{id}"], rtol=1e-13, err_msg=id)
    for leaf, new in plain.graph.carry.items():
        np.testing.assert_allclose(other[f"new.{leaf.id}"], plain.values[new], rtol=1e-14)
    formulas_are_true(other)


def test_delta_is_the_gradient_by_the_pre_activation() -> None:
    of = two_layers()
    assert of.graph.by_id["grad.h.z"] is of.graph.by_id["h.delta"]
    error = two_layers("delta_sign: error")
    np.testing.assert_array_equal(error["grad.h.z"], -error["h.delta"])


def test_layouts_are_transposes() -> None:
    plain = two_layers()
    flipped = network(
        TWO_LAYERS.replace("[[0.1, 0.2], [0.3, -0.4]]", "[[0.1, 0.3], [0.2, -0.4]]")
        .replace("[[0.5, -0.2], [0.3, 0.7]]", "[[0.5, 0.3], [-0.2, 0.7]]")
        .replace("LOSS", "half_squared_error").replace("CONVENTIONS", "weight_layout: in_out")
    )  # fmt: skip
    columns = network(
        TWO_LAYERS.replace("[[0.5, -1.25], [1.5, 0.75]]", "[[0.5, 1.5], [-1.25, 0.75]]")
        .replace("[[1, 0], [0.25, 0.75]]", "[[1, 0.25], [0, 0.75]]")
        .replace("LOSS", "half_squared_error").replace("CONVENTIONS", "sample_axis: columns")
    )  # fmt: skip
    np.testing.assert_allclose(flipped["grad.h.W"], plain["grad.h.W"].T, rtol=1e-14)
    np.testing.assert_allclose(columns["grad.h.W"], plain["grad.h.W"], rtol=1e-14)
    np.testing.assert_allclose(columns["h.delta"], plain["h.delta"].T, rtol=1e-14)
    for of in (flipped, columns):
        formulas_are_true(of)


def test_sequential_update_reads_new_weights() -> None:
    plain, of = two_layers(), two_layers("update_order: sequential")
    for id in ("o.W", "o.b", "o.delta"):
        np.testing.assert_array_equal(of[f"grad.{id}" if "." in id and id != "o.delta" else id], plain[
            f"grad.{id}" if id != "o.delta" else id])  # fmt: skip
    np.testing.assert_array_equal(of["new.o.W"], plain["new.o.W"])
    local = 1 - of["h.a"] ** 2
    np.testing.assert_allclose(of["h.delta"], of["o.delta"] @ of["new.o.W"] * local, rtol=1e-14)
    assert np.abs(of["h.delta"] - plain["h.delta"]).max() > 1e-4
    np.testing.assert_allclose(of["grad.h.W"], of["h.delta"].T @ of["x"], rtol=1e-14)
    np.testing.assert_allclose(of["new.h.W"], of["h.W"] - 0.5 * of["grad.h.W"], rtol=1e-14)
    np.testing.assert_allclose(of["grad.x"], of["h.delta"] @ of["new.h.W"], rtol=1e-14)
    order = [node.id for node in of.graph.nodes]
    assert order.index("grad.o.W") < order.index("new.o.W") < order.index("h.delta")
    formulas_are_true(of)


def test_sequential_update_of_a_shared_layer_waits_for_its_last_use() -> None:
    of = network("""
data: {inputs: [[0.5, -1.25]], targets: [[0.2, 0.4]]}
layers:
  - {type: dense, name: a, units: 2, activation: tanh, weights: [[0.1, 0.2], [0.3, -0.4]], bias: [0.1, 0.2]}
  - {type: dense, name: b, units: 2, activation: tanh, share: a}
loss: half_squared_error
optimizer: {type: sgd, learning_rate: 0.5}
conventions: {update_order: sequential}
""")
    np.testing.assert_allclose(of["a.delta"], of["b.delta"] @ of["a.W"] * (1 - of["a.a"] ** 2), rtol=1e-14)
    total = of["a.delta"].T @ of["x"] + of["b.delta"].T @ of["a.a"]
    np.testing.assert_allclose(of["grad.a.W"], total, rtol=1e-14)
    np.testing.assert_allclose(of["new.a.W"], of["a.W"] - 0.5 * total, rtol=1e-14)
    np.testing.assert_allclose(of["grad.x"], of["a.delta"] @ of["new.a.W"], rtol=1e-14)


# The fused delta and its witness


@pytest.mark.parametrize(
    "conventions", ["", "delta_sign: error", "delta_scale: sample", "derivative_from: pre_activation"]
)
@pytest.mark.parametrize(("function", "loss"), [("sigmoid", "binary_cross_entropy"), ("softmax", "cross_entropy")])
def test_fused_delta_and_its_witness(function: str, loss: str, conventions: str) -> None:
    text = TWO_LAYERS.replace("activation: sigmoid", f"activation: {function}")
    of = network(text.replace("CONVENTIONS", conventions).replace("LOSS", loss))
    factor = (-1 if "error" in conventions else 1) * (2 if "sample" in conventions else 1)
    np.testing.assert_allclose(of["o.delta"], factor * (of["o.a"] - of["t"]) / 2, rtol=1e-13)
    for id in ("grad.o.a", "check.o.delta"):
        assert of.graph.by_id[id].phase == "check"
        assert of.graph.by_id[id].block == of.graph.by_id["check.o.delta"].block
    np.testing.assert_allclose(of["check.o.delta"], of["o.delta"], rtol=1e-12)
    y, t = of["o.a"], of["t"]
    slope = (y - t) / (y * (1 - y)) if function == "sigmoid" else -t / y
    np.testing.assert_allclose(of["grad.o.a"], slope / 2, rtol=1e-12)
    formulas_are_true(of)


def test_no_fused_delta_where_the_output_has_another_use() -> None:
    """Then grad.o.a is the whole derivative by o.a, and δ takes the long way."""
    loss = "\n  - {type: binary_cross_entropy}\n  - {type: half_squared_error, weight: 0.5}"
    of = two_layers(loss=loss)
    y, t = of["o.a"], of["t"]
    np.testing.assert_allclose(of["grad.o.a/loss.1.terms"], (y - t) / (y * (1 - y)) / 2, rtol=1e-12)
    np.testing.assert_allclose(of["grad.o.a/loss.2.terms"], (y - t) / 4, rtol=1e-12)
    np.testing.assert_allclose(of["o.delta"], of["grad.o.a"] * y * (1 - y), rtol=1e-12)
    formulas_are_true(of)


@pytest.mark.parametrize("upstream", ["{loss.terms: [[1, 2], [3, 4]]}", "{loss.samples: [1, 3]}"])
def test_upstream_inside_a_fused_loss(upstream: str) -> None:
    of = two_layers(loss="binary_cross_entropy", more=f"upstream: {upstream}\n")
    y, t = of["o.a"], of["t"]
    arriving = np.array([[1, 2], [3, 4]]) if "terms" in upstream else np.array([[1, 1], [3, 3]])
    np.testing.assert_allclose(of["o.delta"], (0.5 + arriving) * (y - t), rtol=1e-12)


def test_fused_delta_along_another_axis_than_the_classes() -> None:
    """Softmax over the samples: the fused delta must use softmax's axis."""
    of = network(
        """
data: {inputs: [[0.5, 1.0], [-0.25, 2.0]], targets: [[1, 0], [0, 1]]}
inputs: {q: data}
parameters: {w: [1.0, 2.0]}
graph:
  p: softmax(q * w, axis=0)
loss: {type: cross_entropy, reduction: sum}
""".replace("[[1, 0], [0, 1]]", "[[0.5, 0.25], [0.25, 0.75]]")
    )
    t, p = of["t"], of["p"]
    np.testing.assert_allclose(of["grad.p.1"], p * t.sum(0) - t, rtol=1e-12)


# Fan-out, several losses, tangents


def test_fan_out_has_a_name_for_each_way_and_their_sum() -> None:
    of = network("inputs: {a: 2, b: 1}\ngraph: {c: a + b, d: b + 1, e: c * d}\ntangents: [b]")
    assert [float(of[id]) for id in ("grad.b/c", "grad.b/d", "grad.b", "grad.a", "grad.c", "grad.d")] == [
        2,
        3,
        5,
        2,
        2,
        3,
    ]
    assert of.graph.by_id["grad.b"].inputs == (of.graph.by_id["grad.b/c"], of.graph.by_id["grad.b/d"])
    assert of.graph.by_id["grad.b/c"].block == of.graph.by_id["grad.b"].block == "grad.b"
    assert not [id for id in of.ids("grad.a/")]


def test_olahs_forward_mode() -> None:
    of = network("inputs: {a: 2, b: 1}\ngraph: {c: a + b, d: b + 1, e: c * d}\ntangents: [b]")
    assert [float(of[f"tangent.b.{id}"]) for id in "bcde"] == [1, 1, 1, 5]
    assert "tangent.b.a" not in of  # identically zero
    formulas_are_true(of)


def test_one_node_twice_has_a_number() -> None:
    of = network("inputs: {a: 3}\ngraph: {b: a * a}")
    assert [float(of[id]) for id in ("grad.a/b", "grad.a/b:2", "grad.a")] == [3, 3, 6]
    formulas_are_true(of)


def test_power_of_itself_has_two_local_derivatives() -> None:
    of = network("inputs: {a: 2}\ngraph: {b: a**a}\ntangents: [a]")
    assert float(of["grad.a"]) == float(of["tangent.a.b"]) == pytest.approx(4 + 4 * np.log(2), rel=1e-15)
    assert {float(of[id]) for id in of.ids("local.")} == {4.0, 4 * np.log(2)}
    formulas_are_true(of)


def test_several_losses_add_up() -> None:
    of = computed(next(path for path in PATHS if path.stem == "two-losses"))
    np.testing.assert_allclose(of["loss"], of["loss.1"] + of["loss.2"], rtol=1e-15)
    np.testing.assert_allclose(of["grad.h.a"], of["grad.h.a/price.z"] + of["grad.h.a/sold.z"], rtol=1e-15)
    sold, t = of["sold.a"], of["t_sold"]
    np.testing.assert_allclose(of["sold.delta"], 0.5 * (sold - t) / 2, rtol=1e-13)


def test_upstream_is_added() -> None:
    plain, of = two_layers(), two_layers(more="upstream: {h.a: [[1, 2], [3, 4]]}\n")
    np.testing.assert_allclose(of["grad.h.a"], plain["grad.h.a"] + np.array([[1, 2], [3, 4]]), rtol=1e-14)
    np.testing.assert_array_equal(of["grad.h.a/upstream"], [[1, 2], [3, 4]])
    np.testing.assert_array_equal(of["grad.o.W"], plain["grad.o.W"])


def test_upstream_of_one_sample_is_repeated_and_a_number_fills() -> None:
    rows = two_layers(more="upstream: {h.a: [[0.5, 0.5], [0.5, 0.5]]}\n")
    for upstream in ("[0.5, 0.5]", "0.5"):
        of = two_layers(more=f"upstream: {{h.a: {upstream}}}\n")
        np.testing.assert_allclose(of["grad.h.W"], rows["grad.h.W"], rtol=1e-14)


def test_without_loss_and_upstream_there_is_only_a_forward_pass() -> None:
    of = network("data: {inputs: [[1, 2]]}\nlayers: [{type: dense, name: h, units: 1, weights: [[1, 2]], bias: 0}]")
    assert {node.phase for node in of.graph.nodes} == {"data", "parameter", "forward"}


def test_held_parameters_get_no_gradient() -> None:
    held = TWO_LAYERS.replace("bias: [0.1, -0.1]", "bias: [0.1, -0.1], trainable: {bias: false}")
    of = network(held.replace("LOSS", "half_squared_error").replace("CONVENTIONS", ""))
    assert "grad.h.b" not in of and "new.h.b" not in of and "grad.h.W" in of


def test_ties_convention_reaches_the_graph() -> None:
    text = "inputs: {a: 2, b: 2}\ngraph:\n  c: max(a, b)\nconventions: {ties: WHICH}"
    first, every = (network(text.replace("WHICH", which)) for which in ("first", "all"))
    assert [float(first[f"grad.{id}"]) for id in "ab"] == [1, 0]
    assert [float(every[f"grad.{id}"]) for id in "ab"] == [1, 1]


def test_two_fused_losses_on_one_output() -> None:
    of = two_layers(loss="\n  - {type: binary_cross_entropy}\n  - {type: binary_cross_entropy, weight: 3}")
    np.testing.assert_allclose(of["o.delta"], 2 * (of["o.a"] - of["t"]), rtol=1e-12)


def test_fused_delta_of_sequences_with_empty_targets() -> None:
    of = network("""
data: {inputs: [[[0.5, 1.0], [1, 2]]], targets: [[[1, 0], [0, 0]]]}
layers: [{type: dense, name: h, units: 2, activation: softmax}]
loss: cross_entropy
""")
    np.testing.assert_allclose(of["h.delta"], of["h.a"] * of["t"].sum(-1, keepdims=True) - of["t"], atol=1e-12)


def test_product_with_a_vector_keeps_the_samples() -> None:
    of = network("""
data: {inputs: [[0.5, 1.0], [1, 2]], targets: [1, 0]}
inputs: {q: data}
parameters: {w: [1.0, 2.0]}
graph: {p: q @ w}
loss: half_squared_error
""")
    np.testing.assert_allclose(of["loss"], np.mean(0.5 * (of["p"] - [1, 0]) ** 2))


def test_concatenation_of_single_numbers_is_refused() -> None:
    with pytest.raises(SpecError):
        network("inputs: {a: 3, b: 4}\ngraph:\n  p: concat(a, b)\n  y: sum(p)\noutput: y\n")


def test_upstream_at_the_loss_is_added_to_its_one() -> None:
    plain, of = two_layers(), two_layers(more="upstream: {loss: 2}\n")
    np.testing.assert_allclose(of["grad.h.W"], 3 * plain["grad.h.W"], rtol=1e-13)


@pytest.mark.parametrize("call", ["concat(v, w, axis=-1)", "take(v, [1, 0], axis=-1)"])
def test_negative_axes(call: str) -> None:
    of = network(f"""
inputs: {{v: [[1, 2], [3, 4]], w: [[5, 6], [7, 8]]}}
graph:
  p: {call}
  y: sum(p * p)
output: y
""")
    v, w = of["v"], of["w"]
    expected = np.concatenate([v, w], axis=-1) if "concat" in call else np.take(v, [1, 0], axis=-1)
    np.testing.assert_array_equal(of["p"], expected)
    np.testing.assert_array_equal(of["grad.v"], 2 * v)


def test_constants_are_exact() -> None:
    """A mean over 3 is a division by 3, not a product with a rounded third."""
    of = network("inputs: {v: [1, 2, 4]}\ngraph: {m: mean(v)}")
    seed = of.graph.by_id["grad.v"].op
    assert isinstance(seed, Fill) and seed.value == Fraction(1, 3)
