"""`compare`: losses and paths against NumPy's own runs of the same equations, and what is said of differences."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Answer

import bptrace
from bptrace.errors import UsageError
from bptrace.report.study import Curve, Plot
from bptrace.study.variants import split_at_commas
from bptrace.writers.plot import plot_lines

Command = Callable[..., Answer]

QUADRATIC = [f"quadratic-{name}" for name in ("gd", "momentum", "nesterov", "adagrad", "rmsprop", "adam")]


def slope(x: np.ndarray) -> np.ndarray:
    """Of f = ½·(x1² + 10·x2²)."""
    return np.array([1.0, 10.0]) * x


def paths() -> list[np.ndarray]:
    """The points after 0 to 20 steps of each optimizer, by their equations as textbooks have them."""
    found = []
    for kind in range(6):
        x, v, s = np.array([4.0, 1.0]), np.zeros(2), np.zeros(2)
        course = [x]
        for t in range(1, 21):
            g = slope(x + (-0.05 * 0.8 * v if kind == 2 else 0))
            if kind == 0:
                x = x - 0.1 * g
            elif kind in (1, 2):
                v = 0.8 * v + g
                x = x - 0.05 * v
            elif kind == 3:
                s = s + g**2
                x = x - 0.5 * g / (np.sqrt(s) + 1e-10)
            elif kind == 4:
                s = 0.9 * s + 0.1 * g**2
                x = x - 0.2 * g / (np.sqrt(s) + 1e-8)
            else:
                v, s = 0.9 * v + 0.1 * g, 0.999 * s + 0.001 * g**2
                x = x - 0.3 * (v / (1 - 0.9**t)) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)
            course.append(x)
        found.append(np.array(course))
    return found


def test_the_classic_six_on_a_bowl() -> None:
    made = bptrace.compare(QUADRATIC)
    assert [run.letter for run in made.runs] == list("ABCDEF")
    assert all(start.same for start in made.starts)
    for k, (run, course) in enumerate(zip(made.runs, paths(), strict=True)):
        np.testing.assert_allclose(run.path["x1"], course[:, 0], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(run.path["x2"], course[:, 1], rtol=1e-9, atol=1e-12)
        if k == 2:
            continue  # its losses are those of the points where its gradients are
        losses = 0.5 * (course[:, 0] ** 2 + 10 * course[:, 1] ** 2)
        np.testing.assert_allclose(run.losses, losses, rtol=1e-9, atol=1e-12)
        below = np.flatnonzero(losses <= 0.13)
        assert run.reaches(0.13) == (below[0] if below.size else None)
        assert run.best == int(np.argmin(losses))


def test_where_and_why_runs_part(command: Command) -> None:
    made = json.loads(command("compare", "mazur", "--vary", "optimizer.learning_rate=0.1,0.5", "--json").out)
    assert made["settings"] == {"optimizer.learning_rate": [0.1, 0.5]}
    difference = made["runs"][1]["first_difference"]
    assert (difference["iteration"], difference["id"], difference["same_formula"]) == (1, "new.h.W[1,1]", True)
    assert difference["causes"] == [{"id": "setting.optimizer.learning_rate", "values": [0.1, 0.5]}]
    page = command("compare", "mazur", "--vary", "optimizer.learning_rate=0.1,0.5", "--width", "120").out
    assert "new w1 = w1 - η·∂E/∂w1 = 0.15 - 0.5·0.000438568" in page
    assert "setting.optimizer.learning_rate (0.100000000; 0.500000000)" in page


def test_other_starts_are_said(command: Command) -> None:
    made = json.loads(command("compare", "mazur", "--vary", "layers.h.bias=0.1,0.2", "--json").out)
    start = made["runs"][1]["start"]
    assert (start["same"], start["differ"], start["data"]) == (False, ["h.b"], [])
    assert made["runs"][1]["first_difference"]["id"] == "h.b[1]"
    page = command("compare", "mazur", "negnevitsky-xor").out
    assert "B has other data than the first run: x, t." in page
    assert "B parts from A in iteration 1, at x" in page


def test_the_same_run_twice_has_no_difference() -> None:
    made = bptrace.compare(["quadratic-gd", "quadratic-gd"])
    assert made.differences == [None, None]
    assert "the same in all 20 iterations" in made.text()


def test_a_run_that_blows_up_does_not_stop_the_others(command: Command) -> None:
    flags = ["--vary", "optimizer.learning_rate=3,0.1", "--iterations", "1000"]
    answer = command("compare", "quadratic-gd", *flags)
    assert (answer.code, answer.err) == (0, "")
    assert "A stopped: iteration" in answer.out
    made = json.loads(command("compare", "quadratic-gd", *flags, "--json").out)
    assert made["runs"][0]["stopped"] and made["runs"][1]["stopped"] is None
    assert made["runs"][1]["losses"][-1] == pytest.approx(8 * 0.9**2000, abs=1e-12)


def test_values_are_split_outside_of_brackets(command: Command) -> None:
    both = ["{type: sgd, learning_rate: 1}", "{type: adam}"]
    assert split_at_commas(",".join(both)) == both
    assert split_at_commas("'a,b',c") == ["'a,b'", "c"]
    flags = ["--vary", "optimizer=sgd,adam,rmsprop", "--vary", "seed=1,2"]
    made = json.loads(command("compare", "mazur", *flags, "--json").out)
    assert len(made["runs"]) == 6
    assert made["runs"][3]["changes"] == ["optimizer.type=adam", "seed=2"]


def test_csv_and_markdown_have_every_loss(command: Command, tmp_path: Path) -> None:
    rows = list(csv.reader(io.StringIO(command("compare", *QUADRATIC[:2], "--format", "csv").out)))
    assert rows[0] == ["run", "updates", "id", "value"]
    made = bptrace.compare(QUADRATIC[:2])
    found = [float(row[3]) for row in rows if row[0] == "B" and row[2] == "loss"]
    assert found == made.runs[1].losses
    file = tmp_path / "c.md"
    assert command("compare", *QUADRATIC[:2], "-o", file).code == 0
    text = file.read_text(encoding="utf-8")
    assert "| updates | A | B |" in text and "```text" in text


def test_every_point_of_a_plot_is_in_its_place() -> None:
    plot = Plot("", "", "", [Curve("A", [(0, 1), (10, 100)]), Curve("B", [(0, 100), (10, 1)])], log=True)
    lines = list(plot_lines(plot, 60))
    raster = [line.partition("|")[2] or line.partition("+")[2] for line in lines[:-2]]
    assert raster[0][0] == "B" and raster[0].rstrip()[-1] == "A"
    assert raster[-1][0] == "A" and raster[-1].rstrip()[-1] == "B"
    assert all(not row.strip() for row in raster[1:-1])
    crossing = list(plot_lines(Plot("", "", "", [Curve("A", [(0, 0)]), Curve("B", [(0, 0)])]), 60))
    assert sum(line.count("*") for line in crossing) == 1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_pages_in_both_languages_and_in_ascii(command: Command, language: str) -> None:
    answer = command("compare", *QUADRATIC, "--lang", language, "--digits", "5")
    assert (answer.code, answer.err) == (0, "")
    assert "{" not in answer.out and "0.11825" in answer.out
    assert max(map(len, answer.out.splitlines())) <= 80
    assert command("compare", *QUADRATIC, PYTHONIOENCODING="ascii").code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mazur"], "one run only"),
        (["mazur", "goodfellow-xor"], "no loss in"),
        (["mazur", "--vary", "optimizer"], "expected path=value,value"),
        (["mazur", "--vary", "seed=" + ",".join(map(str, range(30)))], "30 runs to compare; at most 26"),
        (["mazur", "--vary", "optimizer.learning_rate=0.1,x"], "(in the variant optimizer.learning_rate=x)"),
        (["mazur", "--vary", "optimiser.type=sgd,adam"], "did you mean 'optimizer'?"),
        (["mazur", "--vary", "optimizer=sgd,adam", "--path", "w55"], "did you mean 'w5'?"),
        (["mazur", "victor-zhou", "--iterations", "0"], "at least 1"),
        (["mazur", "victor-zhou", "--format", "pdf"], "--format pdf"),
        (["mazur", "mazzur"], "did you mean 'mazur'?"),
    ],
)
def test_what_cannot_be_compared(command: Command, arguments: list[str], said: str) -> None:
    answer = command("compare", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err


def test_the_library_refuses_alike() -> None:
    with pytest.raises(UsageError, match="one run only"):
        bptrace.compare(["mazur"])


FOLDS = ["compare", "diabetes-regularised", "--vary", "data.folds.hold_out=1,2,3,4,5"]


def test_folds_with_their_mean_and_spread(command: Command) -> None:
    """Each fold's run by itself; mean and standard deviation by NumPy."""
    made = json.loads(command(*FOLDS, "--json").out)
    assert len(made["runs"]) == 5
    for part in ("training", "validation", "test"):
        for metric in ("loss", "rmse", "file_rmse"):
            values = [run["metrics"][part][metric] for run in made["runs"]]
            assert made["spread"][part][metric]["mean"] == pytest.approx(np.mean(values), rel=1e-12)
            assert made["spread"][part][metric]["std"] == pytest.approx(np.std(values, ddof=1), rel=1e-12)
    alone = bptrace.network.load("diabetes-regularised", overrides=["data.folds.hold_out=3"]).run(show=[1])
    assert alone.metrics is not None
    assert made["runs"][2]["metrics"]["validation"]["file_rmse"] == alone.metrics["validation"]["file_rmse"][-1]
    page = command(*FOLDS, "--digits", "5").out
    mean = made["spread"]["validation"]["file_rmse"]["mean"]
    assert f"{mean:.5f}" in page and "standard deviation, √(Σ (v - mean)²/(5 - 1))" in " ".join(page.split())
    assert max(map(len, page.splitlines())) <= 80
    rows = list(csv.reader(io.StringIO(command(*FOLDS, "--format", "csv").out)))
    found = [row for row in rows if row[0] == "C" and row[2] == "validation.file_rmse"]
    assert len(found) == 20 and float(found[-1][3]) == alone.metrics["validation"]["file_rmse"][-1]


def test_runs_that_are_no_repetitions_have_no_mean(command: Command) -> None:
    flags = ["compare", "iris", "--vary", "optimizer.learning_rate=0.1,0.5"]
    assert json.loads(command(*flags, "--json").out)["spread"] is None
    page = command(*flags).out
    assert "METRICS" in page and "accuracy" in page and "spread" not in page


def test_arrays_of_one_size_are_told_apart(command: Command, tmp_path: Path) -> None:
    text = bptrace.network.bundled_text("mazur")
    (tmp_path / "other.yaml").write_text(text.replace("0.25, 0.30", "0.25, 0.75"), encoding="utf-8")
    page = command("compare", "mazur", tmp_path / "other.yaml").out
    assert "[2×2], [2,2] = 0.3\n" in page and "[2×2], [2,2] = 0.75\n" in page


def test_stored_traces_are_compared_as_they_are(command: Command, tmp_path: Path) -> None:
    slow, resumed = tmp_path / "slow.npy", tmp_path / "resumed.npy"
    rate = ["--set", "optimizer.learning_rate=0.1"]
    assert command("run", "mazur", *rate, "--trace", slow, "--save", tmp_path / "c.json").code == 0
    assert command("run", "mazur", "--from", tmp_path / "c.json", "-n", "3", "--trace", resumed).code == 0
    made = json.loads(command("compare", "mazur", slow, resumed, "--json").out)
    assert made["settings"] == {"optimizer.learning_rate": [0.5, 0.1, 0.5]}
    stored = bptrace.read_trace(slow)
    assert made["runs"][1]["losses"] == [*stored.losses, stored.final["loss"]]
    assert made["runs"][2]["iterations"] == 3 and made["runs"][2]["start"]["differ"] == ["h.W", "o.W"]
    for flags, said in ((["--vary", "seed=1,2"], "leave out --vary and --set"), (["-n", "2"], "nothing is run")):
        answer = command("compare", slow, "mazur", *flags)
        assert answer.code == 2 and said in answer.err


def test_a_network_given_with_changes_keeps_them() -> None:
    network = bptrace.network.load("mazur", overrides=["loss=squared_error"])
    made = bptrace.compare([network], vary=["optimizer.learning_rate=0.1,0.5"])
    assert made.runs[0].losses[0] == pytest.approx(2 * 0.298371108760003, rel=1e-12)
