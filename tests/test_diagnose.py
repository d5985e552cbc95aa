"""`diagnose`: every number against NumPy on the trace's own values, the findings against closed forms."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Answer

import bptrace
from bptrace.network import Network
from bptrace.spec.load import load
from bptrace.study.diagnosis import Diagnosis, diagnose

Command = Callable[..., Answer]


def network(layers: list[dict[str, Any]], **rest: Any) -> Network:
    document = {"data": {"inputs": [[0.5]], "targets": [[1]]}, "layers": layers, "loss": "half_squared_error",
                "optimizer": {"type": "sgd", "learning_rate": 0.1}, **rest}  # fmt: skip
    return Network(load("test.yaml", json.dumps(document)))


def chain(count: int, weight: float, activation: str) -> Diagnosis:
    """Layers of one unit each; a sigmoid's bias puts its pre-activation at 0, where its slope is 1/4."""
    bias = -0.5 * weight if activation == "sigmoid" else 0.0
    layer = {"type": "dense", "units": 1, "activation": activation, "weights": [[weight]], "bias": bias}
    return diagnose(network([{**layer, "name": f"h{k + 1}"} for k in range(count)]).run(1))


def only(found: Diagnosis, kind: str) -> dict[str, Any]:
    (one,) = [finding for finding in found.findings if finding.kind == kind]
    return one.places


@pytest.mark.parametrize(("count", "published"), [(4, 0.00390625), (10, 9.5367431640625e-07)])
def test_slopes_of_sigmoids_multiply(count: int, published: float) -> None:
    """0.25^n of Nielsen's chapter 5: weights of 1, every pre-activation 0."""
    places = only(chain(count + 1, 1.0, "sigmoid"), "vanishing")
    assert places["share"] == pytest.approx(published, rel=1e-14)
    assert places["local"] == pytest.approx(published, rel=1e-14)
    assert places["weights"] == 1.0


@pytest.mark.parametrize(
    ("weight", "count", "kind", "published"),
    [
        (1.5, 100, "exploding", 4.065611775352152e17),
        (0.5, 100, "vanishing", 7.888609052210118e-31),
        (0.9, 50, "vanishing", 0.005153775207320115),
        (1.1, 50, "exploding", 117.3908528796953),
    ],
)
def test_weights_multiply(weight: float, count: int, kind: str, published: float) -> None:
    places = only(chain(count + 1, weight, "identity"), kind)
    assert places["share"] == pytest.approx(published, rel=1e-13)
    assert places["weights"] == pytest.approx(published, rel=1e-13)
    assert places["local"] == 1.0


@pytest.mark.parametrize(("weight", "kind"), [(0.5, "vanishing_time"), (2.0, "exploding_time")])
def test_a_recurrent_weight_multiplies_at_every_time_step(weight: float, kind: str) -> None:
    rnn = {"type": "rnn", "name": "r", "units": 1, "activation": "identity", "weights": [[1]],
           "recurrent": [[weight]], "bias": False}  # fmt: skip
    made = network([rnn], data={"inputs": [[[1.0]] * 11], "targets": [[1]]})
    found = diagnose(made.run(1))
    assert only(found, kind)["share"] == pytest.approx(weight**10, rel=1e-13)
    for step in found.readings[0].steps["r.h"][1:]:
        assert (step.local, step.weights, step.whole) == (1.0, weight, weight)


@pytest.mark.parametrize("name", ["mazur", "vanishing-sigmoid", "cs231n-toy-net"])
def test_norms_and_factors_are_those_of_numpy(name: str) -> None:
    trace = bptrace.load(name).run()
    reading = diagnose(trace).readings[-1]

    def norm(id: str) -> float:
        return float(np.linalg.norm(np.array(trace.value(id, reading.iteration)).ravel()))

    layers = reading.layers
    assert layers
    for before, layer in zip([None, *layers], layers, strict=False):
        passed = norm("grad.x" if before is None else f"grad.{before.layer}.y")
        arriving = norm(f"grad.{layer.layer}.y")
        delta = norm(f"{layer.layer}.delta")
        assert layer.activation == pytest.approx(norm(f"{layer.layer}.y"), rel=1e-13)
        assert (layer.arriving, layer.delta, layer.passed) == pytest.approx((arriving, delta, passed), rel=1e-13)
        assert layer.local == pytest.approx(delta / arriving, rel=1e-12)
        assert layer.weights == pytest.approx(passed / delta, rel=1e-12)
        assert layer.whole == pytest.approx(passed / arriving, rel=1e-12)
    for parameter in reading.parameters:
        assert parameter.value == pytest.approx(norm(parameter.id), rel=1e-13)
        assert parameter.gradient == pytest.approx(norm(f"grad.{parameter.id}"), rel=1e-13)
        if parameter.update is not None:
            step = np.array(trace[f"new.{parameter.id}"]) - np.array(trace[parameter.id])
            assert parameter.update == pytest.approx(float(np.linalg.norm(step.ravel())), rel=1e-12)


def test_delta_scale_changes_no_factor() -> None:
    layers = [{"type": "dense", "name": name, "units": 2, "activation": "tanh"} for name in ("h", "o")]
    data = {"inputs": [[1, 2], [3, 4], [0.5, 1]], "targets": [[1, 0], [0, 1], [1, 1]]}
    plain, scaled = (
        diagnose(network(layers, data=data, conventions={"delta_scale": scale}).run(1)).readings[0]
        for scale in ("batch", "sample")
    )
    for one, other in zip(plain.layers, scaled.layers, strict=True):
        assert other.delta == pytest.approx(3 * (one.delta or 0), rel=1e-12)
        assert (other.local, other.weights) == pytest.approx((one.local, one.weights), rel=1e-12)


def test_dead_units_are_named() -> None:
    layers = [
        {"type": "dense", "name": "h", "units": 3, "activation": "relu", "weights": [[1], [-1], [2]], "bias": 0},
        {"type": "dense", "name": "o", "units": 1, "weights": [[1, 1, 1]], "bias": 0},
    ]
    places = only(diagnose(network(layers).run(3)), "dead")
    assert (places["units"], places["count"], places["of"], places["iterations"]) == ("2", 1, 3, 3)


def test_saturated_units_and_layers() -> None:
    layers = [{"type": "dense", "name": "h", "units": 2, "activation": "sigmoid", "weights": [[40], [1]], "bias": 0},
              {"type": "dense", "name": "o", "units": 1, "weights": [[1, 1]], "bias": 0}]  # fmt: skip
    found = diagnose(network(layers).run(2))
    places = only(found, "flat_units")
    assert (places["units"], places["limit"], places["steepest"]) == ("1", 0.0025, 0.25)
    slope = found.readings[0].slopes[0]
    assert (slope.flat, slope.zero, slope.elements) == (1, 0, 2)


def test_units_that_are_alike_and_parameters_without_gradient() -> None:
    layers = [{"type": "dense", "name": "h", "units": 3, "activation": "tanh", "weights": [[1]] * 3, "bias": 0},
              {"type": "dense", "name": "o", "units": 1, "weights": [[1, 1, 1]], "bias": 0}]  # fmt: skip
    assert only(diagnose(network(layers).run(4)), "alike")["count"] == 3
    layers[1] = {"type": "dense", "name": "o", "units": 1, "weights": [[0, 0, 0]], "bias": 1}
    kinds = [(f.kind, f.places.get("id")) for f in diagnose(network(layers).run(1)).findings]
    assert ("no_gradient", "h.W") in kinds


def test_where_numbers_end_is_said_and_nothing_fails(command: Command) -> None:
    answer = command("diagnose", "quadratic-gd", "--set", "optimizer.learning_rate=3", "--iterations", "2000")
    assert (answer.code, answer.err) == (0, "")
    assert "is infinite" in answer.out and "bptrace explain quadratic-gd" in answer.out
    assert "The loss diverges" in answer.out


def test_commands_that_a_finding_names_can_be_run(command: Command) -> None:
    page = command("diagnose", "vanishing-sigmoid", "--width", "400").out
    commands = re.findall(r"bptrace (run vanishing-sigmoid .*)$", page, re.M)
    assert commands
    for line in commands:
        assert command(*line.split()).code == 0


def test_every_norm_of_the_json_is_on_the_page(command: Command) -> None:
    page = command("diagnose", "mazur", "--width", "200").out
    made = json.loads(command("diagnose", "mazur", "--json").out)
    assert (made["format"], made["version"], made["findings"]) == ("bptrace-diagnosis", 1, [])
    for layer in made["iterations"][0]["layers"]:
        for key in ("activation", "arriving", "delta", "passed", "local", "weights", "factor"):
            assert f"{layer[key]:.9f}" in page, key
    rows = command("diagnose", "mazur", "--format", "csv").out.splitlines()
    assert rows[0] == "iteration,part,quantity,value"
    assert f"1,h,delta,{made['iterations'][0]['layers'][0]['delta']!r}" in rows


@pytest.mark.parametrize(
    "name", ["mazur", "gomez-lstm-numerical-example", "d2l-pooling", "quadratic-adam", "ng-logistic"]
)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_networks_of_all_kinds_have_a_page(command: Command, name: str, language: str) -> None:
    answer = command("diagnose", name, "--lang", language, "--width", "100")
    assert (answer.code, answer.err) == (0, "")
    assert "{" not in answer.out
    ascii_page = command("diagnose", name, "--width", "100", PYTHONIOENCODING="ascii")
    assert ascii_page.code == 0


def test_the_library_says_the_same(command: Command, tmp_path: Path) -> None:
    assert bptrace.load("mazur").run().diagnose().text(net="mazur") == command("diagnose", "mazur").out
    file = tmp_path / "d.md"
    assert command("diagnose", "mazur", "-o", file).err == f"wrote {file}\n"
    assert "| layer |" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("flags", [["--iterations", "0"], ["--format", "pdf"], ["--show", "9"], ["-o", "x.pdf"]])
def test_flags_that_cannot_be(command: Command, flags: list[str]) -> None:
    answer = command("diagnose", "mazur", *flags)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err


def test_a_stored_trace_is_read_and_not_run(command: Command, tmp_path: Path) -> None:
    saved, stored = tmp_path / "c.json", tmp_path / "t.npy"
    assert command("run", "mazur", "-n", "50", "--save", saved).code == 0
    assert command("run", "mazur", "--from", saved, "--trace", stored).code == 0
    found = json.loads(command("diagnose", stored, "--json").out)
    again = json.loads(json.dumps(bptrace.read_trace(stored).diagnose().json()))
    assert found == again
    assert found != json.loads(command("diagnose", "mazur", "--json").out)
    answer = command("diagnose", stored, "-n", "3")
    assert answer.code == 2 and "a stored trace, nothing is run" in answer.err
