"""From what is typed to nodes, elements and addends."""

from __future__ import annotations

import pytest

from bptrace.formula.text import symbols
from bptrace.graph.graph import Graph
from bptrace.graph.lookup import LookupFailedError, column, element_at, element_id, find, find_part, formula, index_of
from bptrace.network import load
from bptrace.report.notation import Notation


def graph_of(name: str) -> Graph:
    return load(name).assembly().graph


MAZUR = graph_of("mazur")
SEVERAL = graph_of("two-losses")


def found(graph: Graph, text: str) -> tuple[str, int | None]:
    node, element = find(graph, text)
    return node.id, element


@pytest.mark.parametrize(
    ("text", "id", "element"),
    [
        ("h.W", "h.W", None), ("h.W[1,2]", "h.W", 1), ("h.y", "h.a", None), ("h.y[2]", "h.a", 1),
        ("h.a[1,2]", "h.a", 1), ("w5", "o.W", 0), ("grad.w5", "grad.o.W", 0), ("new.w8", "new.o.W", 3),
        ("δ_o1", "o.delta", 0), ("grad.net_o2", "o.delta", 1), ("grad.o.y", "grad.o.a", None),
        ("b1", "h.b", None), ("b1[2]", "h.b", 1), (" loss ", "loss", None),
    ],
)  # fmt: skip
def test_names_with_one_sample(text: str, id: str, element: int | None) -> None:
    assert found(MAZUR, text) == (id, element)


@pytest.mark.parametrize(
    ("text", "id", "element"),
    [
        ("a_h1", "h.a", None), ("a_h1[2]", "h.a", 2), ("a_h2[1]", "h.a", 1), ("grad.a_h2[2]", "grad.h.a", 3),
        ("δ_h1[2]", "h.delta", 2), ("x2[2]", "x", 3), ("h.a[2,1]", "h.a", 2),
        ("grad.h.a/price.z", "grad.h.a/price.z", None), ("grad.h.a/price.z[2,1]", "grad.h.a/price.z", 2),
        ("grad.h.a[2,1]/price.z", "grad.h.a/price.z", 2), ("grad.a_h1[2]/price.z", "grad.h.a/price.z", 2),
        ("grad.h.y/price.y", "grad.h.a/price.z", None),
    ],
)  # fmt: skip
def test_names_with_several_samples(text: str, id: str, element: int | None) -> None:
    assert found(SEVERAL, text) == (id, element)


def test_a_unit_stands_for_its_samples() -> None:
    assert find_part(SEVERAL, "a_h2").elements == (1, 3)
    assert find_part(SEVERAL, "grad.a_h2").elements == (1, 3)
    assert find_part(SEVERAL, "h.a").elements == (0, 1, 2, 3)
    assert column(SEVERAL, "h.a", SEVERAL.by_id["h.a"]) is None


@pytest.mark.parametrize(
    ("graph", "text", "formula_text"),
    [
        (MAZUR, "h.z[1]/2", "w2·i2"), (MAZUR, "h.z[1]/3", "b1"), (MAZUR, "net_o2/1", "w7·out_h1"),
        (MAZUR, "loss/2", "E_o2"),
        (MAZUR, "new.w5/2", "-setting.optimizer.learning_rate·∂E/∂w5"), (MAZUR, "grad.w1/sample1", "δ_h1·i1"),
        (SEVERAL, "grad.h.W[1,2]/sample2", "δ_h1[2]·x2[2]"), (SEVERAL, "grad.h.W[1,2]/1", "δ_h1[1]·x2[1]"),
        (SEVERAL, "loss/2", "E2"), (SEVERAL, "loss.1/2", "E1[2]"), (SEVERAL, "loss.2/sample1", "E2[1]"),
        (SEVERAL, "grad.h.a/price.z[1,2]/1", "price.W[1,2]·price.delta[1,1]"),
    ],
)  # fmt: skip
def test_addends(graph: Graph, text: str, formula_text: str) -> None:
    part = find_part(graph, text)
    (element,) = part.elements
    assert symbols(formula(part, element), Notation().element) == formula_text


@pytest.mark.parametrize(
    ("graph", "text", "said"),
    [
        (MAZUR, "w55", "there is no 'w55'; did you mean 'w5'?"),
        (MAZUR, "new.w55", "there is no 'w55'; did you mean 'w5'?"),
        (MAZUR, "h.zz[1]", "there is no 'h.zz'; did you mean 'h.z'?"),
        (MAZUR, "w5[1]", "w5 is one element and takes no index"),
        (MAZUR, "h.W[1]", "has 2 axes"),
        (MAZUR, "h.W[1,a]", "whole numbers"),
        (MAZUR, "h.W[1,3]", "places 1 to 2"),
        (MAZUR, "h.z[1]/4", "h.z[1] has 3 addends, no addend 4"),
        (MAZUR, "h.z[1]/0", "h.z[1] has 3 addends, no addend 0"),
        (MAZUR, "h.a[1]/2", "h.a[1] has 1 addend, no addend 2"),
        (MAZUR, "h.z[1]/1/1", "an addend already"),
        (MAZUR, "h.z[1]/sample1", "h.z is no sum over samples"),
        (MAZUR, "h.z[1]/b", "there is no"),
        (SEVERAL, "a_h1[3]", "samples 1 to 2"),
        (SEVERAL, "a_h1[1,1]", "number of a sample"),
        (SEVERAL, "grad.h.W[1,2]/sample3", "sums 2 samples, there is no sample 3"),
    ],
)
def test_what_is_not_there(graph: Graph, text: str, said: str) -> None:
    with pytest.raises(LookupFailedError) as caught:
        find_part(graph, text)
    assert said in str(caught.value)


@pytest.mark.parametrize("graph", [MAZUR, SEVERAL, graph_of("cs231n-toy-net")])
def test_every_element_is_found_by_its_id(graph: Graph) -> None:
    for node in graph.stored():
        for element in range(min(node.size, 40)):
            assert element_at(node, index_of(node, element)) == element
            assert find_part(graph, element_id(node, element)).elements == (element,)
            assert find(graph, element_id(node, element))[0] is node


def test_ids_with_brackets_of_their_own() -> None:
    graph = graph_of("cs231n-fxyz")
    node = graph.by_id["q"]
    graph.by_id["tangent.x[2].q"] = node  # as forward mode names them
    assert find(graph, "tangent.x[2].q") == (node, None)
