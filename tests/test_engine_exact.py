"""Fractions, and decimals rounded as on paper."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
import yaml

import bptrace
from bptrace.engine import exact
from bptrace.errors import RunError, UsageError


def test_hmkcode_in_fractions() -> None:
    trace = bptrace.load("hmkcode-linear").run(exact=True)
    assert trace.exact
    assert trace["h.y"] == [[Fraction("0.85"), Fraction("0.48")]]
    assert trace["out.y"] == [[Fraction("0.191")]]
    assert trace["loss"] == Fraction(1, 2) * (1 - Fraction("0.191")) ** 2
    assert trace["grad.out.W"] == [[Fraction("-0.809") * Fraction("0.85"), Fraction("-0.809") * Fraction("0.48")]]
    assert trace.losses == [float(trace["loss"])]
    assert trace.engine == {"name": "formulas", "dtype": "fraction"}
    assert isinstance(trace.final["loss"], Fraction)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("cs231n-fxyz", {"f": -12, "grad.x": -4, "grad.y": -4, "grad.z": 3}),
        ("cs231n-add-mul-max", {"f": -20, "grad.x": -8, "grad.y": 6, "grad.z": 2, "grad.w": 0}),
    ],
)
def test_gates_in_fractions(name: str, values: dict[str, int]) -> None:
    trace = bptrace.load(name).run(exact=True)
    for id, value in values.items():
        assert trace[id] == value
        assert isinstance(trace[id], Fraction)


def test_fractions_are_near_the_floats() -> None:
    network = bptrace.load("hmkcode-linear")
    fractions, floats = network.run(4, exact=True), network.run(4)
    assert fractions.losses == pytest.approx(floats.losses, rel=1e-12)
    for node in floats.assembly(4).graph.nodes:
        found = [float(x) for x in fractions.values(4).flat(node)]
        assert found == pytest.approx(list(floats.values(4).flat(node)), rel=1e-12), node.id


def test_an_irrational_function() -> None:
    with pytest.raises(RunError, match=r"iteration 1: h\.a\[1,1\]: exp of -151/400 is no fraction; leave out --exact"):
        bptrace.load("mazur").run(exact=True)


def test_too_many_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "_MOST_BITS", 500)
    with pytest.raises(RunError, match=r"iteration 4: .*more than 10,000 digits; leave out --exact"):
        bptrace.load("hmkcode-linear").run(9, exact=True)


def test_division_by_zero(tmp_path: Path) -> None:
    file = tmp_path / "n.yaml"
    document = {"inputs": {"x": [1, 0]}, "graph": {"f": "1/x"}, "upstream": {"f": 1}}
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    with pytest.raises(RunError, match=r"iteration 1: f\[2\]: a division by zero; leave out --exact"):
        bptrace.load(file).run(exact=True)
    document["conventions"] = {"rounding": {"digits": 3}}
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    with pytest.raises(RunError, match=r"iteration 1: f\[2\]: a division by zero; leave out conventions"):
        bptrace.load(file).run()


def test_paper_mode_rounds_every_line() -> None:
    trace = bptrace.load("negnevitsky-xor").run()
    assembly, values = trace.assembly(1), trace.values(1)
    for node in assembly.graph.nodes:
        numbers = values.flat(node)
        if node.inline or not node.inputs:
            continue
        assert all(isinstance(x, Decimal) and x == round(x, 4) for x in numbers), node.id
    assert trace["δ_n5"] == -0.1274
    assert isinstance(trace["δ_n5"], float)


def test_rounding_after_each_operation(tmp_path: Path) -> None:
    file = tmp_path / "n.yaml"
    for after, expected in (("line", 0.6), ("operation", 0.7)):
        document = {
            "data": {"inputs": [[0.25, 0.35]], "targets": [[0.0]]},
            "layers": [{"type": "dense", "units": 1, "weights": [[1, 1]], "bias": 0}],
            "conventions": {"rounding": {"digits": 1, "after": after}},
        }
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        trace = bptrace.load(file).run()
        # 0.25 + 0.35 is 0.60, but 0.3 + 0.4 with each product rounded
        assert trace["dense1.z"] == [[expected]]
        assert trace["x"] == [[0.25, 0.35]]


def test_exact_and_rounded_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="leave out one"):
        bptrace.load("negnevitsky-xor").run(exact=True)
