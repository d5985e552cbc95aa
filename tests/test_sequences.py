"""Sequences among layers: time masks, states from other layers, ignored classes, one time step's share.

The witness is PyTorch in float64: packed sequences, its own recurrent layers and losses.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bptrace.errors import SpecError
from bptrace.formula.evaluate import Floats, evaluate
from bptrace.graph.lookup import LookupFailedError, find_part, formula
from bptrace.network import load
from tests.support.interpreter import network

torch = pytest.importorskip("torch", reason="sequences are compared with PyTorch")
F = torch.nn.functional
NETWORKS = Path(__file__).parent.parent / "networks"
KINDS: dict[str, tuple[Any, int]] = {"rnn": (torch.nn.RNN, 1), "lstm": (torch.nn.LSTM, 4), "gru": (torch.nn.GRU, 3)}
ORDER = {"rnn": "", "lstm": "ifgo", "gru": "rzn"}
PARTS = {"weight_ih": "weights", "weight_hh": "recurrent", "bias_ih": "bias", "bias_hh": "recurrent_bias"}
SIGNS = {"weights": "W", "recurrent": "U", "bias": "b", "recurrent_bias": "rb"}


def text(layers: Any, inputs: Any, targets: Any = None, **rest: Any) -> str:
    data = {"inputs": inputs} if targets is None else {"inputs": inputs, "targets": targets}
    return json.dumps({"data": data, "layers": layers, **rest}, default=lambda array: array.tolist())


def run(*arguments: Any, **rest: Any) -> Any:
    return load("sequences.yaml", text=text(*arguments, **rest)).run()


def module(kind: str, features: int, units: int, seed: int, both: bool = False) -> Any:
    torch.manual_seed(seed)
    return KINDS[kind][0](features, units, batch_first=True, bidirectional=both).double()


def fields(kind: str, made: Any, suffix: str = "_l0") -> dict[str, Any]:
    """The parameters of PyTorch's layer as YAML fields."""
    arrays = {part: getattr(made, f"{name}{suffix}").detach().numpy() for name, part in PARTS.items()}
    return {part: a if kind == "rnn" else {"packed": a, "order": ORDER[kind]} for part, a in arrays.items()}


def compare(trace: Any, kind: str, made: Any, name: str, suffix: str = "_l0", prefix: str = "") -> None:
    """The gradients of all parameters."""
    for parameter, part in PARTS.items():
        expected = getattr(made, f"{parameter}{suffix}").grad.numpy()
        gates = [f"_{gate}" for gate in ORDER[kind]] or [""]
        found = np.concatenate([np.array(trace[f"grad.{name}.{prefix}{SIGNS[part]}{gate}"]) for gate in gates])
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12, err_msg=part)


# Time masks


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("both", [False, True])
def test_padded_and_masked_is_packed(kind: str, both: bool) -> None:
    lengths, stream = [4, 2, 3], np.random.default_rng(1)
    x = stream.normal(size=(3, 4, 2))
    mask = [[int(t < length) for t in range(4)] for length in lengths]
    made = module(kind, 2, 3, 2, both)
    given = torch.tensor(x, requires_grad=True)
    packed = torch.nn.utils.rnn.pack_padded_sequence(given, torch.tensor(lengths), True, enforce_sorted=False)
    _, last = made(packed)
    last = last[0] if kind == "lstm" else last
    out = torch.cat(tuple(last), 1)
    (out**2).sum().div(2).backward()  # type: ignore[no-untyped-call]
    layer = {"type": kind, "name": "l", "units": 3, "mask": mask, **fields(kind, made)}
    if both:
        layer["bidirectional"] = fields(kind, made, "_l0_reverse")
    trace = run([layer], x, np.zeros((3, 6 if both else 3)), loss={"type": "half_squared_error", "reduction": "sum"})
    np.testing.assert_allclose(trace["l.y"], out.detach().numpy(), rtol=1e-10)
    np.testing.assert_allclose(trace["grad.x"], given.grad.numpy(), rtol=1e-9, atol=1e-13)
    compare(trace, kind, made, "l")
    if both:
        compare(trace, kind, made, "l", "_l0_reverse", "reverse.")


@pytest.mark.parametrize("kind", KINDS)
def test_a_masked_step_repeats_state_and_output(kind: str) -> None:
    layer = {"type": kind, "name": "l", "units": 2, "output": "sequence", "mask": [[1, 0, 1, 0], [1, 1, 1, 0]]}
    trace = run([layer], np.arange(8.0).reshape(2, 4, 1) / 8)
    y = np.array(trace["l.y"])
    np.testing.assert_array_equal(y[0, 1], y[0, 0])
    np.testing.assert_array_equal(y[:, 3], y[:, 2])
    assert np.all(y[1, 1] != y[1, 0])
    ids = trace.assembly(1).graph.by_id
    assert {"l.h_read@2", "l.h_read@4"} <= set(ids) and "l.h_read@1" not in ids  # only where one passes over
    if kind == "lstm":
        assert np.array(trace["l.c@2"])[0] == pytest.approx(np.array(trace["l.c@1"])[0], abs=0)


def test_a_mask_of_ones_changes_nothing_and_batches_take_their_rows() -> None:
    x, target = np.arange(8.0).reshape(4, 2, 1) / 8, [[0.1], [0.2], [0.3], [0.4]]
    layer = {"type": "rnn", "name": "l", "units": 1}
    plain = load("a.yaml", text=text([layer], x)).assembly().graph
    masked = load("b.yaml", text=text([{**layer, "mask": [1, 1]}], x)).assembly().graph
    assert [node.id for node in plain.nodes] == [node.id for node in masked.nodes]
    rest: dict[str, Any] = {
        "loss": "half_squared_error", "optimizer": {"type": "sgd", "learning_rate": 0.1},
        "training": {"epochs": 1, "batch_size": 2},
    }  # fmt: skip
    trace = run([{**layer, "mask": [[1, 1], [1, 1], [1, 0], [0, 1]]}], x, target, **rest)
    assert np.array(trace.value("l.mask", iteration=2)).tolist() == [[1, 0], [0, 1]]
    np.testing.assert_array_equal(trace.value("l.h@2", iteration=1), trace.value("l.h_read@2", iteration=1))
    second = np.array(trace.value("l.h@2", iteration=2))
    assert second[0] == np.array(trace.value("l.h@1", iteration=2))[0]
    one = run([{**layer, "mask": [1, 0, 1]}], np.ones((2, 3, 1)))
    np.testing.assert_array_equal(one["l.h@2"], one["l.h@1"])


def test_gradients_of_steps_that_nothing_reads_are_zero() -> None:
    trace = run([{"type": "rnn", "name": "l", "units": 1, "mask": [1, 0, 1]}], [[[1], [2], [3]]], [[0]], loss="sum")
    assert np.array(trace["grad.x"])[0, 1] == 0 and np.all(np.array(trace["grad.x"])[0, [0, 2]] != 0)
    layer = {"type": "rnn", "name": "l", "units": 1, "output": "sequence"}
    trace = run([layer], [[[1], [2], [3]]], upstream={"l.h@2": 1})
    assert np.array(trace["grad.x"])[0, 2] == 0 and np.all(np.array(trace["grad.x"])[0, :2] != 0)
    ids = trace.assembly(1).graph.by_id
    assert not any(id.startswith("grad.x/") for id in ids)  # the steps stand side by side


# States from other layers


@pytest.mark.parametrize("kind", KINDS)
def test_a_decoder_starts_where_the_encoder_ends(kind: str) -> None:
    stream = np.random.default_rng(3)
    source, shifted, target = (stream.normal(size=shape) for shape in ((2, 3, 2), (2, 2, 2), (2, 2, 3)))
    encoder, decoder = module(kind, 2, 3, 4), module(kind, 2, 3, 5)
    read = torch.tensor(source, requires_grad=True)
    _, state = encoder(read)
    out, _ = decoder(torch.tensor(shifted), state)
    (0.5 * (out - torch.tensor(target)) ** 2).sum().div(2).backward()
    layers = [
        {"type": kind, "name": "enc", "input": "source", "units": 3, **fields(kind, encoder)},
        {
            "type": kind, "name": "dec", "input": "shifted", "units": 3, "initial_state": "enc", "output": "sequence",
            **fields(kind, decoder),
        },
    ]  # fmt: skip
    inputs = {"source": source, "shifted": shifted}
    trace = run(layers, inputs, target, loss="half_squared_error")
    np.testing.assert_allclose(trace["dec.y"], out.detach().numpy(), rtol=1e-10)
    np.testing.assert_allclose(trace["grad.source"], read.grad.numpy(), rtol=1e-9, atol=1e-12)
    compare(trace, kind, encoder, "enc")
    compare(trace, kind, decoder, "dec")
    # the same by the names of the nodes
    layers[1]["initial_state"] = {"h": "enc.h@3", **({"c": "enc.c@3"} if kind == "lstm" else {})}
    again = run(layers, inputs, target, loss="half_squared_error")
    np.testing.assert_array_equal(again["dec.y"], trace["dec.y"])
    np.testing.assert_array_equal(again["grad.enc.h@3"], trace["grad.enc.h@3"])


def test_a_state_may_be_an_earlier_one_a_layer_or_an_input() -> None:
    first = {"type": "lstm", "name": "a", "units": 2, "output": "sequence"}
    second = {"type": "lstm", "name": "b", "input": "x", "units": 2}
    x = [[[0.5], [1.0]]]
    trace = run([first, {**second, "initial_state": {"h": "a", "c": "a.c@1"}}], {"x": x, "features": [[1, 2]]})
    assert trace["b.h@0"] == trace["a.h@2"] and trace["b.c@0"] == trace["a.c@1"]
    trace = run([first, {**second, "initial_state": {"h": "features"}}], {"x": x, "features": [[1, 2]]})
    assert trace["b.h@0"] == [[1.0, 2.0]] and trace["b.c@0"] == [[0.0, 0.0]]
    both = {"type": "gru", "name": "e", "units": 2, "bidirectional": True}
    reverse = {"type": "gru", "name": "d", "input": "x", "units": 2}
    trace = run([both, {**reverse, "bidirectional": {"initial_state": "e"}, "initial_state": "e"}], {"x": x})
    assert trace["d.h@0"] == trace["e.h@2"] and trace["d.reverse.h@0"] == trace["e.reverse.h@1"]


STATES: list[tuple[str, Any, str, str]] = [
    ("lstm", "enx", "layers[1].initial_state", "no layer, input or node 'enx' above; did you mean 'enc'?"),
    ("lstm", {"h": "enc.h@9"}, "layers[1].initial_state.h", "no layer, input or node 'enc.h@9' above"),
    ("lstm", {"c": "enc"}, "layers[1].initial_state.c", "enc has no state 'c'; expected the id of a node above"),
    ("rnn", "wide", "layers[1].initial_state", "wide has the shape [1, 3]; expected the shape [1, 2] (samples, units)"),
    ("rnn", "dec", "layers[1].initial_state", "no layer, input or node 'dec' above"),
    ("rnn", {"h": True}, "layers[1].initial_state.h", "not a number"),
]


@pytest.mark.parametrize(("kind", "state", "path", "said"), STATES)
def test_a_state_that_is_no_state_is_refused(kind: str, state: Any, path: str, said: str) -> None:
    layers = [
        {"type": "gru", "name": "enc", "input": "x", "units": 2},
        {"type": kind, "name": "dec", "input": "x", "units": 2, "initial_state": state},
    ]
    with pytest.raises(SpecError) as caught:
        run(layers, {"x": [[[1.0], [2.0]]], "wide": [[1, 2, 3]]})
    assert f"{path}: " in str(caught.value) and ":1:" in str(caught.value)
    assert said in str(caught.value), str(caught.value)


def test_which_of_two_states_a_plain_layer_gives_is_asked() -> None:
    layers = [
        {"type": "dense", "name": "d", "input": "features", "units": 2},
        {"type": "lstm", "input": "words", "units": 2, "initial_state": "d"},
    ]
    with pytest.raises(SpecError, match=r"which state is this\? lstm has h and c; expected .*{h: d}"):
        run(layers, {"features": [[1.0]], "words": [[[1.0]]]})


# Losses over time


@pytest.mark.parametrize("ignore", [0, 2, -100])
@pytest.mark.parametrize("logits", [True, False])
def test_ignored_classes_add_nothing(ignore: int, logits: bool) -> None:
    """PyTorch's ignore_index; the mean is over the samples here, not over what counts."""
    stream = np.random.default_rng(6)
    x, w = stream.normal(size=(2, 3, 2)), stream.normal(size=(3, 2))
    numbers = [[1, ignore, 0], [ignore, ignore, 2 if ignore != 2 else 1]]
    given = torch.tensor(w, requires_grad=True)
    out = (torch.tensor(x) @ given.T).reshape(-1, 3)
    loss = F.cross_entropy(out, torch.tensor(numbers).ravel(), ignore_index=ignore, reduction="sum") / 2
    loss.backward()
    layer = {"type": "dense", "name": "o", "units": 3, "weights": w, "bias": False}
    kind = "cross_entropy_with_logits"
    if not logits:
        layer["activation"], kind = "softmax", "cross_entropy"
    trace = run([layer], x, numbers, loss={"type": kind, "ignore": ignore})
    assert trace["loss"] == pytest.approx(loss.item(), rel=1e-12)
    assert sum(trace[f"loss@{t}"] for t in (1, 2, 3)) == pytest.approx(loss.item(), rel=1e-12)
    np.testing.assert_allclose(trace["grad.o.W"], given.grad.numpy(), rtol=1e-10)
    assert not np.any(np.array(trace["t"])[1, :2])


IGNORED: list[tuple[Any, Any, str]] = [
    ({"type": "half_squared_error", "ignore": 0}, [[0, 1]], "half_squared_error has no class numbers to ignore"),
    ({"type": "cross_entropy", "ignore": 0}, [[[1, 0], [0, 1]]], "t are no class numbers"),
    ({"type": "cross_entropy", "ignore": 0.5}, [[0, 1]], "loss.ignore"),
    ({"type": "cross_entropy", "ignore": 5}, [[0, 7]], "7 is no class; expected a whole number from 0 to 1, or 5"),
    (
        [{"type": "cross_entropy", "ignore": 0}, {"type": "cross_entropy"}],
        [[0, 1]],
        "another loss of the targets t ignores 0; expected the same, not none",
    ),
]


@pytest.mark.parametrize(("loss", "targets", "said"), IGNORED)
def test_what_cannot_be_ignored(loss: Any, targets: Any, said: str) -> None:
    layer = {"type": "dense", "name": "o", "units": 2, "activation": "softmax"}
    with pytest.raises(SpecError) as caught:
        run([layer], [[[1.0], [2.0]]], targets, loss=loss)
    assert said in str(caught.value)


def test_a_class_number_is_refused_at_its_place_among_several_targets() -> None:
    layer = {"type": "dense", "name": "o", "units": 2, "activation": "softmax"}
    with pytest.raises(SpecError, match=r"data.targets.words\[0\]\[1\]: 7 is no class"):
        run([layer], [[[1.0], [2.0]]], {"words": [[0, 7]]}, loss={"type": "cross_entropy", "targets": "words"})


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_seed_at_any_step(step: int) -> None:
    made = module("lstm", 1, 2, 7)
    x = torch.tensor([[[0.5], [1.0], [-1.0]]], dtype=torch.float64, requires_grad=True)
    out, _ = made(x)
    (out[:, step - 1] * torch.tensor([[2.0, -1.0]])).sum().backward()  # type: ignore[no-untyped-call]
    for output in ("last", "sequence"):
        layer = {"type": "lstm", "name": "l", "units": 2, "output": output, **fields("lstm", made)}
        trace = run([layer], x.detach().numpy(), upstream={f"l.h@{step}": [[2, -1]]})
        compare(trace, "lstm", made, "l")
        np.testing.assert_allclose(trace["grad.x"], x.grad.numpy(), rtol=1e-10, atol=1e-13)


# One time step's share


SHARED = [
    ([{"type": "rnn", "name": "l", "units": 2}], {}),
    ([{"type": "gru", "name": "l", "units": 2, "reverse": True}], {"conventions": {"delta_sign": "error"}}),
    ([{"type": "lstm", "name": "l", "units": 2, "mask": [[1, 1, 1], [1, 0, 0]]}], {}),
    ([{"type": "rnn", "name": "l", "units": 2, "bidirectional": True}], {"conventions": {"delta_scale": "sample"}}),
]


@pytest.mark.parametrize(("layers", "rest"), SHARED)
def test_the_shares_of_the_time_steps_add_up(layers: Any, rest: Any) -> None:
    layers = [{**layers[0], "output": "sequence"}, {"type": "dense", "name": "o", "units": 1}]
    x, target = np.arange(12.0).reshape(2, 3, 2) / 10, np.ones((2, 3, 1))
    computed = network(text(layers, x, target, loss="half_squared_error", **rest))
    graph, values = computed.graph, computed.values
    parameters = [node.id for node in graph.nodes if node.phase == "parameter"]
    assert len(parameters) > 3
    for id in parameters:
        gradient = graph.by_id[f"grad.{id}"]
        total = np.zeros(gradient.shape)
        for step in (1, 2, 3):
            part = find_part(graph, f"grad.{id}@{step}")
            assert part.step == step and part.node is gradient
            shares = [evaluate(formula(part, k), lambda r: values[r.node][r.index], Floats()) for k in part.elements]
            total += np.reshape(shares, gradient.shape)
        np.testing.assert_allclose(total, values[gradient], rtol=1e-12, atol=1e-15, err_msg=id)


def test_a_share_is_what_its_step_reads() -> None:
    layers = [{"type": "rnn", "name": "l", "units": 2, "names": {"W": [["w1", "w2"], ["w3", "w4"]]}}]
    trace = run(layers, np.arange(12.0).reshape(2, 3, 2) / 10, [[1, 0], [0, 1]], loss="half_squared_error")
    delta, x = np.array(trace["l.delta@2"]), np.array(trace["x@2"])
    for name in ("grad.l.W@2[1,2]", "grad.l.W[1,2]@2", "grad.w2@2"):
        said = str(trace.explain(name, depth=0))
        assert f"{float(delta[:, 0] @ x[:, 1]):.9f}" in said, said
    one = str(trace.explain("grad.w2@2/sample1", depth=0))
    assert f"{delta[0, 0] * x[0, 1]:.9f}" in one
    graph = trace.assembly(1).graph
    for wrong, said in (
        ("grad.l.W@4", "nothing comes back to grad.l.W from a time step 4"),
        ("grad.l.W@2/sample3", "sums 2 samples, there is no sample 3"),
        ("l.W@2", "there is no 'l.W@2'"),
        ("grad.l.Q@2", "there is no 'l.Q@2'"),
    ):
        with pytest.raises(LookupFailedError, match=said):
            find_part(graph, wrong)


# The bundled networks


def test_encoder_and_decoder_against_pytorch() -> None:
    """Both bundled networks, with and without attention, from their YAML."""
    for name in ("encoder-decoder", "encoder-decoder-attention"):
        given = yaml.safe_load((NETWORKS / f"{name}.yaml").read_text(encoding="utf-8"))
        layers = {layer["name"]: layer for layer in given["layers"]}
        tensors = {
            f"{layer}.{sign}": torch.tensor(np.array(layers[layer][part], dtype=float), requires_grad=True)
            for layer in ("enc", "dec", "o")
            for part, sign in (("weights", "W"), ("recurrent", "U"))
            if part in layers[layer]
        }

        def walk(layer: str, x: Any, h: Any, tensors: dict[str, Any] = tensors) -> list[Any]:
            states = []
            for t in range(2):
                h = torch.tanh(x[:, t] @ tensors[f"{layer}.W"].T + h @ tensors[f"{layer}.U"].T)
                states.append(h)
            return states

        data = {key: torch.tensor(np.array(rows, dtype=float)) for key, rows in given["data"]["inputs"].items()}
        read = walk("enc", data["source"], torch.zeros(1, 2, dtype=torch.float64))
        out = torch.stack(walk("dec", data["shifted"], read[-1]), 1)
        if "att" in layers:
            context = torch.stack(read, 1)
            looked_at = torch.softmax(out @ context.transpose(1, 2), -1) @ context
            out = torch.cat([out, looked_at], -1)
        logits = out @ tensors["o.W"].T
        loss = F.cross_entropy(logits[0], torch.tensor(given["data"]["targets"][0]), reduction="sum")
        loss.backward()
        trace = load(str(NETWORKS / f"{name}.yaml")).run()
        assert trace.losses[0] == pytest.approx(loss.item(), rel=1e-12)
        for id, tensor in tensors.items():
            np.testing.assert_allclose(trace.value(f"grad.{id}", iteration=1), tensor.grad.numpy(), rtol=1e-10)


def test_only_shows_a_share_with_its_numbers(command: Any) -> None:
    """Both time steps' shares of a weight's gradient, which add up to the gradient."""
    shown: list[float] = []
    for id in ("grad.enc.W@1[1,2]", "grad.enc.W@2[1,2]", "grad.enc.W[1,2]"):
        page = command("run", "encoder-decoder", "--only", id, "--show", "1", "--digits", "12", "--width", "200").out
        shown.append(float(page.rstrip().rpartition(" ")[2]))
    assert shown[0] + shown[1] == pytest.approx(shown[2], abs=1e-12)
    assert "∂E/∂W[1,1]@2 = δ@2[1]·source[2,1] = " in command("run", "encoder-decoder", "--only", "grad.enc.W@2").out
    wrong = command("run", "encoder-decoder", "--only", "grad.enc.W@3")
    assert wrong.code == 2 and "nothing comes back to grad.enc.W from a time step 3" in wrong.err
