"""The training loop: batches, epochs, stop conditions, numbers that are none, what is refused."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import bptrace
from bptrace.engine import loop
from bptrace.engine import run as run_module
from bptrace.engine.rows import Rows, suspicious
from bptrace.engine.schedule import Schedule
from bptrace.errors import RunError, UsageError
from bptrace.network import Network
from bptrace.spec.models import Training

SAMPLES = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.5, 0.5]]


@pytest.fixture
def make(tmp_path: Path) -> Any:
    def network(**document: object) -> Network:
        path = tmp_path / "net.yaml"
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        return bptrace.load(path)

    return network


def neuron(**training: object) -> dict[str, object]:
    """One trained neuron over five samples."""
    return {
        "data": {"inputs": SAMPLES, "targets": [[0.0], [1.0], [1.0], [1.0], [0.5]]},
        "layers": [{"type": "dense", "units": 1, "activation": "sigmoid", "weights": [[0.1, 0.2]], "bias": [0.0]}],
        "loss": "half_squared_error",
        "optimizer": {"type": "sgd", "learning_rate": 1.0},
        "training": training,
    }


def growing(rate: float, iterations: int, **more: object) -> dict[str, object]:
    """x⁴ with a learning rate that throws x away: infinite in iteration 6 for a rate of 10."""
    return {
        "parameters": {"x": 1.0},
        "graph": {"f": "x**4"},
        "optimizer": {"type": "sgd", "learning_rate": rate},
        "training": {"iterations": iterations, **more},
    }


# which samples


def test_batches_in_the_given_order(make: Any) -> None:
    trace = make(**neuron(epochs=2, batch_size=2)).run()
    assert [trace.samples(i) for i in range(1, 7)] == [[1, 2], [3, 4], [5], [1, 2], [3, 4], [5]]
    assert [trace.epoch(i) for i in range(1, 7)] == [1, 1, 1, 2, 2, 2]
    assert trace.epochs == 2
    assert trace.value("x", 3) == SAMPLES[4:]
    assert len(trace.value("dense1.y", 2)) == 2
    assert trace.assembly(1) is trace.assembly(2)
    assert trace.assembly(3).samples == 1


def test_batches_by_hand(make: Any) -> None:
    trace = make(**neuron(epochs=2, batch_size=2)).run()
    w, b = [0.1, 0.2], 0.0
    targets = [0.0, 1.0, 1.0, 1.0, 0.5]
    for i in range(1, 7):
        chosen = [n - 1 for n in trace.samples(i)]
        gradient, slope, loss = [0.0, 0.0], 0.0, 0.0
        for n in chosen:
            a = 1 / (1 + math.exp(-(w[0] * SAMPLES[n][0] + w[1] * SAMPLES[n][1] + b)))
            loss += 0.5 * (targets[n] - a) ** 2 / len(chosen)
            delta = (a - targets[n]) * a * (1 - a) / len(chosen)
            gradient = [g + delta * x for g, x in zip(gradient, SAMPLES[n], strict=True)]
            slope += delta
        assert trace.loss(i) == pytest.approx(loss, rel=1e-14)
        w = [p - g for p, g in zip(w, gradient, strict=True)]
        b -= slope
        assert trace.value("new.dense1.W", i)[0] == pytest.approx(w, rel=1e-14)
    assert trace.final["parameters"]["dense1.b"] == pytest.approx([b], rel=1e-14)
    assert len(trace.final["outputs"]["dense1.y"]) == 5


def test_iterations_go_on_round_the_data(make: Any) -> None:
    trace = make(**neuron(epochs=1, batch_size=2)).run(iterations=7)
    assert trace.samples(7) == [1, 2]
    assert trace.epoch(7) == trace.epochs == 3


def test_shuffle_as_documented(make: Any) -> None:
    trace = make(**neuron(epochs=3, batch_size=2, order="shuffle", seed=4)).run()
    stream = random.Random(4).random
    for epoch in range(3):
        order = [1, 2, 3, 4, 5]
        for i in range(4, 0, -1):
            j = int(stream() * (i + 1))
            order[i], order[j] = order[j], order[i]
        found = [n for i in range(3 * epoch + 1, 3 * epoch + 4) for n in trace.samples(i)]
        assert found == order
        assert [x for i in range(3 * epoch + 1, 3 * epoch + 4) for x in trace.value("x", i)] == [
            SAMPLES[n - 1] for n in order
        ]


def test_shuffled_whole_epochs_are_read_in_their_order(make: Any) -> None:
    trace = make(**neuron(epochs=2, order="shuffle", seed=1)).run()
    assert trace.samples(1) != trace.samples(2)
    assert trace.value("x", 2) == [SAMPLES[n - 1] for n in trace.samples(2)]


@pytest.mark.parametrize("size", [1, 2, 5, "all", 9])
def test_schedule_in_pieces(size: int | str) -> None:
    schedule = Schedule(Training(epochs=2, batch_size=size), range(5))
    for start in range(6):
        for count in range(7):
            assert schedule.batches(start, count) == [schedule.batch(start + k) for k in range(count)]


def test_without_optimizer_nothing_changes() -> None:
    trace = bptrace.load("cs231n-fxyz").run(3)
    assert trace.losses == [-12.0] * 3
    assert trace.samples(1) == []
    assert trace.final["outputs"] == {"f": -12.0}


# when it ends


def test_loss_below(make: Any) -> None:
    free = make(**neuron(iterations=200)).run()
    bound = free.loss(50)
    trace = make(**neuron(iterations=200, stop={"loss_below": bound})).run()
    assert trace.count == 51
    assert trace.losses == free.losses[:51]
    few = make(**neuron(iterations=200, stop={"loss_below": bound})).run(show=[1])
    assert (few.count, few.recorded, few.losses) == (51, [1, 51], trace.losses)
    assert few.value("new.dense1.W", 51) == trace.value("new.dense1.W", 51)
    assert few.final == trace.final


def test_loss_of_an_epoch_is_weighted_by_samples(make: Any) -> None:
    free = make(**neuron(epochs=30, batch_size=2)).run()
    of_epochs = [(2 * free.loss(3 * e + 1) + 2 * free.loss(3 * e + 2) + free.loss(3 * e + 3)) / 5 for e in range(30)]
    bound = of_epochs[12]
    wanted = next(e for e, loss in enumerate(of_epochs, 1) if loss < bound)
    trace = make(**neuron(epochs=30, batch_size=2, stop={"loss_below": bound})).run(show=[2])
    assert trace.count == 3 * wanted
    assert trace.recorded == [2, trace.count]


def test_gradient_below(make: Any) -> None:
    trace = make(**neuron(iterations=2000, stop={"gradient_below": 0.01})).run(show=[1])

    def norm(iteration: int) -> float:
        weights = trace.value("grad.dense1.W", iteration)[0]
        return math.hypot(*weights, *trace.value("grad.dense1.b", iteration))

    assert 1 < trace.count < 2000
    assert norm(trace.count) < 0.01 <= norm(1)


def test_patience(make: Any) -> None:
    flat = neuron(iterations=100, stop={"patience": 3}) | {"optimizer": {"type": "sgd", "learning_rate": 1e-300}}
    assert make(**flat).run().count == 4


# numbers that are none


@pytest.mark.parametrize("show", [None, [1], [1, 5, 6, 7, 8], [7], [5]])
def test_the_run_stops_where_a_number_is_none(make: Any, show: list[int] | None) -> None:
    trace = make(**growing(10.0, 100)).run(show=show)
    assert trace.count == 6
    assert len(trace.losses) == 6
    assert isinstance(trace.stopped, RunError)
    message = str(trace.stopped)
    assert message.startswith("iteration 6: f is infinite = (-9.08740924e+192)⁴; ")
    assert "smaller learning rate" in message
    assert trace.recorded[-1] == 6
    assert trace.value("x", 6) == pytest.approx(-9.08740924e192)


def test_the_first_element_is_named(make: Any) -> None:
    document = neuron(iterations=5)
    document["layers"][0] |= {"activation": "identity", "names": {"units": ["o1"], "z": "net"}}  # type: ignore[index]
    trace = make(**document | {"optimizer": {"type": "sgd", "learning_rate": 1e200}}).run()
    assert str(trace.stopped).startswith(f"iteration {trace.count}: ")
    assert "[" in str(trace.stopped)


def test_new_parameters_count(make: Any) -> None:
    trace = make(**growing(1e308, 3) | {"graph": {"f": "4*x"}}).run()
    assert (trace.count, trace.recorded) == (1, [1])
    assert str(trace.stopped).startswith("iteration 1: new.x is -infinite = 1 - 1e+308·4")


def test_checks_may_overflow(make: Any) -> None:
    """A probability of 0 has no logarithm's slope, but the fused delta needs none."""
    document = {
        "data": {"inputs": [[1.0]], "targets": [[1.0, 0.0]]},
        "layers": [
            {"type": "dense", "units": 2, "activation": "softmax", "weights": [[800.0], [0.0]], "bias": [-1.0, 0]}
        ],
        "loss": "cross_entropy",
        "optimizer": {"type": "sgd", "learning_rate": 0.1},
    }
    trace = make(**document).run(2)
    assert trace.stopped is None
    assert trace.count == 2
    assert trace.final["outputs"]["dense1.y"] == [[1.0, 0.0]]


def test_python_overflow_goes_on_with_numpy(make: Any) -> None:
    document = growing(0.1, 20) | {"parameters": {"x": -800.0}, "graph": {"f": "sigmoid(x) + x**2"}}
    trace = make(**document).run()
    assert trace.engine["name"] == "scalar"
    assert trace.engine["handed_over"] == 1
    assert trace.losses[0] == 640000.0
    assert trace.losses[19] == pytest.approx((800 * 0.8**19) ** 2, rel=1e-6)
    few = make(**document).run(show=[20])
    assert few.losses == trace.losses


def test_large_rows_are_searched_when_the_loss_shows_it(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LARGE_ROW", 1)
    trace = make(**growing(10.0, 100)).run()
    assert trace.count == 6
    later = make(**growing(1e308, 3) | {"graph": {"f": "4*x"}}).run()
    assert later.count == 1
    assert "new.x" in str(later.stopped)
    last = make(**growing(1e308, 1) | {"graph": {"f": "4*x"}}).run()
    assert "new.x" in str(last.stopped)


@pytest.mark.parametrize("bad", [math.nan, -math.nan, math.inf, -math.inf])
def test_search_for_what_is_no_number(bad: float) -> None:
    rows = Rows(3, 5)
    chunk, _, count = rows.reserve(5)
    assert count == 5
    chunk[:15] = memoryview(bytearray(120)).cast("d")
    chunk[4] = -1e300
    assert not suspicious(chunk, 0, 15)
    chunk[7] = bad
    assert suspicious(chunk, 0, 15)
    assert not suspicious(chunk, 8, 15)


# what is kept, what is refused


def test_where_not_all_fit_the_rest_is_computed_again(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make(**neuron(iterations=50)).run()
    monkeypatch.setattr(run_module, "BUDGET", 1000)
    trace = make(**neuron(iterations=50)).run()
    assert trace.recorded == whole.recorded
    assert trace.engine["record"]["policy"] == "replay"
    assert trace.value("grad.dense1.W", 3) == whole.value("grad.dense1.W", 3)


def test_what_was_not_asked_for_is_not_recorded(make: Any) -> None:
    trace = make(**neuron(iterations=50)).run(show=[1, 50])
    assert trace.recorded == [1, 50]
    with pytest.raises(UsageError, match="iteration 3 is not recorded, only 1, 50"):
        trace.values(3)
    assert trace.loss(3) is not None


def test_chunks(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    network = make(**neuron(epochs=20, batch_size=2))
    whole = network.run()
    monkeypatch.setattr("bptrace.engine.rows.CHUNK_BYTES", 1000)
    pieces = network.run()
    for i in range(1, 61):
        assert pieces.value("new.dense1.W", i) == whole.value("new.dense1.W", i)


@pytest.mark.parametrize("show", [None, [1]])
def test_a_trillion_iterations_are_refused(show: list[int] | None) -> None:
    with pytest.raises(UsageError, match=r"1,000,000,000,000 iterations: .* 32,000,000,000,000 bytes"):
        bptrace.load("mazur").run(10**12, show=show)


def test_rows_that_no_memory_holds(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "LARGEST_RECORD", 100_000)
    with pytest.raises(UsageError, match="show fewer"):
        make(**neuron(iterations=2000)).run(show=range(1, 2001), record="all")


def test_a_graph_that_no_memory_holds(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bptrace.engine.array.LARGEST_ARENA", 100)
    monkeypatch.setattr("bptrace.engine.scalar.MOST_PRODUCTS", 0)
    with pytest.raises(UsageError, match=r"one iteration needs [\d,]+ bytes"):
        make(**neuron()).run()


@pytest.mark.parametrize("iterations", [0, -1])
def test_no_iterations(iterations: int) -> None:
    with pytest.raises(UsageError, match="expected 1 or more"):
        bptrace.load("mazur").run(iterations)


def test_hand_sized_networks_never_import_numpy() -> None:
    code = (
        "import sys, bptrace\n"
        "for name in ('mazur', 'mlm-train-20', 'negnevitsky-xor', 'karpathy-l-graph'):\n"
        "    trace = bptrace.load(name).run(3)\n"
        "    trace.final, trace.value('loss' if trace.losses[0] is not None else 'x')\n"
        "print([m for m in ('numpy', 'rich', 'typer') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stdout


def test_an_optimizer_with_a_state(make: Any) -> None:
    """Everything that is carried goes from row to row; results show parameters only."""
    for document in (neuron(iterations=5), neuron(epochs=3, batch_size=2)):
        trace = make(**document | {"optimizer": {"type": "sgd", "learning_rate": 0.1, "momentum": 0.9}}).run()
        state = next(n.id for n in trace.assembly(1).graph.carry if n.id.startswith("state."))
        assert trace.value(f"new.{state}", 1) == trace.value(state, 2)
        assert list(trace.final["parameters"]) == ["dense1.W", "dense1.b"]
        assert trace.final["parameters"]["dense1.W"] == trace.value("new.dense1.W")
