"""The JSON trace: the format of DESIGN 5, numbers in full, one iteration at a time."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from bptrace.network import Network, load
from bptrace.trace import Trace
from bptrace.writers.json_trace import json_number, json_text, json_trace, number_text

NETWORKS = ["mazur", "cs231n-fxyz", "mlm-train-20", "nnfs-layer", "two-losses", "nnfs-softmax-ce", "rashid-3layer"]


def strict(text: str) -> Any:
    """JSON as other languages read it: no NaN, no infinities, no key twice."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in pairs}) == len(pairs)
        return dict(pairs)

    return json.loads(text, parse_constant=refuse, object_pairs_hook=once)


def written(trace: Trace, iterations: list[int] | None = None) -> Any:
    return strict("".join(json_trace(trace, iterations)))


def from_text(text: str) -> Network:
    return load("net.yaml", text=text)


def shape_of(value: Any) -> list[int]:
    return [len(value), *shape_of(value[0])] if isinstance(value, list) else []


@pytest.mark.parametrize("name", NETWORKS)
def test_every_stored_value_is_there(name: str) -> None:
    trace = load(name).run()
    found = written(trace)
    assert list(found) == ["format", "version", "name", "engine", "conventions", "nodes", "iterations", "final"]
    assert (found["format"], found["version"], found["name"]) == ("bptrace-trace", 1, trace.network.name)
    assert [entry["iteration"] for entry in found["iterations"]] == trace.recorded
    shapes = {node["id"]: node["shape"] for node in found["nodes"]}
    for entry in found["iterations"]:
        i = entry["iteration"]
        assert (entry["epoch"], entry["samples"]) == (trace.epoch(i), trace.samples(i))
        assert list(entry["values"]) == [node["id"] for node in found["nodes"]]
        for id, value in entry["values"].items():
            assert shape_of(value) == shapes[id]
            expected = trace.value(id, i)
            if trace.engine["dtype"] == "float64":
                assert value == expected
        loss = trace.assembly(i).graph.loss
        assert entry["loss"] == (entry["values"][loss.id] if loss is not None else None)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_node_comes_after_what_it_is_computed_from(name: str) -> None:
    found = written(load(name).run())
    seen: set[str] = set()
    for node in found["nodes"]:
        assert set(node["inputs"]) <= seen
        assert bool(node.get("formula")) == (node["op"] != "leaf")
        assert math.prod(node["shape"]) == len(node.get("formulas", [0] * math.prod(node["shape"])))
        seen.add(node["id"])


def test_mazur_as_the_design_shows_it() -> None:
    found = written(load("mazur").run())
    nodes = {node["id"]: node for node in found["nodes"]}
    assert nodes["h.z"] == {
        "id": "h.z",
        "aliases": [],
        "phase": "forward",
        "layer": "h",
        "symbol": "net",
        "shape": [1, 2],
        "names": ["net_h1", "net_h2"],
        "op": "affine",
        "inputs": ["x", "h.W", "h.b"],
        "block": "h.z",
        "formula": "net[j] = Σ W[j,k]·x[k] + b[j]",
        "formulas": ["w1·i1 + w2·i2 + b1", "w3·i1 + w4·i2 + b1"],
    }
    assert nodes["grad.h.W"]["op"] == "contract"
    assert nodes["o.delta"]["symbol"] == "δ" and nodes["grad.o.W"]["symbol"] == "∂E/∂W"
    assert nodes["o.delta"]["formulas"][0] == "∂E/∂out_o1 · σ'(net_o1)"
    assert nodes["new.o.W"]["formula"] == "new W[j,k] = W[j,k] - η·∂E/∂W[j,k]"
    (iteration,) = found["iterations"]
    values = iteration["values"]
    assert values["x"] == [[0.05, 0.1]] and values["h.z"] == [[0.3775, 0.39249999999999996]]
    assert iteration["loss"] == values["loss"] == 0.2983711087600027
    assert values["o.W"] == [[0.4, 0.45], [0.5, 0.55]], "as it was before the update"
    assert values["new.o.W"] == found["final"]["parameters"]["o.W"] != values["o.W"]
    assert values["setting.optimizer.learning_rate"] == 0.5 and values["h.b"] == [0.35, 0.35]
    assert found["final"]["loss"] == pytest.approx(0.29102777369359933, rel=1e-12)
    assert found["final"]["outputs"]["o.y"] == [pytest.approx([0.7420881111907824, 0.7752849682944595], rel=1e-12)]


def test_no_letter_stands_for_two_things() -> None:
    nodes = {node["id"]: node for node in written(load("mazur").run())["nodes"]}
    assert nodes["grad.h.a"]["formula"] == "∂E/∂out[i] = Σ o.W[j,i]·o.delta[j]"
    nodes = {node["id"]: node for node in written(load("nnfs-softmax-ce").run())["nodes"]}
    assert nodes["p"]["formula"] == "p[n,i] = exp(z[n,i])/(Σ exp(z[n,k]))"


def test_inline_operands_stand_for_what_they_are_made_of() -> None:
    nodes = {node["id"]: node for node in written(load("iamtrask-2layer").run(2))["nodes"]}
    assert nodes["l1.delta"]["inputs"] == ["t", "l1.a", "local.l1.a"]
    assert not any(id.startswith("~") for node in nodes.values() for id in [node["id"], *node["inputs"]])


def test_epochs_and_batches() -> None:
    found = written(load("mlm-train-20").run(), [1, 10, 11, 200])
    assert [(e["epoch"], e["samples"]) for e in found["iterations"]] == [(1, [1]), (1, [10]), (2, [1]), (20, [10])]
    assert found["final"]["outputs"]["o.y"][9] and len(found["final"]["outputs"]["o.y"]) == 10


def test_a_smaller_last_batch_has_its_own_shapes() -> None:
    text = """
data: {inputs: [[1], [2], [3]], targets: [[1], [0], [1]]}
layers: [{type: dense, name: h, units: 1, activation: sigmoid}]
loss: half_squared_error
optimizer: {type: sgd, learning_rate: 0.5}
training: {epochs: 1, batch_size: 2}
conventions: {delta_scale: sample}
"""
    found = written(from_text(text).run())
    first, last = found["iterations"]
    assert (shape_of(first["values"]["h.z"]), shape_of(last["values"]["h.z"])) == ([2, 1], [1, 1])
    assert {*first["values"], *last["values"]} == {node["id"] for node in found["nodes"]}
    assert found["conventions"]["delta_scale"] == "sample"


def test_conventions_are_all_there_and_those_of_layers_too() -> None:
    text = """
data: {inputs: [[1]], targets: [[1]]}
layers:
  - {type: dense, name: h, units: 2, activation: relu}
  - {type: dense, name: o, units: 1, weight_layout: in_out}
loss: half_squared_error
conventions: {rounding: {digits: 4}}
"""
    found = written(from_text(text).run())["conventions"]
    assert found["update_order"] == "simultaneous" and found["channel_order"] == "first"
    assert found["rounding"] == {"digits": 4, "kind": "decimals", "mode": "half_up", "after": "line"}
    assert found["layers"] == {"o": {"weight_layout": "in_out"}}


def test_no_loss_and_scalars() -> None:
    found = written(load("cs231n-fxyz").run())
    (iteration,) = found["iterations"]
    assert iteration["values"]["f"] == -12 and iteration["values"]["x"] == -2
    assert iteration["samples"] == []
    text = "inputs: {x: [1, 2]}\ngraph: {y: x * 2}\n"
    found = written(from_text(text).run())
    assert found["iterations"][0]["loss"] is None and found["final"]["loss"] is None


def test_decimals_keep_their_digits() -> None:
    trace = load("rashid-3layer").run()
    text = "".join(json_trace(trace))
    values = json.loads(text, parse_float=Decimal)["iterations"][0]["values"]
    assert values["hidden.a"] == [list(trace.values(1).flat(trace.assembly(1).graph.by_id["hidden.a"]))]
    assert all(isinstance(value, Decimal) for value in values["hidden.a"][0])
    assert '"output.y": [[0.726, 0.708, 0.778]]' in text


def test_fractions() -> None:
    text = "inputs: {x: 7, y: 12, z: 3}\ngraph: {f: x / y, g: f * y * z}\n"
    (iteration,) = written(from_text(text).run(exact=True))["iterations"]
    assert iteration["values"]["f"] == "7/12"
    assert iteration["values"]["g"] == 21 and isinstance(iteration["values"]["g"], int)


def test_infinities_end_the_run_and_are_written() -> None:
    trace = from_text("inputs: {x: 1000}\ngraph: {f: exp(x), g: f - f}\n").run()
    assert trace.stopped is not None
    (iteration,) = written(trace)["iterations"]
    assert iteration["values"]["f"] == "Infinity" and iteration["values"]["g"] == "NaN"


def test_large_nodes_have_no_formulas_and_come_in_pieces() -> None:
    row = ", ".join(str(k) for k in range(120))
    text = f"""
data: {{inputs: [[{row}]]}}
layers: [{{type: dense, name: h, units: 80}}]
"""
    trace = from_text(text).run()
    chunks = list(json_trace(trace))
    assert max(map(len, chunks)) < 300_000
    found = strict("".join(chunks))
    nodes = {node["id"]: node for node in found["nodes"]}
    assert "formula" in nodes["h.z"] and "formulas" not in nodes["h.z"]
    assert found["iterations"][0]["values"]["h.W"] == trace.value("h.W", 1)
    assert found["final"]["parameters"]["h.W"] == trace.value("h.W", 1)


def test_iterations_are_read_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = load("mlm-train-20").run()
    read: list[int] = []
    values = trace.values
    monkeypatch.setattr(trace, "values", lambda i: read.append(i) or values(i))
    chunks = json_trace(trace)
    while '"iteration": 1,' not in next(chunks):
        pass
    assert read == [1]
    chunks.close()


def test_ascii_only() -> None:
    trace = load("mazur").run()
    text = "".join(json_trace(trace, ascii_only=True))
    assert text.isascii() and strict(text) == written(trace)


@pytest.mark.parametrize(
    ("value", "plain", "as_json"),
    [
        (0.1, "0.1", "0.1"),
        (-0.0, "-0.0", "-0.0"),
        (1e300, "1e+300", "1e+300"),
        (5e-324, "5e-324", "5e-324"),
        (3, "3", "3"),
        (math.nan, "NaN", '"NaN"'),
        (-math.inf, "-Infinity", '"-Infinity"'),
        (Decimal("0.0500"), "0.0500", "0.0500"),
        (Decimal("0E-9"), "0.000000000", "0.000000000"),
        (Decimal("1E+40"), "1E+40", "1E+40"),
        (Decimal("Infinity"), "Infinity", '"Infinity"'),
        (Decimal("NaN"), "NaN", '"NaN"'),
        (Fraction(-7, 12), "-7/12", '"-7/12"'),
        (Fraction(21), "21", "21"),
    ],
)
def test_numbers(value: Any, plain: str, as_json: str) -> None:
    assert (number_text(value), json_number(value)) == (plain, as_json)
    strict(as_json)


def test_whole_numbers_that_no_reader_takes_are_strings() -> None:
    long = Fraction(10**5000)
    assert json_number(long) == f'"1{"0" * 5000}"'
    assert number_text(Fraction(1, 10**5000)) == f"1/1{'0' * 5000}"


def test_reports_of_any_numbers() -> None:
    report = {"ok": True, "none": None, "δ": [1, 0.5, (math.inf, Fraction(1, 3))], "d": Decimal("0.10"), "s": 'a"b'}
    text = json_text(report)
    assert text == '{"ok": true, "none": null, "δ": [1, 0.5, ["Infinity", "1/3"]], "d": 0.10, "s": "a\\"b"}'
    assert json_text({"δ": math.nan}, ascii_only=True) == '{"\\u03b4": "NaN"}'


def test_numpy_floats_are_written_as_floats() -> None:
    numpy = pytest.importorskip("numpy")
    assert json_number(numpy.float64(0.1)) == "0.1"
    assert json_text([numpy.float64(0.1), math.nan]) == '[0.1, "NaN"]'
