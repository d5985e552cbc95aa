"""Three ways to compute one graph: generated Python, NumPy kernels, and the walk over the formulas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import bptrace
from bptrace.engine.array import ArrayEngine
from bptrace.engine.exact import FormulaEngine
from bptrace.engine.layout import Layout, state_leaves
from bptrace.engine.scalar import ScalarEngine, fits
from bptrace.network import bundled
from bptrace.optimizers.sgd import Descent

ITERATIONS = 3
FILE_ROWS = 4
"""Rows of a data file that are computed with: more would only repeat the same formulas."""


def computed(engine: Any, start: Sequence[float], samples: int) -> tuple[list[float], list[float], list[Any]]:
    """The numbers of a few iterations, the state after them, and the losses."""
    size = engine.layout.size
    packed = memoryview(bytearray(8 * size * ITERATIONS)).cast("d")
    chunk: Any = [0.0] * (size * ITERATIONS) if engine.name == "formulas" else packed
    losses: list[float | None] = []
    engine.state = start
    engine.run([range(samples)] * ITERATIONS, chunk, 0, losses)
    return list(chunk), list(engine.state), losses


def differences(layout: Layout, found: list[float], expected: list[float]) -> list[str]:
    """The elements that differ by more than 1e-12, relative above 1."""
    wrong = []
    for k, (a, b) in enumerate(zip(found, expected, strict=True)):
        same = a == b or (math.isnan(a) and math.isnan(b)) or abs(a - b) <= 1e-12 * max(1.0, abs(b))
        if not same:
            place = k % layout.size
            node = next(n for n, start in layout.offsets.items() if start <= place < start + n.size)
            wrong.append(f"iteration {k // layout.size + 1}: {node.id}: {a!r} for {b!r}")
    return wrong


@pytest.mark.parametrize("constant", [True, False], ids=["constant data", "data of a batch"])
@pytest.mark.parametrize("name", bundled())
def test_kernels_and_code_agree_with_the_formulas(name: str, constant: bool) -> None:
    network = bptrace.load(name)
    assembly = network.assembly()
    if network.spec.source is not None:
        assembly = network.assembly(min(assembly.samples, FILE_ROWS))
    layout = Layout(assembly)
    batch = range(assembly.samples) if constant else None
    start = [x for leaf in state_leaves(assembly.graph) for x in assembly.graph.values[leaf]]
    by_formulas = computed(FormulaEngine(layout), start, assembly.samples)
    kernels = computed(ArrayEngine(assembly, layout, batch), start, assembly.samples)
    for found, expected in zip(kernels[:2], by_formulas[:2], strict=True):
        assert not differences(layout, found, expected)
    if assembly.graph.loss is not None:
        assert kernels[2] == pytest.approx(by_formulas[2], rel=1e-12)
    if fits(assembly):
        scalar = ScalarEngine(assembly, layout, batch, lambda: pytest.fail("handed over"))
        assert computed(scalar, start, assembly.samples) == by_formulas, "not the same bits"


@pytest.mark.parametrize("name", ["mazur", "iamtrask-3layer", "mlm-train-20", "two-losses", "mazur-sequential"])
def test_what_is_recorded_changes_no_number(name: str) -> None:
    network = bptrace.load(name)
    everything = network.run(20)
    last = network.run(20, show=[20])
    assert last.recorded == [20]
    assert last.losses == everything.losses
    assert last.final == everything.final
    assembly = last.assembly(20)
    for node in assembly.graph.nodes:
        assert list(last.values(20).flat(node)) == list(everything.values(20).flat(node)), node.id


def test_a_longer_run_begins_with_the_shorter_one() -> None:
    for name in ("mazur", "cs231n-toy-net", "two-losses"):
        short, long = bptrace.load(name).run(1), bptrace.load(name).run(4)
        assert short.losses == long.losses[:1]
        if long.assembly(1).graph.carry:
            assert short.final["loss"] == long.losses[1], name


def test_the_new_state_is_the_next_rows_state() -> None:
    trace = bptrace.load("mazur").run(3)
    for iteration in (1, 2):
        assert trace.value("new.h.W", iteration) == trace.value("h.W", iteration + 1)
    assert trace.value("new.h.W", 3) == trace.final["parameters"]["h.W"]


def wide(tmp_path: Path, **changes: object) -> Path:
    """A network beyond generated code."""
    layers = [{"type": "dense", "units": units, "activation": "sigmoid"} for units in (20, 3)]
    document: dict[str, object] = {
        "data": {"inputs": [[0.1 * k + n for k in range(8)] for n in range(5)], "targets": [[0.2, 0.5, 0.9]] * 5},
        "layers": layers,
        "loss": "half_squared_error",
        "optimizer": {"type": "sgd", "learning_rate": 0.5},
    }
    import yaml

    path = tmp_path / "wide.yaml"
    path.write_text(yaml.safe_dump(document | changes), encoding="utf-8")
    return path


def test_all_parameters_are_updated_by_two_calls(tmp_path: Path) -> None:
    assembly = bptrace.load(wide(tmp_path)).assembly()
    assert len(assembly.trainable) == 4
    assert {type(node.op) for node in assembly.graph.carry.values()} == {Descent}
    engine = ArrayEngine(assembly, Layout(assembly), range(5))
    assert len(engine._updates) == 2


def test_final_loss_is_the_next_loss_with_numpy_too(tmp_path: Path) -> None:
    network = bptrace.load(wide(tmp_path))
    trace = network.run(2)
    assert trace.engine["name"] == "array"
    assert trace.engine["numpy"]
    assert trace.final["loss"] == network.run(3).losses[2]
    assert trace.final["parameters"]["dense1.W"] == trace.value("new.dense1.W")


def test_batches_of_columns(tmp_path: Path) -> None:
    """The same training with a column a sample gives the same numbers, in batches of two sizes."""
    rows = [[0.1, 0.7], [0.4, -0.2], [0.9, 0.3]]
    columns = [list(column) for column in zip(*rows, strict=True)]
    common = {
        "layers": [{"type": "dense", "units": 2, "weights": [[0.1, 0.2], [0.3, -0.4]], "bias": [0.5, -0.5]}],
        "loss": "half_squared_error",
        "training": {"epochs": 3, "batch_size": 2},
    }
    by_rows = wide(tmp_path, **common, data={"inputs": rows, "targets": rows})
    first = bptrace.load(by_rows).run()
    by_columns = wide(
        tmp_path, **common, data={"inputs": columns, "targets": columns}, conventions={"sample_axis": "columns"}
    )
    second = bptrace.load(by_columns).run()
    assert first.count == second.count == 6
    assert first.losses == pytest.approx(second.losses, rel=1e-14)
    assert first.value("x", 1) == rows[:2]
    assert second.value("x", 1) == [row[:2] for row in columns]
    assert first.value("x", 2) == rows[2:]
