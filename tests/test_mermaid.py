"""Mermaid flowcharts: ids of our own, labels quoted and escaped, nothing that Mermaid refuses."""

from __future__ import annotations

import re

import pytest

from bptrace.network import bundled, load
from bptrace.writers.mermaid import MOST_EDGES, flowchart, label

LABEL = r'"[^"<>]*"'
LINES = [
    r"flowchart LR",
    rf"  subgraph gn\d+\[{LABEL}\]",
    r"    direction TB",
    rf"    n\d+\(\({LABEL}\)\)",
    r"  end",
    rf"  n\d+(\[{LABEL}\]|\(\[{LABEL}\]\))",
    rf"  n\d+ -->(\|{LABEL}\|)? n\d+",
]


def chart(text: str) -> str:
    return flowchart(load("net.yaml", text=text).assembly())


@pytest.mark.parametrize("name", bundled())
def test_only_lines_that_mermaid_takes(name: str) -> None:
    assembly = load(name).assembly()
    text = flowchart(assembly)
    if not text:
        parameters = (*assembly.trainable, *assembly.held)
        assert max(node.size for node in parameters) > MOST_EDGES, "so small a network can be drawn"
        return
    lines = text.splitlines()
    assert all(any(re.fullmatch(pattern, line) for pattern in LINES) for line in lines), text
    drawn = set(re.findall(r"^ +(n\d+)[(\[]", text, re.M))
    ends = set(re.findall(r"\bn\d+\b", "\n".join(line for line in lines if "-->" in line)))
    assert ends <= drawn
    assert 0 < text.count("-->") <= MOST_EDGES


def test_mazur() -> None:
    text = flowchart(load("mazur").assembly())
    ids = {unit: id for id, unit in re.findall(r'(n\d+)\(\("(\w+)"\)\)', text)}
    assert set(ids) == {"i1", "i2", "h1", "h2", "o1", "o2"}
    for weight, source, target in [("w1", "i1", "h1"), ("w2", "i2", "h1"), ("w7", "h1", "o2"), ("w8", "h2", "o2")]:
        assert f'{ids[source]} -->|"{weight}"| {ids[target]}\n' in text
    assert text.count("-->") == 8 and '["h: dense, sigmoid"]' in text


def test_a_graph_network() -> None:
    text = flowchart(load("cs231n-fxyz").assembly())
    assert text == (
        "flowchart LR\n"
        '  n1(["x"])\n  n2(["y"])\n  n3(["z"])\n  n4["q = x + y"]\n  n5["f = q·z"]\n'
        "  n1 --> n4\n  n2 --> n4\n  n4 --> n5\n  n3 --> n5\n"
    )


def test_views_and_literals_are_no_boxes() -> None:
    text = chart("inputs: {a: [[1, 2]], b: [[3, 4]]}\ngraph: {f: sum(transpose(a) @ b) + 1}\n")
    assert text.count("-->") == len(re.findall(r'n\d+\["f[.\d]*[ \[]', text)) + 1


def test_names_that_are_syntax_elsewhere() -> None:
    text = chart("inputs: {end: 1, 权重: 2}\ngraph: {subgraph: end * 权重}\n")
    assert '["subgraph = end·权重"]' in text and "\n  n1([" in text


def test_labels() -> None:
    assert label('a<b & c "d" #1') == '"a&lt;b &amp; c #quot;d#quot; #35;1"'
    assert label("σ'(z)") == '"σ\'(z)"'


def test_too_much_to_draw() -> None:
    inputs = ", ".join("1" for _ in range(10))
    within = f"data: {{inputs: [[{inputs}]]}}\nlayers: [{{type: dense, units: 10}}]\n"
    assert chart(within).count("-->") == 100
    assert chart(within.replace("units: 10", "units: 11")) == ""
    names = "\n".join(f"  f{k}: {'x' if k == 0 else f'f{k - 1}'} * x" for k in range(60))
    assert chart(f"inputs: {{x: 1}}\ngraph:\n{names}\n") == ""


def test_one_sample_stands_for_all() -> None:
    text = "data: {inputs: [[1, 2], [3, 4], [5, 6]]}\nlayers: [{type: dense, name: h, units: 2}]\n"
    assert chart(text).count("-->") == 4
    columns = "data: {inputs: [[1, 2, 3], [4, 5, 6]]}\nlayers: [{type: dense, name: h, units: 2}]\n"
    assert chart(columns + "conventions: {sample_axis: columns}\n").count("-->") == 4


def test_layers_that_are_more_than_their_units_are_boxes() -> None:
    text = """
data: {inputs: [[[1, 2], [3, 4]]]}
layers:
  - {type: lstm, name: memory, units: 2, output: sequence}
  - {type: dense, name: o, units: 1}
"""
    assert chart(text) == (
        'flowchart LR\n  n1["x"]\n  n2["memory: lstm, gates i, f, g, o"]\n  n3["o: dense"]\n  n1 --> n2\n  n2 --> n3\n'
    )


def test_images_of_many_places_are_boxes() -> None:
    text = """
data: {inputs: [[[SIDE]]]}
layers:
  - {type: conv2d, name: c, channels: 1, kernel: 3, activation: relu}
  - {type: max_pool, name: p, kernel: 2}
  - {type: flatten, name: flat}
  - {type: dense, name: o, units: 2}
"""
    large = chart(text.replace("SIDE", ", ".join(["[1, 2, 3, 4, 5, 6, 7, 8]"] * 8)))
    assert re.findall(r'\["(.*)"\]', large) == ["x", "c: conv2d, relu", "p: max_pool", "o: dense"]
    assert large.count("-->") == 3
