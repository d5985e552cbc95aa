"""The CSV trace: `iteration,id,index,value`, one line an element."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest

from bptrace.network import load
from bptrace.writers.csv_trace import csv_trace
from bptrace.writers.json_trace import json_trace


def element(value: object, index: str) -> object:
    for place in filter(None, index.split(",")):
        assert isinstance(value, list)
        value = value[int(place) - 1]
    return value


@pytest.mark.parametrize("name", ["mazur", "cs231n-fxyz", "nnfs-layer", "two-losses", "mlm-train-20"])
def test_the_same_numbers_as_in_json(name: str) -> None:
    trace = load(name).run(3)
    text = "".join(csv_trace(trace))
    rows = list(csv.DictReader(io.StringIO(text)))
    found = json.loads("".join(json_trace(trace)))
    values = {entry["iteration"]: entry["values"] for entry in found["iterations"]}
    for row in rows:
        value = element(values[int(row["iteration"])][row["id"]], row["index"])
        assert float(row["value"]) == value and repr(value) == row["value"]
    count = sum(math.prod(node["shape"]) for node in found["nodes"]) * len(values)
    assert len(rows) == count == text.count("\n") - 1


def test_mazur() -> None:
    lines = "".join(csv_trace(load("mazur").run())).split("\n")
    assert lines[0] == "iteration,id,index,value"
    start = lines.index('1,x,"1,1",0.05')
    assert lines[start + 1] == '1,x,"1,2",0.1' and '1,h.W,"2,1",0.25' in lines
    assert "1,setting.optimizer.learning_rate,,0.5" in lines
    assert "1,h.b,1,0.35" in lines and "1,loss,,0.2983711087600027" in lines
    assert lines[-1] == "" and "\r" not in "".join(lines)


def test_chosen_iterations() -> None:
    rows = csv.DictReader(io.StringIO("".join(csv_trace(load("mlm-train-20").run(), [1, 200]))))
    assert {row["iteration"] for row in rows} == {"1", "200"}


def test_ids_with_commas_are_quoted() -> None:
    text = "inputs: {x: [1, 2]}\ngraph: {f: sum(x * x)}\ntangents: ['x[2]']\n"
    trace = load("net.yaml", text=text).run()
    ids = {row["id"] for row in csv.DictReader(io.StringIO("".join(csv_trace(trace))))}
    assert ids == {node.id for node in trace.assembly(1).graph.stored()}


def test_fractions_and_infinities() -> None:
    exact = load("net.yaml", text="inputs: {x: 7, y: 12}\ngraph: {f: x / y}\n").run(exact=True)
    assert "1,f,,7/12\n" in "".join(csv_trace(exact))
    infinite = load("net.yaml", text="inputs: {x: 1000}\ngraph: {f: exp(x), g: f - f}\n").run()
    text = "".join(csv_trace(infinite))
    assert "1,f,,Infinity\n" in text and "1,g,,NaN\n" in text


def test_chunks_are_whole_lines_and_bounded() -> None:
    rows = ", ".join(f"[{', '.join(str(k) for k in range(60))}]" for _ in range(100))
    text = f"data: {{inputs: [{rows}]}}\nlayers: [{{type: dense, name: h, units: 10}}]\n"
    chunks = list(csv_trace(load("net.yaml", text=text).run()))
    assert all(chunk.endswith("\n") for chunk in chunks if chunk)
    assert max(chunk.count("\n") for chunk in chunks) <= 4096 < sum(chunk.count("\n") for chunk in chunks)
