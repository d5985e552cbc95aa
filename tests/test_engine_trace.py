"""The trace as a library sees it, and where networks are found."""

from __future__ import annotations

from pathlib import Path

import pytest

import bptrace
from bptrace.errors import UsageError
from bptrace.network import bundled
from bptrace.trace import Trace


@pytest.fixture(scope="module")
def mazur() -> Trace:
    return bptrace.load("mazur").run(3)


def test_values_by_every_name(mazur: Trace) -> None:
    assert mazur.value("h.W", 1) == [[0.15, 0.2], [0.25, 0.3]]
    assert mazur.value("w2", 1) == mazur.value("h.W[1,2]", 1) == 0.2
    assert mazur.value("h.z[2]", 1) == mazur.value("net_h2", 1) == mazur.value("h.z", 1)[0][1]
    assert mazur.value("o.y", 1) == mazur.value("o.a", 1)
    assert mazur.value("b1", 1) == [0.35, 0.35]
    assert mazur.value("x", 1) == [[0.05, 0.1]]
    assert mazur.value("setting.optimizer.learning_rate") == 0.5
    assert mazur.value("grad.loss") == 1.0
    assert mazur.value("loss", 2) == mazur.loss(2) == mazur.losses[1]


def test_the_last_iteration_is_the_default(mazur: Trace) -> None:
    assert mazur["w5"] == mazur.value("w5", 3) == mazur.value("new.w5", 2)


def test_facts(mazur: Trace) -> None:
    assert (mazur.count, mazur.recorded, mazur.epochs) == (3, [1, 2, 3], 3)
    assert mazur.samples(2) == [1]
    assert mazur.stopped is None
    assert not mazur.exact
    assert mazur.engine == {"name": "scalar", "dtype": "float64"}
    assert mazur.network.name == "Mazur's 2-2-2 network"
    assert set(mazur.final) == {"loss", "outputs", "parameters"}
    assert list(mazur.final["outputs"]) == ["o.y"]
    assert list(mazur.final["parameters"]) == ["h.W", "h.b", "o.W", "o.b"]


def test_final_parameters_under_any_graph(mazur: Trace) -> None:
    assembly = mazur.assembly(1)
    values = mazur.final_parameters(assembly)
    for id, numbers in mazur.final["parameters"].items():
        flat = [x for row in numbers for x in (row if isinstance(row, list) else [row])]
        assert list(values.flat(assembly.graph.by_id[id])) == flat
    assert values.flat(assembly.graph.by_id["loss"])[0] == mazur.final["loss"]


def test_a_units_name_is_a_column_of_samples() -> None:
    trace = bptrace.load("goodfellow-xor").run()
    table = trace.value("h.z")
    names = trace.assembly(1).graph.by_id["h.z"].names
    assert len(table) == 4
    for k, name in enumerate(names):
        assert trace[name] == [row[k] for row in table]


def test_unknown_names(mazur: Trace) -> None:
    with pytest.raises(UsageError, match=r"there is no 'w55'; did you mean"):
        mazur["w55"]
    with pytest.raises(UsageError, match="has places 1 to 2"):
        mazur["h.z[3]"]
    with pytest.raises(UsageError, match="there is no iteration 4"):
        mazur.value("w5", 4)
    with pytest.raises(UsageError, match="there is no iteration 0"):
        mazur.loss(0)


def test_assemblies_are_made_once() -> None:
    network = bptrace.load("mazur")
    assert network.assembly() is network.assembly()
    assert network.run().assembly(1) is network.assembly()


def test_where_networks_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "mazur" in bundled()
    assert bptrace.load("mazur").name == bptrace.load("networks/mazur.yaml").name
    own = tmp_path / "mine.yaml"
    own.write_text("inputs: {x: 2.0}\ngraph: {f: x*x}\n", encoding="utf-8")
    assert bptrace.load(own).run()["f"] == 4.0
    assert bptrace.load("mine.yaml").name == "mine"
    with pytest.raises(UsageError, match=r"mazru: no such file or bundled network; did you mean 'mazur'\?"):
        bptrace.load("mazru")
    with pytest.raises(UsageError, match="is a folder"):
        bptrace.load(tmp_path)


def test_a_folder_named_like_a_network_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "networks").mkdir()
    assert bptrace.load("networks/mazur.yaml").name == "Mazur's 2-2-2 network"
