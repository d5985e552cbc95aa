"""What is kept of a run: every policy gives the same numbers, in memory and in files that NumPy reads."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import yaml
from conftest import Answer

import bptrace
from bptrace.engine import recording, replay
from bptrace.engine import run as run_module
from bptrace.errors import RunError, UsageError
from bptrace.network import Network
from bptrace.trace import Trace

Command = Callable[..., Answer]
POLICIES = ("all", "lean", "replay")


def classes(**training: object) -> dict[str, Any]:
    """A network for the array engine: 23 samples, momentum, shuffled batches of 5, the last one smaller."""
    draw = numpy.random.default_rng(3)
    rows = draw.random((23, 6)).round(3)
    return {
        "name": "three classes",
        "data": {"inputs": rows.tolist(), "targets": numpy.eye(3)[draw.integers(0, 3, 23)].tolist()},
        "layers": [
            {"type": "dense", "name": "h", "units": 9, "activation": "tanh"},
            {"type": "dense", "name": "o", "units": 3, "activation": "softmax"},
        ],
        "loss": "cross_entropy",
        "optimizer": {"type": "sgd", "learning_rate": 0.1, "momentum": 0.9},
        "training": {"epochs": 8, "batch_size": 5, "order": "shuffle", **training},
    }


@pytest.fixture
def network(tmp_path: Path) -> Callable[..., Network]:
    def load(document: dict[str, Any] | str = "mazur") -> Network:
        if isinstance(document, str):
            return bptrace.load(document)
        path = tmp_path / "net.yaml"
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        return bptrace.load(path)

    return load


def same(one: Trace, other: Trace, iterations: list[int]) -> None:
    """Every number of these iterations has the same bits."""
    assert list(one.losses) == list(other.losses)
    for iteration in iterations:
        assert one.samples(iteration) == other.samples(iteration)
        for node in one.assembly(iteration).graph.stored():
            assert one.value(node.id, iteration) == other.value(node.id, iteration), (node.id, iteration)
    assert one.final == other.final


NETWORKS = ["mazur", "mlm-train-20", "two-losses", "quadratic-adam", classes()]


@pytest.mark.parametrize("document", NETWORKS, ids=lambda d: d if isinstance(d, str) else "classes")
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("in_file", [False, True])
def test_every_policy_has_the_same_numbers(
    network: Any, document: Any, policy: Any, in_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "LONGEST_SEGMENT", 7)
    whole = network(document).run(40)
    places = [1, 2, 7, 8, 9, 33, 40, 3]
    file = tmp_path / "t.npy" if in_file else None
    trace = network(document).run(40, record=policy, trace=file)
    same(whole, trace, places)
    if file is not None:
        same(whole, bptrace.read_trace(file), places)
        assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".yaml") == [
            "t.npy", "t.npy.json", "t.npy.states.npy",
        ]  # fmt: skip


def test_windows_smaller_than_a_segment(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = network(classes()).run(40)
    monkeypatch.setattr(recording, "SEGMENT_BYTES", 100_000)
    monkeypatch.setattr(replay, "SEGMENT_BYTES", 10_000)
    trace = network(classes()).run(40, record="replay")
    assert trace.engine["record"]["states_every"] > 2
    same(whole, trace, list(range(40, 0, -1)))


def test_a_replay_that_comes_to_other_numbers_is_refused(network: Any) -> None:
    trace = network(classes()).run(40, record="replay")
    trace._record.replay.states[0][0] += 1e-12
    with pytest.raises(RunError, match="iterations 1 to 40 computed again come to other numbers"):
        trace.value("h.z", 3)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("in_file", [False, True])
def test_a_run_that_stops_keeps_what_was_done(network: Any, policy: Any, in_file: bool, tmp_path: Path) -> None:
    """x⁴ with a learning rate that throws x away: infinite in iteration 6."""
    document = {
        "parameters": {"x": 1.0},
        "graph": {"f": "x**4"},
        "optimizer": {"type": "sgd", "learning_rate": 10.0},
    }
    file = tmp_path / "t.npy" if in_file else None
    trace = network(document).run(100, record=policy, trace=file)
    assert trace.count == len(trace.losses) == 6
    assert str(trace.stopped).startswith("iteration 6: f is infinite")
    assert trace.value("x", 6) == pytest.approx(-9.08740924e192)
    if file is not None:
        back = bptrace.read_trace(file)
        assert (back.count, str(back.stopped)) == (6, str(trace.stopped))
        assert numpy.load(file).shape[0] == 6


@pytest.mark.parametrize("policy", POLICIES)
def test_stop_conditions(network: Any, policy: Any, tmp_path: Path) -> None:
    stop = {"stop": {"gradient_below": 0.3, "patience": 50}}
    whole = network(classes(**stop) | {}).run()
    for file in (None, tmp_path / "t.npy"):
        trace = network(classes(**stop)).run(record=policy, trace=file)
        assert trace.count == whole.count
        same(whole, trace, [1, whole.count])


# -- by size


def test_the_policy_is_chosen_by_size(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def policy(budget: int) -> str:
        monkeypatch.setattr(run_module, "BUDGET", budget)
        return network(classes()).run(40).engine.get("record", {"policy": "all"})["policy"]  # type: ignore[no-any-return]

    row = bptrace.load("mazur").run(1)._record.engines.layout(1).bytes
    assert row > 0
    found = [policy(budget) for budget in (10_000_000, 60_000, 10_000)]
    assert found == ["all", "lean", "replay"]


def test_shown_iterations_that_do_not_fit_are_computed_again(network: Any) -> None:
    whole = network().run(5000)
    trace = network().run(5000, show=range(1, 5001), memory=1 << 20)
    assert trace.engine["record"]["policy"] == "lean"
    same(whole, trace, [1, 2500, 5000])


def test_flags(command: Command) -> None:
    plain = command("run", "mazur", "-n", "50", "--show", "7,50").out
    for flags in (["--record", "lean"], ["--record", "replay", "--memory", "1MiB"]):
        head, recorded, rest = command("run", "mazur", "-n", "50", "--show", "7,50", *flags).out.partition("recorded: ")
        assert recorded, "what is not kept is said"
        assert head + rest.partition("\n")[2] == plain
    assert command("run", "mazur", "--record", "some").code == 2
    assert "all, lean, replay" in command("run", "mazur", "--record", "some").err
    for size in ("much", "1", "-2GB", "٣GB", "1e400GB"):
        answer = command("run", "mazur", "--memory", size)
        assert (answer.code, "such as 512MB" in answer.err) == (2, True)
    refused = command("run", "mazur", "-n", "100000", "--record", "all", "--memory", "1MB")
    assert refused.code == 2
    refused = command("run", "mazur", "-n", "100000", "--record", "all", "--memory", "2MB")
    assert refused.code == 2 and "--record lean or replay" in refused.err
    exact = command("run", "cs231n-fxyz", "--exact", "--record", "lean")
    assert exact.code == 2 and "leave out --exact" in exact.err


# -- trace files


def test_numpy_reads_the_rows(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "t.npy"
    assert command("run", "mazur", "-n", "300", "--show", "last", "--trace", file).code == 0
    rows = numpy.load(file)
    header = json.loads((tmp_path / "t.npy.json").read_text(encoding="utf-8"))
    trace = bptrace.load("mazur").run(300)
    assert rows.shape == (300, header["width"])
    for entry in header["nodes"]["1"]:
        size = int(numpy.prod(entry["shape"]))
        found = rows[:, entry["at"] : entry["at"] + size].reshape(300, *entry["shape"])
        for iteration in (1, 150, 300):
            assert found[iteration - 1].tolist() == trace.value(entry["id"], iteration)
    assert {entry["id"] for entry in header["nodes"]["1"]} >= {"h.W", "h.z", "o.delta", "grad.o.W", "loss"}


def test_a_stored_trace_stands_for_a_network(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "t.npy"
    assert command("run", "mazur", "-n", "30", "--trace", file, "--set", "optimizer.learning_rate=0.25").code == 0
    ran = ("mazur", "-n", "30", "--set", "optimizer.learning_rate=0.25")
    for words in (["run"], ["export", "--format", "json"], ["export", "--format", "csv", "--show", "3-5"]):
        stored, run = command(words[0], file, *words[1:]), command(words[0], *ran, *words[1:])
        assert stored.code == run.code == 0
        mine, other = (answer.out for answer in (stored, run))
        if "json" in words:
            mine, other = (text.partition(' "conventions"')[2] for text in (mine, other))
        assert mine.replace(str(file), "mazur") == other
    assert command("step", file, "-n", "3").out.count(" of 30\n") == 3
    assert "iteration 7 of 30" in command("explain", file, "grad.w5", "--show", "7").out
    after = tmp_path / "after.json"
    assert command("run", file, "--save", after).code == 0
    going_on = [command("run", *ran, "--from", place).out for place in (after, file)]
    assert going_on[0] == going_on[1]
    for flags in (["-n", "3"], ["--exact"], ["--set", "seed=1"], ["--from", after], ["--record", "lean"]):
        answer = command("run", file, *flags)
        assert answer.code == 2
        assert "leave out" in answer.err


@pytest.mark.parametrize("damage", ["shorter", "no header", "no states", "other rows", "cut header", "other data"])
def test_damaged_traces_are_refused(command: Command, tmp_path: Path, damage: str) -> None:
    file, other = tmp_path / "t.npy", tmp_path / "o.npy"
    assert command("run", "mazur", "-n", "30", "--trace", file).code == 0
    header, states = tmp_path / "t.npy.json", tmp_path / "t.npy.states.npy"
    expected = ""
    match damage:
        case "shorter":
            file.write_bytes(file.read_bytes()[:-100])
            expected = "half written"
        case "no header":
            header.unlink()
            expected = "no t.npy.json beside it"
        case "no states":
            states.unlink()
            expected = "no such file"
        case "other rows":
            flags = ["--set", "optimizer.learning_rate=0.1"]
            assert command("run", "mazur", "-n", "30", "--trace", other, *flags).code == 0
            shutil.copy(other, file)
            expected = "do not belong together"
        case "cut header":
            header.write_text(header.read_text(encoding="utf-8")[:-200], encoding="utf-8")
            expected = "damaged"
        case "other data":
            text = header.read_text(encoding="utf-8")
            header.write_text(text.replace("inputs:  [[0.05, 0.10]]", "inputs:  [[0.05, 0.20]]"), encoding="utf-8")
            assert header.read_text(encoding="utf-8") != text
            expected = "its data are others"
    answer = command("run", file)
    assert answer.code == 2
    assert expected in answer.err
    assert "Traceback" not in answer.err


def test_a_trace_of_another_network_is_refused_with_the_difference(network: Any, tmp_path: Path) -> None:
    file = tmp_path / "t.npy"
    bptrace.load("mazur").run(5, trace=file)
    with pytest.raises(UsageError, match="of another network: its data are others"):
        bptrace.load("victor-zhou").stored_trace(file)
    other = bptrace.load("mazur")
    same(bptrace.load("mazur").run(5), other.stored_trace(file), [1, 5])


def test_where_a_trace_cannot_go(command: Command, tmp_path: Path) -> None:
    for place, said in (("t.txt", "ends in .npy"), ("folder.npy", "no regular file"), ("no/t.npy", "No such file")):
        if place == "folder.npy":
            (tmp_path / place).mkdir()
        answer = command("run", "mazur", "--trace", tmp_path / place)
        assert answer.code in (1, 2) and said in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["folder.npy"]


def test_a_file_costs_no_memory(tmp_path: Path) -> None:
    code = (
        "import bptrace, resource, sys\n"
        f"bptrace.load('mazur').run(int(sys.argv[1]), show=[1], trace={str(tmp_path / 't.npy')!r})\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    few, many = (
        int(subprocess.run([sys.executable, "-c", code, count], capture_output=True, text=True, check=True).stdout)
        for count in ("10000", "150000")
    )
    unit = 1 if sys.platform == "darwin" else 1024
    assert (many - few) * unit < 4 << 20  # the rows alone are 50 MB
    assert resource.RUSAGE_SELF == 0


def test_resumed_is_uninterrupted(network: Any, tmp_path: Path) -> None:
    from bptrace.engine.checkpoint import checkpoint_text, read_checkpoint

    whole = network(classes()).run(37)
    first = network(classes()).run(13)
    file = tmp_path / "c.json"
    file.write_text(checkpoint_text(first), encoding="utf-8")
    state, done = read_checkpoint(str(file), network(classes()))
    second = network(classes()).run(24, start=state, done=done)
    assert first.losses + second.losses == whole.losses
    assert [second.samples(k) for k in range(1, 25)] == [whole.samples(k) for k in range(14, 38)]
    assert second.epoch(24) == whole.epoch(37)
    assert second.final == whole.final
