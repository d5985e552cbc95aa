"""Dropout: given masks against PyTorch, all masks enumerated, drawn masks on every engine, what is refused."""

from __future__ import annotations

import json
import random
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.interpreter import network

from bptrace.build.assemble import assemble
from bptrace.engine.array import ArrayEngine
from bptrace.engine.checkpoint import checkpoint_text, read_checkpoint
from bptrace.engine.exact import FormulaEngine
from bptrace.engine.layout import Layout
from bptrace.engine.scalar import ScalarEngine
from bptrace.errors import SpecError
from bptrace.network import Network
from bptrace.network import load as load_network
from bptrace.spec.load import load

X = [[0.5, -1.25], [1.5, 0.75], [-0.3, 0.2], [0.9, 0.4]]
T = [[0.1], [-0.5], [0.25], [1.0]]
EXACT = {"rtol": 1e-12, "atol": 1e-13}


def document(drop: dict[str, Any], **rest: Any) -> str:
    layers = [
        {"type": "dense", "name": "h", "units": 3, "activation": "tanh"},
        {"type": "dropout", "name": "drop", **drop},
        {"type": "dense", "name": "o", "units": 1},
    ]
    return json.dumps({"data": {"inputs": X, "targets": T}, "layers": layers, "loss": "half_squared_error",
                       "optimizer": {"type": "sgd", "learning_rate": 0.5}, **rest})  # fmt: skip


def net(drop: dict[str, Any], **rest: Any) -> Network:
    return load_network("net.yaml", text=document(drop, **rest))


# given masks


@pytest.mark.parametrize("fields", [
    {"rate": 0.4, "mask": [1, 0, 1]}, {"mask": [[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 1]]}, {"rate": 0.25, "mask": 1},
    {"rate": 0.4, "mask": [1, 0, 1], "scale": "none"}, {"rate": 0, "mask": [0, 1, 1]},
    {"rate": 0.2, "mask": [0, 1, 1], "activation": "sigmoid"},
], ids=str)  # fmt: skip
def test_given_masks_are_pytorchs(fields: dict[str, Any]) -> None:
    pytest.importorskip("torch")
    from test_torch_networks import compare

    ours, _ = compare(document(fields))
    assert set(np.unique(ours["drop.mask"])) <= {0, 1}
    assert "grad.drop.mask" not in ours


def test_columns_have_their_mask_as_columns() -> None:
    mask = [[1, 0, 1, 1], [0, 1, 1, 0], [1, 1, 0, 1]]
    columns = {"inputs": [list(r) for r in zip(*X, strict=True)], "targets": [list(r) for r in zip(*T, strict=True)]}
    rows = network(document({"mask": [list(r) for r in zip(*mask, strict=True)]}))
    turned = network(document({"mask": mask}, data=columns, conventions={"sample_axis": "columns"}))
    for id in ("drop.mask", "drop.y", "grad.h.a", "o.z"):
        np.testing.assert_allclose(turned[id], rows[id].T, **EXACT)
    one = network(document({"mask": [1, 0, 1]}, data=columns, conventions={"sample_axis": "columns"}))
    np.testing.assert_array_equal(one["drop.mask"], [[1] * 4, [0] * 4, [1] * 4])


def test_masks_of_sequences_and_images() -> None:
    pytest.importorskip("torch")
    import torch

    x = np.round(np.random.default_rng(0).uniform(-1, 1, (2, 3, 2)), 3)
    for shape in [(3, 2), (2, 3, 2)]:
        mask = np.random.default_rng(1).integers(0, 2, shape)
        layers = [{"type": "dropout", "name": "d", "rate": 0.3, "mask": mask.tolist(), "activation": "sigmoid"}]
        ours = network(json.dumps({"data": {"inputs": x.tolist()}, "layers": layers, "loss": "sum"}))
        tensor = torch.tensor(x, requires_grad=True)
        torch.sigmoid(tensor * torch.tensor(mask) / 0.7).sum().backward()
        np.testing.assert_allclose(ours["grad.x"], tensor.grad.numpy(), **EXACT)


def test_a_batch_takes_its_own_rows_of_the_mask() -> None:
    mask = [[1, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 1]]
    trace = net({"mask": mask}, training={"iterations": 2, "batch_size": 2}).run()
    assert trace.value("drop.mask", 1) == mask[:2]
    assert trace.value("drop.mask", 2) == mask[2:]


# drawn masks


def drawn_mask(seed: int, iteration: int, rate: float, shape: tuple[int, int]) -> list[list[int]]:
    stream = random.Random(f"{seed}:drop.mask:{iteration}")
    return [[int(stream.random() >= rate) for _ in range(shape[1])] for _ in range(shape[0])]


@pytest.mark.parametrize(("fields", "seed"), [({}, 5), ({"seed": 2}, 2), ({"seed": 0}, 0)], ids=str)
def test_drawn_masks_follow_the_rule(fields: dict[str, Any], seed: int) -> None:
    trace = net({"rate": 0.3, **fields}, seed=5).run(6)
    masks = [trace.value("drop.mask", i) for i in range(1, 7)]
    assert masks == [drawn_mask(seed, i, 0.3, (4, 3)) for i in range(1, 7)]
    assert len({str(mask) for mask in masks}) == 6
    kept = np.array(trace.value("drop.y", 6)) * 0.7
    np.testing.assert_allclose(kept, np.array(trace.value("h.a", 6)) * masks[5], **EXACT)


def test_every_engine_draws_the_same() -> None:
    from test_engine_agreement import computed, differences

    assembly = net({"rate": 0.4}).assembly()
    layout = Layout(assembly)
    start = [x for leaf in assembly.graph.nodes if leaf in assembly.graph.carry for x in assembly.graph.values[leaf]]
    expected = computed(FormulaEngine(layout), start, 4)
    kernels = computed(ArrayEngine(assembly, layout, range(4)), start, 4)
    scalar = computed(ScalarEngine(assembly, layout, range(4), lambda: pytest.fail("handed over")), start, 4)
    assert not differences(layout, kernels[0], expected[0])
    assert scalar == expected
    u = layout.offsets[assembly.graph.by_id["drop.u"]]
    for k in range(3):
        row = slice(k * layout.size + u, k * layout.size + u + 12)
        assert kernels[0][row] == expected[0][row], "NumPy's generator and Python's give the same bits"


@pytest.mark.parametrize("settings", [
    {}, {"conventions": {"rounding": {"digits": 3}}},
    {"conventions": {"rounding": {"digits": 2, "after": "operation"}}},
    {"conventions": {"update_order": "sequential"}}, {"optimizer": {"type": "adam", "learning_rate": 0.1}},
], ids=str)  # fmt: skip
def test_masks_do_not_depend_on_the_kind_of_numbers_or_updates(settings: dict[str, Any]) -> None:
    trace = net({"rate": 0.4}, **settings).run(3)
    for i in range(1, 4):
        assert np.array_equal(np.array(trace.value("drop.mask", i), dtype=float), drawn_mask(0, i, 0.4, (4, 3)))


def test_exact_mode_draws_the_same() -> None:
    layers = [{"type": "dropout", "name": "drop", "rate": 0.3}, {"type": "dense", "name": "o", "units": 1}]
    data = {"inputs": X, "targets": T}
    made = load_network("net.yaml", text=json.dumps({"data": data, "layers": layers, "loss": "half_squared_error"}))
    exact, floats = made.run(exact=True), made.run()
    assert exact.value("drop.mask") == floats.value("drop.mask")
    assert Fraction(exact.values(1).flat(exact.assembly(1).graph.by_id["drop.y"])[0]) in (0, Fraction(5, 7))


def test_what_is_recorded_draws_nothing_else() -> None:
    everything, last = net({}).run(9), net({}).run(9, show=[9])
    assert everything.losses == last.losses
    assert everything.value("drop.mask", 9) == last.value("drop.mask", 9)


@pytest.mark.parametrize("policy", ["all", "lean", "replay"])
def test_masks_that_were_not_kept_are_drawn_again(policy: Any) -> None:
    trace = net({"rate": 0.4}).run(5, record=policy)
    for i in range(1, 6):
        assert trace.value("drop.mask", i) == drawn_mask(0, i, 0.4, (4, 3))
        assert trace.value("drop.y", i) == net({"rate": 0.4}).run(5).value("drop.y", i)


def test_a_resumed_run_goes_on_with_the_masks(tmp_path: Path) -> None:
    made = net({"rate": 0.4})
    whole, first = made.run(5), made.run(2)
    file = tmp_path / "saved.json"
    file.write_text(checkpoint_text(first), encoding="utf-8")
    assert json.loads(file.read_text(encoding="utf-8"))["state"]["setting.iteration"] == [3.0]
    start, done = read_checkpoint(str(file), made)
    rest = made.run(3, start=start, done=done)
    assert first.losses + rest.losses == whole.losses
    assert rest.value("drop.mask", 3) == whole.value("drop.mask", 5)


def test_masks_belong_to_places_of_the_batch() -> None:
    """The k-th row of a batch has the same mask for any batch size: masks are drawn row by row."""
    whole = net({"rate": 0.4}).run(1)
    halves = net({"rate": 0.4}, training={"iterations": 1, "batch_size": 2}).run()
    assert halves.value("drop.mask", 1) == whole.value("drop.mask", 1)[:2]


def test_share_of_kept_elements() -> None:
    """10,000 draws of four rates: within four standard deviations."""
    for rate in (0.1, 0.25, 0.5, 0.9):
        layers = [{"type": "dropout", "name": "drop", "rate": rate}]
        data = {"inputs": [[1] * 1000] * 10}
        mask = network(json.dumps({"data": data, "layers": layers, "loss": "sum"}))["drop.mask"]
        assert abs(mask.mean() - (1 - rate)) < 4 * (rate * (1 - rate) / mask.size) ** 0.5


def test_two_layers_draw_for_themselves() -> None:
    layers = [{"type": "dropout", "name": name} for name in ("a", "b")]
    trace = load_network("n.yaml", text=json.dumps({"data": {"inputs": [[1] * 40]}, "layers": layers})).run()
    assert trace["a.mask"] != trace["b.mask"]


# after training


@pytest.mark.parametrize(("scale", "factor"), [("inverted", 1.0), ("none", 0.6)])
@pytest.mark.parametrize("mask", [None, [1, 0, 1]], ids=["drawn", "given"])
@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_inference(scale: str, factor: float, mask: Any, activation: str | None) -> None:
    fields = {"rate": 0.4, "scale": scale} | ({"mask": mask} if mask else {})
    fields |= {"activation": activation} if activation else {}
    spec = load("test.yaml", document(fields))
    made = network(document(fields), inference=True)
    expected = made["h.a"] * factor
    expected = 1 / (1 + np.exp(-expected)) if activation else expected
    np.testing.assert_allclose(made["drop.y"], expected, **EXACT)
    assert "drop.mask" not in made and "setting.iteration" not in made
    trained = {leaf.id for leaf in assemble(spec).graph.carry} - {"setting.iteration"}
    assert {leaf.id for leaf in made.graph.carry} == trained


def test_final_pass_uses_the_next_masks() -> None:
    trace, longer = net({"rate": 0.4}).run(3), net({"rate": 0.4}).run(4)
    assert trace.final["loss"] == longer.losses[3]
    assert "with the dropout masks of iteration 4" in trace.text()
    assert "dropout masks" not in net({"rate": 0.4, "mask": [1, 0, 1]}).run(3).text()


# the page


def test_page_of_a_drawn_mask() -> None:
    text = net({"rate": 0.4}, data={"inputs": X[:1], "targets": T[:1]}).run(2).text(columns=80)
    _, _, second = text.partition("iteration 2 of 2")
    assert re.search(r"drop +y = x·m/0\.6 +the mask m is drawn anew in each\n +iteration\n", text)
    assert re.search(r"drop +y = x +after training\n", text)
    assert "Layer drop: dropout, rate 0.4" in second
    assert "drop.u  random numbers from 0 to 1  u = drawn(0:drop.mask, k)" in second
    assert "k = 2" in second
    stream = random.Random("0:drop.mask:2")
    numbers = [stream.random() for _ in range(3)]
    assert " drawn: " + " ".join(f"{u:.9f}" for u in numbers) in second
    assert f" m[1] = 1 since {numbers[0]:.9f} ≥ 0.4" in second


@pytest.mark.parametrize("columns", [80, 140])
@pytest.mark.parametrize("fields", [
    {"rate": 0.4}, {"rate": 0.4, "scale": "none"}, {"rate": 0.25, "activation": "tanh"},
    {"rate": 0.4, "mask": [1, 0, 1]},
], ids=str)  # fmt: skip
def test_every_line_is_true(fields: dict[str, Any], columns: int) -> None:
    from support.page_lines import Judge, read_text

    for samples in (1, 4):
        data = {"inputs": X[:samples], "targets": T[:samples]}
        text = net(fields, data=data).run(2).text(iterations=[2], columns=columns)
        judge = Judge(9).page(read_text(text.splitlines()))
        assert not judge.problems


def test_no_name_reaches_generated_code() -> None:
    from bptrace.engine.scalar import _Code

    layers = [{"type": "dropout", "name": "größe_1'"}, {"type": "dense", "name": "o", "units": 1}]
    data = {"inputs": [[1, 2]], "targets": [[1]]}
    made = load_network("n.yaml", text=json.dumps({"data": data, "layers": layers, "loss": "half_squared_error"}))
    assembly = made.assembly()
    code = _Code(assembly, Layout(assembly), range(1))
    text = "\n".join([*code.before, *code.inside, *code.update])
    assert "drawn0(" in text
    assert "größe" not in text
    assert r"\mathrm{drawn}(\text{0:größe\_1'.mask}, " in made.run().text("markdown")


def test_explain_leads_down_to_the_stream() -> None:
    text = net({"rate": 0.4}, data={"inputs": X[:1], "targets": T[:1]}).run(2).explain("drop.mask[1]", 2)
    assert "drawn(0:drop.mask, 2, 1)" in text


# what is refused


@pytest.mark.parametrize(("fields", "said"), [
    ({"rate": 1}, "layers[1].rate: cannot be 1; expected a number below 1"),
    ({"rate": -0.1}, "layers[1].rate: cannot be -0.1; expected a number of at least 0"),
    ({"rate": "0.5"}, "layers[1].rate: not a number: the text '0.5'"),
    ({"mask": [1, 0, 1], "seed": 1}, "layers[1].seed: a given mask is not drawn; expected mask or seed"),
    ({"mask": [1, 0]}, "layers[1].mask: the shape is [2]; expected a number, the shape [3] (unit) or [4, 3] (sample,"),
    ({"mask": [[1, 0, 1]]}, "layers[1].mask: the shape is [1, 3]"),
    ({"mask": [1, 0.5, 1]}, "layers[1].mask[1]: cannot be 0.5; expected 0 (dropped) or 1 (kept)"),
    ({"mask": [1, True, 1]}, "layers[1].mask[1]:"),
    ({"mask": 2}, "layers[1].mask: cannot be 2"),
    ({"seed": -1}, "layers[1].seed: cannot be -1"),
    ({"scale": "invert"}, "layers[1].scale: cannot be"),
    ({"keep": 0.5}, "layers[1].keep: unknown key 'keep'"),
    ({"names": {"z": "s", "weights": "w"}}, "layers[1].names.weights: dropout has no part 'weights'"),
], ids=str)  # fmt: skip
def test_mistakes(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as raised:
        network(document(fields))
    assert said in str(raised.value)


def test_every_bad_number_of_a_mask_is_told() -> None:
    with pytest.raises(SpecError) as raised:
        network(document({"mask": [[1, 2, 0], [0, 0, -1], [1, 1, 1], [0.5, 1, 1]]}))
    assert len(raised.value.problems) == 3


def test_a_mask_of_units_holds_for_every_time_step() -> None:
    sequence = {"inputs": [[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]}
    layers = [{"type": "dropout", "name": "d", "rate": 0.5, "mask": [1, 0]}]
    found = load_network("test.yaml", text=json.dumps({"data": sequence, "layers": layers})).run()
    assert found["d.mask"] == [[[1, 0], [1, 0], [1, 0]]]
    assert found["d.y"] == [[[2, 0], [6, 0], [10, 0]]]
