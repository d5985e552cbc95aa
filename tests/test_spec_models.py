"""The models of the YAML with layers and optimizers of our own, found through registries as real ones are."""

from __future__ import annotations

from typing import Any, Literal

import jsonschema
import pytest

from bptrace.errors import SpecError, UsageError, nearest
from bptrace.spec import registry
from bptrace.spec.base import Array, Count, Name, Number, Positive, Strict, shape_of
from bptrace.spec.load import Spec, load
from bptrace.spec.registry import Layers
from bptrace.spec.schema import schema
from bptrace.spec.words import LOSSES
from bptrace.spec.yaml_text import read


class FakeFunction(Strict):
    type: Literal["sigmoid", "elu"]
    alpha: Number = 1.0


class FakeDense(Strict):
    type: Literal["dense"]
    name: Name | None = None
    units: Count
    activation: Literal["sigmoid", "relu"] | FakeFunction = "sigmoid"
    weights: Array | None = None
    bias: Array | Literal[False] = 0.0


class FakeResidual(Strict):
    type: Literal["residual"]
    name: Name | None = None
    layers: Layers


class FakeSgd(Strict):
    type: Literal["sgd"]
    learning_rate: Positive


@pytest.fixture(autouse=True)
def registries(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = {
        "dense": f"{__name__}:FakeDense",
        "residual": f"{__name__}:FakeResidual",
        "unused": "no.such.module:Class",
    }
    monkeypatch.setattr(registry, "layer_types", lambda: layers)
    monkeypatch.setattr(registry, "optimizer_types", lambda: {"sgd": f"{__name__}:FakeSgd"})


NETWORK = """\
name: a network
data:
  inputs: [[0.05, 0.10]]
  targets: [[0.01, 0.99]]
layers:
  - type: dense
    name: h
    units: 2
    activation: {type: elu, alpha: 2}
    weights: [[0.15, 0.20], [0.25, 0.30]]
    bias: false
  - type: residual
    layers:
      - {type: dense, name: o, units: 2}
loss: half_squared_error
optimizer: {type: sgd, learning_rate: 0.5}
"""


def problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load("net.yaml", text, overrides)
    return [str(problem).splitlines()[0] for problem in caught.value.problems]


def changed(old: str, new: str) -> str:
    assert old in NETWORK
    return NETWORK.replace(old, new)


def test_layers_are_validated_by_their_classes_and_only_those_used_are_imported() -> None:
    spec: Spec = load("net.yaml", NETWORK)
    h, block = spec.network.layers
    assert isinstance(h, FakeDense)
    assert isinstance(h.activation, FakeFunction)
    assert h.weights == [[0.15, 0.2], [0.25, 0.3]]
    assert h.bias is False
    assert isinstance(block, FakeResidual)
    assert isinstance(block.layers[0], FakeDense)
    assert isinstance(spec.network.optimizer, FakeSgd)


def test_defaults_are_the_first_words_and_one_iteration() -> None:
    network = load("net.yaml", NETWORK).network
    assert network.training.iterations == 1
    assert network.training.batch_size == "all"
    assert network.conventions.update_order == "simultaneous"
    assert network.conventions.rounding == "none"
    assert network.seed == 0
    assert load("n", NETWORK + "training: {epochs: 3}\n").network.training.iterations is None


NAME = "name: a network"
MISTAKES = [
    ("    units: 2", "    unit: 2", ":8:5: layers[0].unit: unknown key 'unit'; did you mean 'units'?"),
    ("    units: 2", "    unit: 2", ":6:5: layers[0].units: 'units' is missing"),
    ("    units: 2", "    units: 2.5", ":8:12: layers[0].units: cannot be 2.5; expected a"),
    ("    units: 2", "    units: 0", "layers[0].units: cannot be 0; expected a number of at least 1"),
    ("    units: 2", "    units: true", "layers[0].units: cannot be true; expected a whole number"),
    ("name: h", "name: x", ":7:11: layers[0].name: the name 'x' is reserved"),
    ("name: h", "name: '[b]'", ":7:11: layers[0].name: '[' cannot stand in a name"),
    ("name: o", "name: h", ":14:29: layers[1].layers[0].name: the name 'h' is taken by layers[0]"),
    ("type: residual", "type: resdual", ":12:11: layers[1].type: unknown layer type 'resdual'"),
    ("type: residual", "type: resdual", "did you mean 'residual'?"),
    ("type: residual", "kind: residual", ":12:5: layers[1].type: 'type' is missing; expected one of"),
    (", units: 2}", ", units: two}", ":14:39: layers[1].layers[0].units: cannot be the text 'two'"),
    ("{type: elu,", "{type: elv,", ":9:24: layers[0].activation.type: cannot be the text 'elv'"),
    (", alpha: 2", ", alpa: 2", ":9:29: layers[0].activation.alpa: unknown key 'alpa'; did you mean"),
    ("{type: elu, alpha: 2}", "sigmod", ":9:17: layers[0].activation: cannot be the text 'sigmod'"),
    ("{type: elu, alpha: 2}", "sigmod", "expected sigmoid or relu or a mapping; did you mean 'sigmoid'?"),
    ("bias: false", "bias: no", ":11:11: layers[0].bias: cannot be the text 'no'"),
    ("bias: false", "bias: [1, x]", ":11:15: layers[0].bias[1]: not a number: the text 'x'"),
    ("0.20", "true", ":10:22: layers[0].weights[0][1]: not a number: true; expected"),
    ("half_squared_error", "half_squared_eror", ":15:7: loss: unknown loss 'half_squared_eror'; did"),
    ("half_squared_error", "[sum, {type: huber, threshold: 0}]", ":15:38: loss[1].threshold: cannot"),
    ("half_squared_error", "{type: sum, threshold: 1}", "loss.threshold: sum has no threshold"),
    ("half_squared_error", "{type: huber, targets: u}", "loss.targets: data.targets has no 'u'"),
    ("half_squared_error", "3", ":15:7: loss: not a loss: 3; expected its name, or {type: name, ...}"),
    ("half_squared_error", "[]", ":15:7: loss: no loss in the list"),
    ("  targets: [[0.01, 0.99]]\n", "", "loss: half_squared_error needs targets"),
    ("learning_rate: 0.5", "learning_rate: 0", ":16:39: optimizer.learning_rate: cannot be 0; expected"),
    ("type: sgd", "type: sgs", ":16:19: optimizer.type: unknown optimizer type 'sgs'; did you mean"),
    (
        "{type: sgd, learning_rate: 0.5}",
        "sgd",
        "optimizer: not a mapping: the text 'sgd'; expected {type: sgd",
    ),
    (NAME, "graph: {f: 1}", ":1:1: graph: both layers and graph are given"),
    (NAME, "output: f", ":1:1: output: 'output' belongs to a graph"),
    (NAME, "name: 3", ":1:7: name: not a text: 3"),
    (NAME, "rule: backpropagation", ":1:7: rule: cannot be the text 'backpropagation'"),
    (NAME, "conventions: {ties: last}", "conventions.ties: cannot be the text 'last'; expected first"),
    (NAME, "conventions: {tie: all}", "conventions.tie: unknown key 'tie'; did you mean 'ties'?"),
    (NAME, "conventions: {rounding: {}}", "conventions.rounding.digits: 'digits' is missing"),
    (NAME, "training: {iterations: 1, epochs: 2}", "training.epochs: iterations and epochs are both"),
    (NAME, "training: {iterations: 1.0e+12}", "training.iterations: cannot be 1000000000000.0"),
    (NAME, "training: {batch_size: some}", "training.batch_size: cannot be the text 'some'"),
    (NAME, "penalty: {l2: -1}", "penalty.l2: cannot be -1; expected a number of at least 0"),
    (NAME, "tangents: input", "tangents: cannot be the text 'input'; expected none, inputs, or a"),
    (NAME, "upstream: {h.z: a}", ":1:17: upstream.h.z: not a number: the text 'a'"),
    (NAME, "initializer: {type: normall}", "did you mean 'normal'?"),
    (NAME, "lyers: []", ":1:1: lyers: unknown key 'lyers'; did you mean 'layers'?"),
    ("  inputs: [[0.05, 0.10]]", "  inputs: {a b: 1}", "data.inputs.a b: ' ' cannot stand in a name"),
]


@pytest.mark.parametrize(("old", "new", "expected"), MISTAKES)
def test_mistakes_have_a_place_an_expectation_and_a_nearest_name(old: str, new: str, expected: str) -> None:
    found = problems(changed(old, new))
    assert any(expected in line for line in found), found


def test_pydantic_is_never_heard() -> None:
    text = changed("units: 2", "units: []").replace("bias: false", "bias: {}").replace("0.5}", "[]}")
    said = "\n".join(problems(text + "training: 3\nseed: x\npenalty: []\nnotes: 4\n"))
    for word in ("pydantic", "Input", "http", "valid"):
        assert word not in said


def test_several_targets_need_to_be_told_apart() -> None:
    text = changed("targets: [[0.01, 0.99]]", "targets: {u: [1], v: [2]}")
    assert problems(text) == ["net.yaml:15:7: loss: which of the targets?; expected targets: u or v"]


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("layers.h.units=3", lambda n: n.layers[0].units, 3),
        ("layers[0].units=3", lambda n: n.layers[0].units, 3),
        ("layers[1].layers.o.units=4", lambda n: n.layers[1].layers[0].units, 4),
        ("layers.h.weights[0][1]=7", lambda n: n.layers[0].weights[0][1], 7.0),
        ("training.epochs=5", lambda n: n.training.epochs, 5),
        ("conventions.rounding.digits=4", lambda n: n.conventions.rounding.digits, 4),
        ("upstream.h.z=[[1, 2]]", lambda n: n.upstream["h.z"], [[1.0, 2.0]]),
        ("notes=a=b", lambda n: n.notes, "a=b"),
        ("loss={type: huber, threshold: 2}", lambda n: n.loss[0].threshold, 2.0),
    ],
)
def test_set_changes_the_document(override: str, path: Any, value: Any) -> None:
    assert path(load("net.yaml", NETWORK, [override]).network) == value


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("layer.h=3", "unknown key 'layer'; did you mean 'layers'?"),
        ("layers.hh.units=3", "no item is named 'hh'; did you mean 'h'?"),
        ("layers.k.units=3", "no item is named 'k'; known: h"),
        ("layers[7].units=1", "layers has 2 items, counted from 0"),
        ("name.x=3", "'name' is a plain value and has no parts"),
        ("layers.h.units=[", "a value is missing or cut off here"),
        ("units", "expected path=value"),
        ("=3", "expected path=value"),
    ],
)
def test_set_paths_that_lead_nowhere(override: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        load("net.yaml", NETWORK, [override])
    assert expected in str(caught.value)
    assert caught.value.exit_code == 2


def test_wrong_values_of_set_are_placed_in_its_text() -> None:
    assert problems(NETWORK, "layers.h.unit=3") == [
        "--set:1:15: layers[0].unit: unknown key 'unit'; did you mean 'units'?"
    ]
    assert problems(NETWORK, "layers.h.weights[0][1]=true") == [
        "--set:1:24: layers[0].weights[0][1]: not a number: true; expected a finite number"
    ]


def test_later_stages_report_in_the_same_format() -> None:
    spec = load("net.yaml", NETWORK)
    problem = spec.problem(("layers", 0, "weights", 1, 5), "shape (2, 2)", "(2, 3): one column an input")
    assert str(problem).splitlines()[0] == (
        "net.yaml:10:29: layers[0].weights[1][5]: shape (2, 2); expected (2, 3): one column an input"
    )
    at_key = spec.problem(("layers", 0, "weights"), "unused", known=["bias"], got="bia", at_key=True)
    assert (at_key.line, at_key.column, at_key.hint) == (10, 5, "bias")


def test_shapes_and_nearest_names() -> None:
    assert shape_of(1.0) == ()
    assert shape_of([[1.0, 2.0, 3.0]]) == (1, 3)
    assert nearest("Sigmoid", ["sigmoid", "tanh"]) == "sigmoid"
    assert nearest("zzz", ["sigmoid"]) == ""


def test_the_schema_accepts_what_loads_and_names_what_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    types = {"dense": f"{__name__}:FakeDense", "residual": f"{__name__}:FakeResidual"}
    monkeypatch.setattr("bptrace.spec.schema.layer_types", lambda: types)
    monkeypatch.setattr("bptrace.spec.schema.optimizer_types", lambda: {"sgd": f"{__name__}:FakeSgd"})
    whole = schema()
    jsonschema.Draft202012Validator.check_schema(whole)
    validator = jsonschema.Draft202012Validator(whole)
    assert list(validator.iter_errors(read(NETWORK, "n").value)) == []
    graph = "inputs: {x: -2, y: data}\ngraph: {f: x + y, g: 3}\ndata: {inputs: {y: [1]}}\n"
    assert list(validator.iter_errors(read(graph, "n").value)) == []
    for wrong in (
        changed("name: o", "nam: o"),
        changed("units: 2", "units: two"),
        changed("half_squared_error", "mse"),
        changed("type: sgd", "type: adamm"),
        changed("0.20", "true"),
        "name: x",
    ):
        assert list(validator.iter_errors(read(wrong, "n").value)), wrong


def test_every_loss_word_is_known() -> None:
    for loss in LOSSES:
        assert load("n", changed("half_squared_error", loss)).network.loss[0].type == loss
