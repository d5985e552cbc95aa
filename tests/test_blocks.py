"""Blocks: against PyTorch at any depth, their names and places, and what is refused."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
import yaml
from support.interpreter import network

import bptrace
from bptrace.errors import SpecError, UsageError
from bptrace.network import load as load_network
from bptrace.spec.load import load
from bptrace.spec.models import Network
from bptrace.spec.nesting import DEEPEST_NESTING, named_layers
from bptrace.writers.mermaid import flowchart

X = [[0.5, -1.25], [1.5, 0.75], [-0.3, 0.2]]
T = [[0.1, 0.9], [-0.5, 0.25], [2.5, 0.0]]


DESCENT = {"type": "sgd", "learning_rate": 0.1}


def dense(name: str, units: int = 2, **rest: Any) -> dict[str, Any]:
    return {"type": "dense", "name": name, "units": units, **rest}


def document(*layers: dict[str, Any], **rest: Any) -> str:
    parts = {"data": {"inputs": X, "targets": T}, "layers": list(layers), "loss": "half_squared_error", **rest}
    return yaml.safe_dump({key: value for key, value in parts.items() if value is not None}, sort_keys=False)


def branch(kind: str, name: str, *layers: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"type": kind, "name": name, "layers": list(layers), **rest}


NETWORKS: dict[str, list[dict[str, Any]]] = {
    "residual": [dense("h"), branch("residual", "res", dense("f", 3, activation="tanh"), dense("g"))],
    "residual of the input": [branch("residual", "res", dense("f", activation="sigmoid"), activation="relu")],
    "residual by name": [
        dense("h", activation="tanh"), dense("f", activation="sigmoid"),
        {"type": "residual", "name": "res", "inputs": ["h"], "activation": "tanh"},
    ],
    "add by names": [
        dense("a", activation="tanh"), dense("b", input="x"),
        {"type": "add", "name": "s", "inputs": ["x", "a", "b"]},
    ],
    "twice the same": [dense("a"), {"type": "add", "name": "s", "inputs": ["a", "a"]}],
    "multiply": [dense("a"), dense("b", input="x", activation="sigmoid"),
                 {"type": "multiply", "name": "m", "inputs": ["a", "b"]}],
    "multiply three": [dense("a"), dense("b", input="x"), {"type": "multiply", "inputs": ["a", "b", "x"]}],
    "multiply by a branch": [dense("h"), branch("multiply", "gate", dense("g", activation="sigmoid"))],
    "concat by names": [
        dense("a", 3, activation="tanh"), dense("b", 1, input="x"),
        {"type": "concat", "name": "c", "inputs": ["b", "x", "a"]}, dense("o"),
    ],
    "concat by a branch": [branch("concat", "c", dense("f", 3, activation="tanh"), activation="sigmoid"), dense("o")],
    "nested": [
        branch(
            "residual", "outer", dense("a", activation="tanh"),
            branch("residual", "inner", dense("b", 3, activation="relu"), dense("c"), activation="sigmoid"),
            branch("concat", "d", branch("add", "e", dense("f", activation="tanh"))), dense("g"),
            activation="tanh",
        ),
        dense("o"),
    ],
    "input in a branch": [dense("h", 3), branch("residual", "res", dense("f", input="x"), input="x"),
                          dense("o", input=["res", "h", "f"])],
    "shared in a branch": [dense("h"), branch("residual", "res", dense("f", share="h", activation="tanh"))],
    "dropout in a branch": [
        branch("residual", "res", dense("f", 3), {"type": "dropout", "rate": 0.4, "mask": [1, 0, 1]}, dense("g"))
    ],
}  # fmt: skip
CONVENTIONS: dict[str, dict[str, str]] = {
    "": {},
    "columns": {"sample_axis": "columns", "weight_layout": "in_out"},
    "errors": {"delta_sign": "error", "delta_scale": "sample"},
}


@pytest.mark.parametrize("conventions", CONVENTIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_are_pytorchs(name: str, conventions: str) -> None:
    """Every output and every gradient."""
    pytest.importorskip("torch")
    from test_torch_networks import compare

    turned = conventions == "columns"
    arrays = ([list(row) for row in zip(*rows, strict=True)] if turned else rows for rows in (X, T))
    data = dict(zip(("inputs", "targets"), arrays, strict=True))
    ours, theirs = compare(document(*NETWORKS[name], data=data, conventions=CONVENTIONS[conventions]))
    assert {f"grad.{node.id}" for node in ours.assembly.trainable} <= set(ours.graph.by_id)
    assert {f"{name}.y" for name in ours.assembly.layers} <= set(theirs.nodes)


@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_run_on_every_engine(name: str) -> None:
    from test_engine_agreement import ArrayEngine, FormulaEngine, Layout, ScalarEngine, computed, differences

    assembly = load_network("net.yaml", text=_trained(name)).assembly()
    layout = Layout(assembly)
    start = [x for leaf in assembly.graph.carry for x in assembly.graph.values[leaf]]
    expected = computed(FormulaEngine(layout), start, 3)
    found = computed(ArrayEngine(assembly, layout, range(3)), start, 3)
    assert not differences(layout, found[0], expected[0])
    assert computed(ScalarEngine(assembly, layout, range(3), lambda: pytest.fail("")), start, 3) == expected


def _trained(name: str) -> str:
    return document(*NETWORKS[name], optimizer=DESCENT)


def with_names(layer: dict[str, Any]) -> dict[str, Any]:
    """The units of dense layers have names, so that no δ[1] of one layer is taken for another's."""
    if layer["type"] == "dense":
        return {**layer, "names": {"units": [f"{layer['name']}{k}" for k in range(1, layer["units"] + 1)]}}
    return {**layer, "layers": [with_names(inner) for inner in layer["layers"]]} if "layers" in layer else layer


@pytest.mark.parametrize("name", NETWORKS)
def test_every_line_of_the_page_is_true(name: str) -> None:
    from support.page_lines import Judge, read_text

    layers = [with_names(layer) for layer in NETWORKS[name]]
    text = document(*layers, data={"inputs": X[:1], "targets": T[:1]}, optimizer=DESCENT)
    text = load_network("net.yaml", text=text).run().text(columns=80)
    judge = Judge(9).page(read_text(text.splitlines()))
    assert not judge.problems


def test_images_are_joined_by_their_channels() -> None:
    x = np.round(np.random.default_rng(0).uniform(-1, 1, (2, 2, 3, 3)), 3).tolist()
    conv = {"type": "conv2d", "channels": 2, "kernel": 3, "padding": 1}
    layers = [branch("residual", "res", {**conv, "name": "c"}), branch("concat", "cat", {**conv, "name": "d"})]
    trace = load_network("net.yaml", text=json.dumps({"data": {"inputs": x}, "layers": layers, "loss": "sum"})).run()
    res, cat = np.array(trace["res.y"]), np.array(trace["cat.y"])
    np.testing.assert_allclose(res, np.array(x) + trace["c.y"], rtol=1e-14)
    np.testing.assert_array_equal(cat, np.concatenate([res, trace["d.y"]], 1))
    np.testing.assert_array_equal(trace["grad.d.z"], np.ones((2, 2, 3, 3)))


def test_gradients_of_images_are_those_of_finite_differences() -> None:
    from support.interpreter import compute, numeric_gradient, start

    x = np.round(np.random.default_rng(0).uniform(-1, 1, (2, 2, 3, 3)), 3).tolist()
    conv = {"type": "conv2d", "channels": 2, "kernel": 3, "padding": 1, "activation": "tanh"}
    layers = [
        branch("residual", "res", {**conv, "name": "c"}), branch("concat", "cat", {**conv, "name": "d"}),
        branch("multiply", "m", {**conv, "channels": 4, "name": "e"}),
    ]  # fmt: skip
    ours = network(json.dumps({"data": {"inputs": x}, "layers": layers, "loss": "sum"}))
    for id in ("c.W", "d.b", "e.W"):
        leaf = ours.graph.by_id[id]

        def objective() -> float:
            values = start(ours.graph, ours.assembly.tables)
            values[ours.graph.by_id[id]] = array  # noqa: B023 - called at once
            return float(compute(ours.graph.nodes, values)[ours.graph.by_id["loss"]])

        array = ours.values[leaf].copy()
        slopes, _ = numeric_gradient(objective, array)
        np.testing.assert_allclose(ours[f"grad.{id}"], slopes, rtol=1e-6, atol=1e-7)


# names, places, settings


def layers_of(text: str) -> list[Any]:
    spec: Network = load("net.yaml", text).network
    return list(named_layers(spec.layers))


def test_default_names_count_over_the_whole_network() -> None:
    plain = {"type": "dense", "units": 2}
    text = document(plain, {"type": "residual", "layers": [plain, {"type": "residual", "layers": [plain]}]}, plain)
    names = [name for name, _, _ in layers_of(text)]
    assert names == ["dense1", "residual1", "dense2", "residual2", "dense3", "dense4"]
    ours = network(text)
    assert list(ours.assembly.titles) == ["dense1", "dense2", "dense3", "residual2", "residual1", "dense4"]
    assert "grad.dense3.W" in ours
    assert ours.assembly.trainable[2].id == "dense2.W"


def test_fields_of_nested_layers_hold() -> None:
    inner = dense("f", trainable={"bias": False}, penalty={"l2": 0.5}, weights=[[0.1, 0.2], [0.3, 0.4]])
    layers = [branch("residual", "res", {**inner, "derivative_from": "pre_activation", "activation": "sigmoid"})]
    optimizer = {"type": "sgd", "learning_rate": 0.1, "rates": {"f": 0.5}}
    text = document(*layers, optimizer=optimizer)
    trace = load_network("net.yaml", text=text).run()
    assert trace["loss.penalty"] == pytest.approx(0.25 * 0.3)
    assert "grad.f.b" not in trace.assembly(1).graph.by_id
    step = (np.array(trace["f.W"]) - trace["new.f.W"]) / np.array(trace["grad.f.W"])
    np.testing.assert_allclose(step, 0.5, rtol=1e-12)
    written = json.loads(trace.text("json"))
    assert written["conventions"]["layers"] == {"f": {"derivative_from": "pre_activation"}}
    assert next(node for node in written["nodes"] if node["id"] == "f.z")["layer"] == "f"


def test_set_reaches_nested_layers() -> None:
    text = document(branch("residual", "res", branch("residual", "in", dense("f", 2)), dense("g")))
    for path in ("layers.f.units", "layers.res.layers.in.layers.f.units", "layers[0].layers[0].layers[0].units"):
        changed = load("net.yaml", text, [f"{path}=3"])
        assert changed.network.layers[0].layers[0].layers[0].units == 3
    with pytest.raises(UsageError, match="did you mean 'res'"):
        load("net.yaml", text, ["layers.ress.activation=relu"])


def test_diagram_draws_the_shortcut() -> None:
    assembly = bptrace.load("yeh-resnet-small").assembly()
    drawn = flowchart(assembly)
    assert "h: dense, relu" in drawn
    assert "res: residual, relu" in drawn
    edges = [line for line in drawn.splitlines() if "-->" in line]
    assert len(edges) == 4 * 3 + 3 * 4 + 4 + 4 + 4  # h, f, the shortcut, the branch's end, o


def test_page_lists_the_branch_before_the_block() -> None:
    lines = bptrace.load("yeh-resnet-small").run().text(columns=80).splitlines()
    headings = [line for line in lines if line.startswith("Layer")]
    assert headings == [
        "Layer h: dense, 4 inputs, 3 units, relu", "Layer f: dense, 3 inputs, 4 units, identity",
        "Layer res: residual connection, relu", "Layer o: dense, 4 inputs, 1 unit, sigmoid",
    ]  # fmt: skip


def test_models_are_built_for_the_types_in_branches_only() -> None:
    """A branch is validated by the classes of its own types; their schema stands once."""
    from bptrace.spec.schema import schema

    residual = schema()["$defs"]["layer.residual"]["properties"]
    assert residual["layers"] == {"$ref": "#/$defs/layers"}
    assert set(residual) >= {"layers", "inputs", "activation", "names", "type"}


# what is refused


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([branch("residual", "r", dense("f", 3))],
         ["layers[0].layers: the branch makes [3, 3] of [3, 2]", "expected a branch that ends with the shape [3, 2]"]),
        ([branch("residual", "r")], ["layers[0].layers: no layers"]),
        ([{"type": "residual", "name": "r"}], ["residual has nothing to join", "layers: [...] (a branch)"]),
        ([branch("add", "r", dense("f"), inputs=["x"])], ["layers and inputs are both given"]),
        ([dense("a"), {"type": "add", "inputs": ["a"]}], ["layers[1].inputs: 1 to join; expected at least 2"]),
        ([dense("a"), {"type": "add", "inputs": ["a", "b"]}], ["layers[1].inputs[1]: no layer or input 'b' above"]),
        ([dense("hidden"), {"type": "add", "inputs": ["x", "hiden"]}], ["did you mean 'hidden'"]),
        ([dense("a", 3), {"type": "multiply", "inputs": ["a", "x"]}],
         ["the shapes do not fit together: a [3, 3], x [3, 2]", "outputs of one shape"]),
        ([dense("a", 3), {"type": "residual", "inputs": ["x"]}], ["x [3, 2], its input [3, 3]"]),
        ([dense("a"), {"type": "add", "inputs": ["a", "x"], "input": "a"}], ["reads no other input"]),
        ([dense("h"), branch("residual", "r", dense("h"))],
         ["layers[1].layers[0].name: the name 'h' is taken by layers[0]"]),
        ([branch("residual", "r", dense("dense2"), {"type": "dense", "units": 2})], ["the name 'dense2' is taken"]),
        ([branch("residual", "r", dense("f", 0))], ["layers[0].layers[0].units: cannot be 0"]),
        ([branch("residual", "r", dense("f", weight=1))], ["layers[0].layers[0].weight: unknown key 'weight'"]),
        ([branch("residual", "r", {"type": "dens", "units": 2})],
         ["unknown layer type 'dens'", "did you mean 'dense'"]),
        ([branch("residual", "r", dense("f", input="g"))], ["layers[0].layers[0].input: no layer or input 'g' above"]),
        ([branch("residual", "r", dense("f", weights=[[1, 2]]))],
         ["layers[0].layers[0].weights: the shape is [1, 2]"]),
        ([branch("residual", "r", branch("residual", "s", dense("f", 3)))],
         ["layers[0].layers[0].layers: the branch makes"]),
        ([branch("residual", "r", "dense")], ["layers[0].layers[0]: not a mapping"]),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_place(layers: list[Any], said: list[str]) -> None:
    with pytest.raises(SpecError) as raised:
        network(document(*layers, loss=None))
    text = str(raised.value).replace("Did", "did")
    for part in said:
        assert part in text
    assert text.count("test.yaml:") == 1, "one mistake, one message"


def test_mistakes_of_several_branches_come_together() -> None:
    bad = [branch("residual", name, dense(f"f{name}", 0)) for name in ("a", "b")]
    with pytest.raises(SpecError) as raised:
        network(document(*bad))
    assert len(raised.value.problems) == 2


def test_blocks_do_not_nest_without_end() -> None:
    layer = dense("f")
    for k in range(DEEPEST_NESTING):
        layer = branch("residual", f"r{k}", layer)
    assert network(document(layer, loss=None))["r0.y"].shape == (3, 2)
    with pytest.raises(SpecError, match=f"more than {DEEPEST_NESTING} blocks within each other"):
        network(document(branch("residual", "top", layer), loss=None))


def test_a_random_deep_residual_network_is_pytorchs() -> None:
    pytest.importorskip("torch")
    from test_torch_networks import compare

    rng = random.Random(1)

    def block(depth: int, k: int) -> list[dict[str, Any]]:
        kind = rng.choice(["residual", "add", "multiply"])
        inner = block(depth - 1, 2 * k) + block(depth - 1, 2 * k + 1) if depth else [dense(f"d{k}", activation="tanh")]
        return [branch(kind, f"b{depth}_{k}", *inner, activation=rng.choice(["tanh", "sigmoid", "identity"]))]

    ours, _ = compare(document(*block(3, 1)))
    assert len(ours.assembly.layers) == 15 + 8
