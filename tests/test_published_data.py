"""Networks that train on data files: which rows they read, how these are scaled, and what they reach.

The bounds are those of the literature: least squares in closed form for a linear regression, and the principal
components for a linear autoencoder (Baldi and Hornik, 1989); NumPy works them out from the same file.
"""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bptrace.errors import SpecError
from bptrace.network import Network, bundled_folder, load
from bptrace.trace import Trace

Floats = NDArray[np.float64]


@cache
def numbers(name: str) -> Floats:
    """A bundled CSV of numbers, read by NumPy."""
    return np.loadtxt(bundled_folder() / "data" / f"{name}.csv", delimiter=",", skiprows=1)


@cache
def trained(name: str, *overrides: str) -> Trace:
    return load(name, overrides=overrides).run(show=[1])


def with_data(**data: Any) -> Network:
    """A linear network of one unit on `data`."""
    layers = [{"type": "dense", "name": "o", "units": 1, "weights": 0.5, "bias": 0}]
    rest = {"loss": "squared_error", "optimizer": {"type": "sgd", "learning_rate": 0.001}}
    return load("net.yaml", text=json.dumps({"data": data, "layers": layers, **rest}))


def csv_lines() -> list[str]:
    return (bundled_folder() / "data" / "iris.csv").read_text(encoding="utf-8").split()


TEN = {"inputs": [[n, n * n] for n in range(10)], "targets": [[3 * n] for n in range(10)]}


# which rows


def test_a_split_repeats_with_its_seed() -> None:
    order = list(range(10))
    draw = random.Random("3:split").random
    for i in range(9, 0, -1):
        j = int(draw() * (i + 1))
        order[i], order[j] = order[j], order[i]
    parts = with_data(**TEN, split={"validation": 0.25, "test": 2, "seed": 3}).assembly().parts
    assert (parts.training, parts.validation, parts.test) == (sorted(order[:5]), sorted(order[5:8]), sorted(order[8:]))


def test_a_split_in_the_given_order() -> None:
    parts = with_data(**TEN, split={"validation": 0.2, "test": 0.3, "order": "given"}).assembly().parts
    assert (parts.training, parts.validation, parts.test) == ([0, 1, 2, 3, 4], [5, 6], [7, 8, 9])


def test_each_row_is_held_out_in_one_fold() -> None:
    held: list[int] = []
    for k in (1, 2, 3):
        parts = with_data(**TEN, folds={"count": 3, "hold_out": k}).assembly().parts
        assert len(parts.validation) == (4 if k == 1 else 3)
        assert sorted([*parts.training, *parts.validation]) == list(range(10))
        held += parts.validation
    assert sorted(held) == list(range(10))


def test_a_stratified_split_takes_the_same_share_of_each_class() -> None:
    """Against a split of each class's rows by itself, in the order in which all are shuffled."""
    classes = [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 0, 1, 2, 2]
    data = {"inputs": [[n] for n in range(16)], "targets": [[c] for c in classes]}
    sizes = {"validation": 0.25, "test": 0.2}
    parts = with_data(**data, split={**sizes, "seed": 4, "stratify": True}).assembly().parts
    order = list(range(16))
    draw = random.Random("4:split").random
    for i in range(15, 0, -1):
        j = int(draw() * (i + 1))
        order[i], order[j] = order[j], order[i]
    held: dict[str, list[int]] = {"training": [], "validation": [], "test": []}
    for k in range(3):
        own = [n for n in order if classes[n] == k]
        test, validation = (int(share * len(own) + 0.5) for share in (0.2, 0.25))
        held["test"] += own[len(own) - test :]
        held["validation"] += own[len(own) - test - validation : len(own) - test]
        held["training"] += own[: len(own) - test - validation]
    assert {part: list(getattr(parts, part)) for part in held} == {part: sorted(rows) for part, rows in held.items()}
    iris = load("iris", overrides=["data.split.stratify=true"]).assembly()
    for rows, each in ((iris.parts.training, 30), (iris.parts.validation, 10), (iris.parts.test, 10)):
        assert np.array([iris.tables["t"].rows[n] for n in rows]).sum(0).tolist() == [each] * 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("data.split.test=30", "data.split.test: a number of rows, of which classes have no equal share"),
        ("data.rows.last=101", "data.split.stratify: no other row is of the class of row 101"),
    ],
)
def test_what_cannot_be_stratified(change: str, said: str) -> None:
    with pytest.raises(SpecError) as error:
        load("iris", overrides=["data.split.stratify=true", change]).assembly()
    assert said in str(error.value)


def test_a_class_that_no_row_trained_on_has_is_an_error() -> None:
    with pytest.raises(SpecError) as error:
        load("iris", overrides=["data.rows.last=50"]).assembly()
    lines = [line for line in str(error.value).splitlines() if "no row that is trained on" in line]
    assert [line.partition(" of the class ")[2].partition(";")[0] for line in lines] == [
        "versicolor of species", "virginica of species",
    ]  # fmt: skip


def test_folds_leave_the_rows_of_the_test_alone() -> None:
    data = {**TEN, "split": {"test": 0.2}}
    test = set(with_data(**data).assembly().parts.test)
    for k in (1, 2):
        parts = with_data(**data, folds={"count": 2, "hold_out": k}).assembly().parts
        assert set(parts.test) == test and len(test) == 2
        assert not test & {*parts.training, *parts.validation}


@pytest.mark.parametrize("order", ["given", "shuffle"])
@pytest.mark.parametrize("size", ["all", 2])
def test_batches_hold_rows_that_are_trained_on(order: str, size: Any) -> None:
    network = with_data(**TEN, split={"validation": 2, "test": 3})
    text = json.loads(network.spec.text)
    text["training"] = {"epochs": 2, "batch_size": size, "order": order}
    trace = load("net.yaml", text=json.dumps(text)).run()
    training = [n + 1 for n in network.assembly().parts.training]
    an_epoch = trace.count // 2
    for epoch in (0, 1):
        read = [n for k in range(an_epoch) for n in trace.samples(epoch * an_epoch + k + 1)]
        assert sorted(read) == training
        assert order == "shuffle" or read == training
    for iteration in range(1, trace.count + 1):
        rows = [[float(n - 1), float((n - 1) ** 2)] for n in trace.samples(iteration)]
        assert trace.value("x", iteration) == rows
    assert len(trace.final["outputs"]["o.y"]) == 5


def test_only_some_rows() -> None:
    network = with_data(**TEN, rows={"first": 3, "last": 5})
    assert network.assembly().tables["x"].rows == [[2, 4], [3, 9], [4, 16]]


def test_targets_that_are_the_inputs() -> None:
    layers = [{"type": "dense", "name": "o", "units": 2, "weights": 0.5, "bias": 0}]
    data = {"inputs": TEN["inputs"], "targets": "inputs", "scale": {"inputs": {"divide": 4}}}
    text = json.dumps({"data": data, "layers": layers, "loss": "squared_error"})
    tables = load("net.yaml", text=text).assembly().tables
    assert tables["t"].rows == tables["x"].rows == [[n / 4, n * n / 4] for n in range(10)]


# scaling


@pytest.mark.parametrize("kind", ["standard", "min_max"])
def test_constants_come_from_the_rows_trained_on(kind: str) -> None:
    network = with_data(**TEN, scale={"inputs": kind, "targets": kind}, split={"test": 0.3})
    made = network.assembly()
    for name, raw in (("x", np.array(TEN["inputs"], float)), ("t", np.array(TEN["targets"], float))):
        trained_on = raw[list(made.parts.training)]
        shift = trained_on.mean(0) if kind == "standard" else trained_on.min(0)
        divisor = trained_on.std(0) if kind == "standard" else trained_on.max(0) - trained_on.min(0)
        scaling = made.tables[name].scaling
        assert scaling is not None
        np.testing.assert_allclose(scaling.shift, shift, rtol=1e-14)
        np.testing.assert_allclose(scaling.divisor, divisor, rtol=1e-14)
        np.testing.assert_allclose(made.tables[name].rows, (raw - shift) / divisor, rtol=1e-13, atol=1e-15)
        undone = [scaling.undo(row) for row in made.tables[name].rows]
        np.testing.assert_allclose(undone, raw, rtol=1e-13, atol=1e-13)


def test_a_column_that_does_not_vary_is_only_moved() -> None:
    data = {"inputs": [[5, 1], [5, 2], [5, 3]], "targets": [[1], [2], [3]], "scale": {"inputs": "standard"}}
    with pytest.raises(SpecError, match="column 1 is 5 in every row that is trained on: standard divides by 0"):
        with_data(**data).assembly()
    data["scale"] = {"inputs": "standard", "constant": "keep"}
    assert [row[0] for row in with_data(**data).assembly().tables["x"].rows] == [0, 0, 0]


@pytest.mark.parametrize(("rule", "value"), [("mean", 3.0), ("median", 2.0), ({"value": -1}, -1.0)])
def test_missing_cells_are_filled(tmp_path: Path, rule: Any, value: float) -> None:
    (tmp_path / "data.csv").write_text("a,t\n1,1\n,2\n6,3\n2,4\nNA,5\n", encoding="utf-8")
    data = {"csv": "data.csv", "targets": ["t"], "missing": rule}
    text = json.dumps({"data": data, "layers": [{"type": "dense", "units": 1, "weights": 1, "bias": 0}]})
    made = load(tmp_path / "net.yaml", text=text).assembly()
    assert made.tables["x"].rows == [[1], [value], [6], [2], [value]]
    assert made.data.filled == {"a": (2, value)}


def test_classes_are_not_scaled(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a,c,t\n1,p,1\n2,q,2\n3,p,3\n", encoding="utf-8")
    data = {"csv": "data.csv", "targets": ["t"], "categories": ["c"], "scale": {"inputs": "standard"}}
    text = json.dumps({"data": data, "layers": [{"type": "dense", "units": 1, "weights": 1, "bias": 0}]})
    table = load(tmp_path / "net.yaml", text=text).assembly().tables["x"]
    assert [row[1:] for row in table.rows] == [[1, 0], [0, 1], [1, 0]]
    assert table.rows[1][0] == 0 and table.names == ("a", "c_p", "c_q")


def test_the_constants_stand_on_the_page_and_in_json() -> None:
    trace = load("iris").run(iterations=1)
    page = trace.text()
    made = json.loads(trace.text("json"))["data"]
    raw = np.array([line.split(",")[:4] for line in csv_lines()[1:]])
    training = raw.astype(float)[[n - 1 for n in made["parts"]["training"]]]
    np.testing.assert_allclose(made["scaling"]["x"]["mean"], training.mean(0), rtol=1e-14)
    np.testing.assert_allclose(made["scaling"]["x"]["std"], training.std(0), rtol=1e-14)
    assert [len(made["parts"][part]) for part in ("training", "validation", "test")] == [90, 30, 30]
    assert made["classes"] == {"species": ["setosa", "versicolor", "virginica"]}
    for mean, std in zip(training.mean(0), training.std(0), strict=True):
        assert any(line.split()[1:] == [f"{mean:.9f}", f"{std:.9f}"] for line in page.splitlines())
    assert "x = (v - m)/s" in page and "90 rows for training, 30 for validation, 30 for test" in page


def test_scaled_predictions_stand_in_the_units_of_the_file_too() -> None:
    trace = load("diabetes-regularised").run(iterations=2)
    page = trace.text()
    made = trace.final_assembly
    scaling = made.tables["t"].scaling
    assert scaling is not None
    outputs = trace.final["outputs"]["o.y"]
    raw = numbers("diabetes")[:, -1]
    for n in (0, 9, len(outputs) - 1):
        row = made.parts.training[n]
        (scaled,) = outputs[n]
        shown = f"{row + 1:<8} {scaled:.9f} {scaled * scaling.divisor[0] + scaling.shift[0]:.9f} {raw[row]:g}"
        assert shown.split() in [line.split() for line in page.splitlines()], shown


def test_a_scaled_number_is_explained_down_to_the_file() -> None:
    trace = load("iris").run(iterations=1)
    row = trace.samples(1)[0]
    value = f"{float(csv_lines()[row].split(',')[0]):g}"
    scaling = trace.final_assembly.tables["x"].scaling
    assert scaling is not None
    said = f"data, row {row}: ({value} - {scaling.shift[0]:.9f})/{scaling.divisor[0]:.9f}"
    assert said in " ".join(trace.explain("x[1,1]").split())


# what is reached


def least_squares() -> tuple[float, Floats]:
    """Of the diabetes data: the mean squared error in closed form, and the coefficients for scaled inputs."""
    raw = numbers("diabetes")
    inputs = (raw[:, :-1] - raw[:, :-1].mean(0)) / raw[:, :-1].std(0)
    design = np.column_stack([inputs, np.ones(len(raw))])
    found = np.linalg.lstsq(design, raw[:, -1], rcond=None)[0]
    return float(((design @ found - raw[:, -1]) ** 2).mean()), found


def test_a_linear_regression_reaches_least_squares() -> None:
    bound, coefficients = least_squares()
    assert bound == pytest.approx(2859.69635, abs=1e-5)
    whole = ["training.batch_size=all", "optimizer.learning_rate=0.1", "optimizer.momentum=0.9"]
    trace = load("diabetes", overrides=whole).run(iterations=3000, show=[3000])
    final = trace.final
    assert final["loss"] >= bound - 1e-9
    assert final["loss"] == pytest.approx(bound, abs=1e-3)
    assert final["parameters"]["o.b"][0] == pytest.approx(152.13348, abs=1e-5)
    np.testing.assert_allclose(final["parameters"]["o.W"][0], coefficients[:-1], atol=0.5)
    variance = float(numbers("diabetes")[:, -1].var())
    assert 1 - final["loss"] / variance == pytest.approx(0.51774842, abs=1e-6)


def principal_components(k: int, rows: int | None = None) -> float:
    """The least squared error per picture of any linear autoencoder with k hidden units: the sum of the
    eigenvalues of the covariance (divided by N) beyond the k largest."""
    pixels = numbers("digits")[:rows, :-1] / 16
    spectrum = np.linalg.eigvalsh(np.cov(pixels.T, bias=True))
    return float(spectrum[: len(spectrum) - k].sum())


def test_a_linear_autoencoder_is_never_better_than_the_principal_components() -> None:
    trace = load("digits-autoencoder").run(show=[1])
    bound = principal_components(2)
    assert bound == pytest.approx(3.355253, abs=1e-6)
    assert bound <= trace.final["loss"] < 1.5 * bound


@pytest.mark.parametrize("k", [2, 4])
def test_a_linear_autoencoder_reaches_the_principal_components(k: int) -> None:
    """On the first 200 pictures."""
    bound = principal_components(k, 200)
    whole = ["data.rows.last=200", "training.batch_size=all", "training.epochs=2000"]
    trace = load("digits-autoencoder", overrides=[f"layers.h.units={k}", "optimizer.learning_rate=0.01", *whole]).run(
        show=[2000]
    )
    losses = [loss for loss in trace.losses if loss is not None]
    assert min(losses) >= bound - 1e-9
    assert trace.final["loss"] == pytest.approx(bound, rel=1e-4)


def test_the_bundled_classifiers_learn() -> None:
    """The share of the test rows that come out right, worked out by NumPy from the trained parameters."""
    for name, activation, least in (("iris", None, 0.9), ("digits", "relu", 0.9)):
        trace = load(name).run(show=[1])
        made, parameters = trace.final_assembly, trace.final["parameters"]
        hidden = np.array(made.tables["x"].rows)[list(made.parts.test)]
        if activation:
            hidden = np.maximum(hidden @ np.array(parameters["h.W"]).T + parameters["h.b"], 0)
        scores = hidden @ np.array(parameters["o.W"]).T + parameters["o.b"]
        targets = np.array(made.tables["t"].rows)[list(made.parts.test)]
        assert (scores.argmax(1) == targets.argmax(1)).mean() >= least, name


def test_image_compression_keeps_most_of_the_picture() -> None:
    pytest.importorskip("PIL")
    trace = load("image-compression").run(show=[1])
    pixels = np.array(trace.final_assembly.tables["x"].rows)
    assert pixels.shape == (256, 64)
    assert trace.final["loss"] < 0.04 * float(pixels.var(0).mean())
    assert trace.metrics is not None and trace.metrics["training"]["psnr"][-1] > 27
