"""Metrics and validation, against the definitions written out and against PyTorch's forward pass by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import yaml
from conftest import Answer

import bptrace
from bptrace.errors import SpecError
from bptrace.network import Network

Command = Callable[..., Answer]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Network]:
    def network(document: dict[str, Any], **training: object) -> Network:
        path = tmp_path / "net.yaml"
        document = document | {"training": {"epochs": 5, "batch_size": 4, **training}}
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        return bptrace.load(path)

    return network


DRAW = numpy.random.default_rng(5)
ROWS = DRAW.random((14, 3)).round(3)
CLASS = DRAW.integers(0, 3, 14)


def softmax_network(targets: Any, loss: str = "cross_entropy", activation: str = "softmax") -> dict[str, Any]:
    return {
        "data": {"inputs": ROWS.tolist(), "targets": targets, "split": {"validation": 5, "order": "given"}},
        "layers": [{"type": "dense", "name": "o", "units": 3, "activation": activation}],
        "loss": loss,
        "optimizer": {"type": "sgd", "learning_rate": 0.5},
    }


def line_network(targets: Any) -> dict[str, Any]:
    return {
        "data": {"inputs": ROWS.tolist(), "targets": targets, "split": {"validation": 5, "order": "given"}},
        "layers": [{"type": "dense", "name": "o", "units": 2, "weights": [[1, 2, 3], [3, 2, 1]], "bias": 1.0}],
        "loss": "mean_squared_error",
        "optimizer": {"type": "sgd", "learning_rate": 0.01},
    }


def outputs(trace: Any, rows: list[int], iteration: int) -> Any:
    """z = x·Wᵀ + b after an iteration."""
    weights, bias = (numpy.array(trace.value(f"new.o.{part}", iteration)) for part in "Wb")
    return ROWS[rows] @ weights.T + bias


@pytest.mark.parametrize("kind", ["one-hot", "numbers", "logits"])
def test_accuracy_of_classes(make: Any, kind: str) -> None:
    targets = numpy.eye(3)[CLASS].tolist() if kind == "one-hot" else CLASS.tolist()
    logits = kind == "logits"
    document = softmax_network(
        targets, "cross_entropy_with_logits" if logits else "cross_entropy", "identity" if logits else "softmax"
    )
    trace = make(document, metrics=["accuracy"]).run()
    parts = trace.assembly(1).parts
    assert (len(parts.training), len(parts.validation)) == (9, 5)
    assert trace.metrics["epoch"] == [1, 2, 3, 4, 5]
    assert trace.metrics["iteration"] == [3, 6, 9, 12, 15]
    for part, rows in (("training", parts.training), ("validation", parts.validation)):
        for k, iteration in enumerate(trace.metrics["iteration"]):
            z = outputs(trace, list(rows), iteration)
            right = [int(numpy.argmax(z[n])) == CLASS[row] for n, row in enumerate(rows)]
            assert trace.metrics[part]["accuracy"][k] == pytest.approx(sum(right) / len(right))
            terms = [
                -math.log(math.exp(z[n, CLASS[row]]) / sum(math.exp(v) for v in z[n])) for n, row in enumerate(rows)
            ]
            assert trace.metrics[part]["loss"][k] == pytest.approx(sum(terms) / len(terms), rel=1e-12)
    assert trace.metrics["training"]["loss"][-1] == pytest.approx(trace.final["loss"], rel=1e-14)


@pytest.mark.parametrize(("low", "threshold"), [(0.0, 0.5), (-1.0, 0.0)])
def test_accuracy_of_one_output(make: Any, low: float, threshold: float) -> None:
    targets = [[1.0 if x > 0.5 else low] for x in ROWS[:, 0]]
    document = {
        "data": {"inputs": ROWS.tolist(), "targets": targets},
        "layers": [{"type": "dense", "name": "o", "units": 1, "weights": [[1.0, 0, 0]], "bias": 0.0}],
        "loss": "half_squared_error",
        "optimizer": {"type": "sgd", "learning_rate": 1e-9},
    }
    trace = make(document, metrics=["accuracy"]).run()
    right = [(x > threshold) == (t[0] > threshold) for x, t in zip(ROWS[:, 0], targets, strict=True)]
    assert trace.metrics["training"]["accuracy"][0] == pytest.approx(sum(right) / 14)
    assert trace.metric_constants == {"accuracy": threshold}
    assert "validation" not in trace.metrics


def test_distances(make: Any) -> None:
    targets = (ROWS[:, :2] * 4 + 0.5).tolist()
    metrics = ["rmse", {"type": "log_rmse", "floor": 2.5}, {"type": "psnr", "peak": 255}]
    trace = make(line_network(targets), metrics=metrics).run()
    parts = trace.assembly(1).parts
    for part, rows in (("training", parts.training), ("validation", parts.validation)):
        y, t = outputs(trace, list(rows), 15), [targets[row] for row in rows]
        pairs = [(float(y[n, k]), t[n][k]) for n in range(len(rows)) for k in range(2)]
        squares = sum((t - y) ** 2 for y, t in pairs) / len(pairs)
        logs = sum((math.log(t) - math.log(max(y, 2.5))) ** 2 for y, t in pairs) / len(pairs)
        found = trace.metrics[part]
        assert found["rmse"][-1] == pytest.approx(math.sqrt(squares), rel=1e-12)
        assert found["log_rmse"][-1] == pytest.approx(math.sqrt(logs), rel=1e-12)
        assert found["psnr"][-1] == pytest.approx(10 * math.log10(255**2 / squares), rel=1e-12)


def test_patience_waits_for_the_validation_loss(make: Any) -> None:
    targets = numpy.eye(3)[CLASS].tolist()
    free = make(softmax_network(targets), epochs=60, metrics=["accuracy"]).run()
    losses = free.metrics["validation"]["loss"]
    best, waited, ends = math.inf, 0, 60
    for epoch, loss in enumerate(losses, 1):
        best, waited = (loss, 0) if loss < best else (best, waited + 1)
        if waited == 4:
            ends = epoch
            break
    assert ends < 60  # chance data: what is learnt does not help those held out
    trace = make(softmax_network(targets), epochs=60, stop={"patience": 4}).run()
    assert trace.epochs == ends
    assert list(trace.metrics) == ["epoch", "iteration", "validation"]


def test_layers_are_used_as_after_training(make: Any) -> None:
    targets = (ROWS[:, :2] * 4 + 0.5).tolist()
    document = line_network(targets)
    document["layers"].append({"type": "dropout", "name": "drop", "rate": 0.5, "seed": 1})
    trace = make(document, metrics=["rmse"]).run()
    rows = list(trace.assembly(1).parts.validation)
    squares = ((outputs(trace, rows, 15) - numpy.array(targets)[rows]) ** 2).mean()
    assert trace.metrics["validation"]["rmse"][-1] == pytest.approx(math.sqrt(squares), rel=1e-12)


def test_on_the_page_and_in_json(make: Any, command: Command, tmp_path: Path) -> None:
    make(line_network((ROWS[:, :2] * 4 + 0.5).tolist()), metrics=["rmse", {"type": "psnr", "peak": 2}], epochs=30)
    page = command("run", tmp_path / "net.yaml").out
    assert "METRICS, TRAINING ROWS" in page and "METRICS, VALIDATION ROWS" in page
    assert "√(Σ (t - y)²/n)" in page and "peak 2" in page and "… 10 more epochs …" in page
    assert max(map(len, page.splitlines())) <= 110
    document = json.loads(command("run", tmp_path / "net.yaml", "--json", "--show", "1").out)
    assert list(document)[-2:] == ["final", "metrics"]
    assert len(document["metrics"]["validation"]["psnr"]) == 30
    assert "指标" in command("run", tmp_path / "net.yaml", "--lang", "zh").out
    assert "## METRICS" in command("export", tmp_path / "net.yaml", "--format", "markdown").out


def test_stored_with_the_trace(make: Any, tmp_path: Path) -> None:
    network = make(line_network((ROWS[:, :2] * 4 + 0.5).tolist()), metrics=["rmse"])
    trace = network.run(trace=tmp_path / "t.npy")
    assert bptrace.read_trace(tmp_path / "t.npy").metrics == trace.metrics


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (["acuracy"], "metrics[0]: unknown metric 'acuracy'; did you mean 'accuracy'?"),
        ([{"type": "rmse", "peak": 1}], "rmse has no peak"),
        ([{"type": "psnr", "peak": 0}], "metrics[0].peak"),
        (["rmse", "rmse"], "metrics[1]: 'rmse' is there twice"),
        ("rmse", "not a list"),
        ([3], "not a metric"),
        (["log_rmse"], "log_rmse takes the logarithm of the targets, and there is one of -1"),
    ],
)
def test_bad_metrics(make: Any, metrics: Any, said: str) -> None:
    with pytest.raises(SpecError) as error:
        make(line_network((-ROWS[:, :2] * 0 - 1).tolist()), metrics=metrics).run()
    assert said in str(error.value)
    assert "net.yaml:" in str(error.value)


def test_numbers_are_not_compared_with_classes(make: Any) -> None:
    with pytest.raises(SpecError, match="rmse compares numbers, and the targets are others than the outputs"):
        make(line_network(CLASS.tolist()) | {"loss": "sum"}, metrics=["rmse"]).run()
    graph = {"parameters": {"x": 1.0}, "graph": {"f": "x**2"}, "optimizer": {"type": "sgd", "learning_rate": 0.1}}
    with pytest.raises(SpecError, match="there are no targets"):
        make({**graph}, batch_size="all", metrics=["rmse"]).run()


def scaled_network(metrics: list[Any], scale: Any = "standard") -> dict[str, Any]:
    document = line_network((ROWS[:, :2] * 40 + 5).tolist())
    document["data"] |= {"scale": {"targets": scale}, "split": {"validation": 4, "test": 3, "order": "given"}}
    return document


@pytest.mark.parametrize("scale", ["standard", "min_max", {"divide": 8}])
def test_errors_of_scaled_targets_in_the_units_of_the_file(make: Any, scale: Any) -> None:
    """Scaling undone by hand: y·s + m against the numbers of the file, on each part of the rows."""
    trace = make(scaled_network([], scale), metrics=["rmse", "log_rmse"]).run()
    file = ROWS[:, :2] * 40 + 5
    first = file[:7]  # 14 rows, of which the last three are the test's and four before them validate
    if scale == "standard":
        m, s = first.mean(0), first.std(0)
    elif scale == "min_max":
        m, s = first.min(0), first.max(0) - first.min(0)
    else:
        m, s = numpy.zeros(2), numpy.full(2, 8.0)
    for part, rows in (("training", range(7)), ("validation", range(7, 11)), ("test", range(11, 14))):
        y = outputs(trace, list(rows), trace.count)
        found = trace.metrics[part]
        scaled = math.sqrt((((file[list(rows)] - m) / s - y) ** 2).mean())
        errors = math.sqrt(((file[list(rows)] - (y * s + m)) ** 2).mean())
        logs = numpy.log(file[list(rows)]) - numpy.log(numpy.maximum(y * s + m, 1.0))
        assert found["rmse"][-1] == pytest.approx(scaled, rel=1e-12)
        assert found["file_rmse"][-1] == pytest.approx(errors, rel=1e-12)
        assert found["log_rmse"][-1] == pytest.approx(math.sqrt((logs**2).mean()), rel=1e-12)
    assert {len(column) for column in trace.metrics["test"].values()} == {1}
    assert {len(column) for column in trace.metrics["validation"].values()} == {5}


def test_which_units_stand_on_the_page(make: Any, command: Command, tmp_path: Path) -> None:
    make(scaled_network([]), metrics=["rmse"])
    page = command("run", tmp_path / "net.yaml").out
    assert "rmse: √(Σ (t - y)²/n), t and y scaled" in page
    assert "rmse, file: √(Σ (t - y)²/n), t and y in the units of the file (scaling undone)" in page
    assert "METRICS, TEST ROWS" in page and "The rows of the test are looked at here only" in page
    plain = make(line_network((ROWS[:, :2] * 4 + 0.5).tolist()), metrics=["rmse"])
    assert "scaled" not in plain.run().text() and "file_rmse" not in plain.run().metrics["training"]


def test_parts_are_not_mixed_up(make: Any) -> None:
    """Every row of a part has its own error, so that another row would give another number."""
    document = line_network([[10.0**n, 0.0] for n in range(14)])
    document["data"]["split"] = {"validation": 4, "test": 3, "seed": 2}
    document["optimizer"]["learning_rate"] = 0
    trace = make(document, metrics=["rmse"]).run()
    parts = trace.assembly(1).parts
    assert sorted([*parts.training, *parts.validation, *parts.test]) == list(range(14))
    for part in ("training", "validation", "test"):
        rows = list(getattr(parts, part))
        y = ROWS[rows] @ numpy.array([[1, 2, 3], [3, 2, 1]]).T + 1
        t = numpy.array([[10.0**n, 0.0] for n in rows])
        assert trace.metrics[part]["rmse"][-1] == pytest.approx(math.sqrt(((t - y) ** 2).mean()), rel=1e-12)


def test_metrics_are_of_the_parameters_themselves_under_lookahead(make: Any) -> None:
    document = line_network((ROWS[:, :2] * 4 + 0.5).tolist())
    document["optimizer"] |= {"momentum": 0.9, "nesterov": "lookahead"}
    trace = make(document, metrics=["rmse"]).run()
    rows = list(trace.assembly(1).parts.training)
    squares = ((outputs(trace, rows, 15) - (ROWS[:, :2] * 4 + 0.5)[rows]) ** 2).mean()
    assert trace.metrics["training"]["rmse"][-1] == pytest.approx(math.sqrt(squares), rel=1e-12)
