"""Recurrent layers and embeddings: against PyTorch with the same weights, their ids, and what they refuse."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.interpreter import network, places, value_of

from bptrace.errors import SpecError
from bptrace.graph.op import formula_of
from bptrace.graph.sources import sources
from bptrace.network import load

torch = pytest.importorskip("torch", reason="the recurrent layers are compared with PyTorch")
torch.set_num_threads(1)
GATES = {"rnn": [""], "lstm": ["i", "f", "g", "o"], "gru": ["r", "z", "n"]}
KINDS = sorted(GATES)
MODULES: dict[str, Any] = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
SIGNS = {"weights": "W", "recurrent": "U", "bias": "b", "recurrent_bias": "rb"}


def text(layers: Any, inputs: Any, targets: Any = None, **rest: Any) -> str:
    data = {"inputs": inputs} if targets is None else {"inputs": inputs, "targets": targets}
    return json.dumps({"data": data, "layers": layers, **rest}, default=lambda array: array.tolist())


def run(*arguments: Any, **rest: Any) -> Any:
    return load("recurrent.yaml", text=text(*arguments, **rest)).run()


def tensor(value: Any) -> torch.Tensor:
    return torch.tensor(np.asarray(value, dtype=float), requires_grad=True)


class Drawn:
    """A layer with random parameters, as YAML fields and as tensors by their ids."""

    def __init__(
        self, kind: str, sizes: tuple[int, int, int, int], seed: int, prefix: str = "", second: bool = True
    ) -> None:
        self.kind, self.sizes = kind, sizes
        self.samples, self.steps, self.features, self.units = sizes
        self.stream = np.random.default_rng(seed)
        self.fields: dict[str, Any] = {}
        self.tensors: dict[str, torch.Tensor] = {}
        shapes = {"weights": (self.units, self.features), "recurrent": (self.units, self.units)}
        for part, sign in SIGNS.items():
            if part == "recurrent_bias" and not second:
                continue
            arrays = {gate: self.normal(*shapes.get(part, (self.units,))) for gate in GATES[kind]}
            self.fields[part] = arrays if kind != "rnn" else arrays[""]
            for gate, array in arrays.items():
                self.tensors[f"l.{prefix}{sign}_{gate}" if gate else f"l.{prefix}{sign}"] = tensor(array)
        state = {name: self.normal(self.samples, self.units) for name in ("h", "c")[: 2 if kind == "lstm" else 1]}
        self.fields["initial_state"] = state
        for name, array in state.items():
            self.tensors[f"l.{prefix}{name}@0"] = tensor(array)

    def normal(self, *shape: int) -> Any:
        return self.stream.normal(size=shape)

    @property
    def x(self) -> Any:
        return self.normal(self.samples, self.steps, self.features)

    def joined(self, sign: str, prefix: str = "") -> torch.Tensor:
        """One parameter of all gates, as PyTorch has it."""
        return torch.cat(
            [self.tensors[f"l.{prefix}{sign}_{g}" if g else f"l.{prefix}{sign}"] for g in GATES[self.kind]]
        )


def modules(drawn: Drawn, second: Drawn | None, x: torch.Tensor) -> torch.Tensor:
    """The sequence of outputs by PyTorch's own layer, whose gradients reach the tensors."""
    module = MODULES[drawn.kind](
        drawn.features, drawn.units, batch_first=True, bidirectional=second is not None
    ).double()
    names = {"weight_ih_l0": "W", "weight_hh_l0": "U", "bias_ih_l0": "b", "bias_hh_l0": "rb"}
    weights = {name: drawn.joined(sign) for name, sign in names.items()}
    states = [[drawn.tensors[f"l.{s}@0"]] for s in drawn.fields["initial_state"]]
    if second is not None:
        weights |= {f"{name}_reverse": second.joined(sign, "reverse.") for name, sign in names.items()}
        for place, s in zip(states, second.fields["initial_state"], strict=True):
            place.append(second.tensors[f"l.reverse.{s}@0"])
    first = tuple(torch.stack(place) for place in states)
    out, _ = torch.func.functional_call(module, weights, (x, first if drawn.kind == "lstm" else first[0]))
    return torch.as_tensor(out)


def compare(trace: Any, tensors: dict[str, torch.Tensor]) -> None:
    for id, value in tensors.items():
        np.testing.assert_allclose(trace[f"grad.{id}"], value.grad.numpy(), rtol=1e-9, atol=1e-11, err_msg=id)


SIZES = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))


@pytest.mark.parametrize("kind", KINDS)
@given(sizes=SIZES, seed=st.integers(0, 10**6), way=st.sampled_from(["forward", "reverse", "both"]), last=st.booleans())
@settings(max_examples=12, deadline=None)
def test_layer_is_pytorchs(kind: str, sizes: tuple[int, int, int, int], seed: int, way: str, last: bool) -> None:
    drawn = Drawn(kind, sizes, seed)
    second = Drawn(kind, sizes, seed + 1, "reverse.") if way == "both" else None
    x = drawn.x
    layer = {"type": kind, "name": "l", "units": drawn.units, "output": "last" if last else "sequence", **drawn.fields}
    if way == "reverse":
        layer["reverse"] = True
    if second is not None:
        layer["bidirectional"] = second.fields
    given_x = tensor(x)
    out = modules(drawn, second, given_x.flip(1) if way == "reverse" else given_x)
    out = out.flip(1) if way == "reverse" else out
    if last:  # both last computed states
        ends = [out[:, 0 if way == "reverse" else -1, : drawn.units], out[:, 0, drawn.units :]]
        out = torch.cat(ends, 1)
    target = drawn.normal(*out.shape)
    loss = (0.5 * (out - torch.tensor(target)) ** 2).sum() / drawn.samples
    loss.backward()  # type: ignore[no-untyped-call]
    trace = run([layer], x, target, loss="half_squared_error")
    np.testing.assert_allclose(trace["l.y"], out.detach().numpy(), rtol=1e-10, atol=1e-12)
    assert trace["loss"] == pytest.approx(loss.item(), rel=1e-11)
    if not last:
        assert sum(trace[f"loss@{t}"] for t in range(1, drawn.steps + 1)) == pytest.approx(loss.item(), rel=1e-11)
    compare(trace, {**drawn.tensors, **(second.tensors if second else {}), "x": given_x})


def gru(drawn: Drawn, x: torch.Tensor, reset: str, keep: str) -> torch.Tensor:
    p = drawn.tensors
    h, out = p["l.h@0"], []
    for t in range(drawn.steps):
        r, z = (
            torch.sigmoid(x[:, t] @ p[f"l.W_{g}"].T + p[f"l.b_{g}"] + h @ p[f"l.U_{g}"].T + p[f"l.rb_{g}"])
            for g in "rz"
        )
        before, after = (r * h, 1) if reset == "before" else (h, r)
        inner = after * (before @ p["l.U_n"].T + p["l.rb_n"])
        n = torch.tanh(x[:, t] @ p["l.W_n"].T + p["l.b_n"] + inner)
        h = (1 - z) * n + z * h if keep == "old" else (1 - z) * h + z * n
        out.append(h)
    return torch.stack(out, 1)


@pytest.mark.parametrize("reset", ["after", "before"])
@pytest.mark.parametrize("keep", ["old", "candidate"])
def test_gru_conventions(reset: str, keep: str) -> None:
    drawn = Drawn("gru", (2, 3, 2, 3), 4)
    x = drawn.x
    given_x = tensor(x)
    out = gru(drawn, given_x, reset, keep)
    weight = drawn.normal(*out.shape)
    (out * torch.tensor(weight)).sum().backward()  # type: ignore[no-untyped-call]
    layer = {"type": "gru", "name": "l", "units": 3, "output": "sequence", "reset": reset, "keep": keep, **drawn.fields}
    trace = run([layer], x, upstream={"l.y": weight})
    np.testing.assert_allclose(trace["l.y"], out.detach().numpy(), rtol=1e-12)
    compare(trace, {**drawn.tensors, "x": given_x})


@pytest.mark.parametrize("length", [1, 2, 3, 9])
def test_truncated_backpropagation_stops_between_stretches(length: int) -> None:
    drawn = Drawn("rnn", (2, 5, 2, 3), 5)
    x, p = drawn.x, drawn.tensors
    given_x = tensor(x)
    h, out = p["l.h@0"], []
    for t in range(5):
        if t and t % length == 0:
            h = h.detach()
        h = torch.tanh(given_x[:, t] @ p["l.W"].T + p["l.b"] + h @ p["l.U"].T + p["l.rb"])
        out.append(h)
    weight = drawn.normal(2, 5, 3)
    (torch.stack(out, 1) * torch.tensor(weight)).sum().backward()  # type: ignore[no-untyped-call]
    layer = {"type": "rnn", "name": "l", "units": 3, "output": "sequence", "truncate": length, **drawn.fields}
    trace = run([layer], x, upstream={"l.y": weight})
    compare(trace, {**p, "x": given_x})


def test_two_layers_read_each_others_steps_and_share() -> None:
    """The second layer's steps read those of the first; with `share` one set of weights serves both."""
    drawn = Drawn("lstm", (2, 3, 2, 2), 6)
    x, target = drawn.x, drawn.normal(2, 2)
    first = {"type": "lstm", "name": "l", "units": 2, "output": "sequence", **drawn.fields}
    second = {"type": "lstm", "name": "m", "units": 2, "share": "l"}
    given_x = tensor(x)
    once = modules(drawn, None, given_x)
    state = [drawn.tensors[f"l.{s}@0"].detach().clone() * 0 for s in "hc"]
    names = {"weight_ih_l0": "W", "weight_hh_l0": "U", "bias_ih_l0": "b", "bias_hh_l0": "rb"}
    module = torch.nn.LSTM(2, 2, batch_first=True).double()
    weights = {name: drawn.joined(sign) for name, sign in names.items()}
    twice, _ = torch.func.functional_call(module, weights, (once, tuple(s[None] for s in state)))
    (0.5 * (twice[:, -1] - torch.tensor(target)) ** 2).sum().div(2).backward()
    trace = run([first, second], x, target, loss="half_squared_error")
    np.testing.assert_allclose(trace["m.y"], twice[:, -1].detach().numpy(), rtol=1e-10)
    compare(trace, drawn.tensors)
    assert sources(trace.assembly(1).graph.by_id["m.z_i@2"])[0].id == "l.h@2"
    steps = [trace[f"grad.l.y@{t}"] for t in range(1, x.shape[1] + 1)]
    np.testing.assert_array_equal(trace["grad.l.y"], np.stack(steps, axis=1))


# Ids, formulas, the other mode


def small(kind: str, **fields: Any) -> dict[str, Any]:
    drawn = Drawn(kind, (1, 2, 2, 1), 7, second=kind != "lstm")
    return {"type": kind, "name": "l", "units": 1, "output": "sequence", **drawn.fields, **fields}


SEQUENCE = [[[1.0, 2.0], [0.5, 3.0]]]

QUANTITIES = {
    "rnn": "z h",
    "lstm": "z_i i z_f f z_g g z_o o c tanh_c h",
    "gru": "z_r r z_z z u_n z_n n h",
}


@pytest.mark.parametrize("kind", KINDS)
def test_ids(kind: str) -> None:
    computed = network(text([small(kind)], SEQUENCE, [[[0.5], [1.0]]], loss="half_squared_error"))
    ids = [node.id for node in computed.graph.nodes if node.phase == "forward" and node.step == 2 and not node.inline]
    assert ids == [f"l.{quantity}@2" for quantity in QUANTITIES[kind].split()]
    for gate in GATES[kind]:
        tail = f"_{gate}" if gate else ""
        for sign in ("W", "U", "b"):
            assert f"grad.l.{sign}{tail}" in computed
        delta = computed.graph.by_id[f"l.delta{tail}@1"]
        assert computed.graph.by_id[f"grad.l.z{tail}@1"] is delta
        assert not any(id.startswith("grad.l.W") and "/" in id for id in computed.ids("grad."))
    assert {"l.h@0", "x@1", "l.y", "grad.x", "grad.l.h@0", "loss@1", "loss@2"} <= set(computed.graph.by_id)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fields", [{}, {"bidirectional": True, "output": "last"}, {"truncate": 1}], ids=str)
def test_every_formula_is_its_kernel(kind: str, fields: dict[str, Any]) -> None:
    targets = [[0.5, 1.0]] if "bidirectional" in fields else [[[0.5], [1.0]]]
    computed = network(text([small(kind, **fields)], SEQUENCE, targets, loss="half_squared_error"))
    for node in computed.graph.nodes:
        if node.inputs:
            for place in places(node):
                found, kernel = value_of(formula_of(node, place), computed.values), computed.values[node][place]
                assert abs(found - kernel) <= 1e-12 * max(1.0, abs(kernel)), node


@pytest.mark.parametrize("kind", KINDS)
def test_forward_mode_agrees(kind: str) -> None:
    computed = network(text([small(kind)], SEQUENCE, [[[0.5], [1.0]]], loss="half_squared_error", tangents="inputs"))
    for place in places(computed.graph.by_id["x"]):
        label = ",".join(str(k + 1) for k in place)
        assert computed[f"tangent.x[{label}].loss"] == pytest.approx(computed["grad.x"][place], rel=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("conventions", [{"delta_sign": "error"}, {"delta_scale": "sample"}], ids=str)
def test_the_sign_and_scale_of_deltas_change_no_gradient(kind: str, conventions: dict[str, str]) -> None:
    drawn = Drawn(kind, (2, 3, 2, 2), 8)
    x, target = drawn.x, drawn.normal(2, 3, 2)
    layer = {"type": kind, "name": "l", "units": 2, "output": "sequence", **drawn.fields}
    plain = run([layer], x, target, loss="half_squared_error")
    other = run([layer], x, target, loss="half_squared_error", conventions=conventions)
    factor = -1 if "delta_sign" in conventions else 2
    gate = GATES[kind][0]
    tail = f"_{gate}" if gate else ""
    np.testing.assert_allclose(other[f"l.delta{tail}@2"], factor * np.array(plain[f"l.delta{tail}@2"]), rtol=1e-12)
    for id in drawn.tensors:
        np.testing.assert_allclose(other[f"grad.{id}"], plain[f"grad.{id}"], rtol=1e-11, atol=1e-14)
    assert not [n.id for n in other.assembly(1).graph.nodes if n.id.startswith("grad.l.W") and "/" in n.id]


@pytest.mark.parametrize("order", ["simultaneous", "sequential"])
def test_training_in_batches_takes_each_samples_state(order: str) -> None:
    drawn = Drawn("gru", (4, 3, 2, 2), 9)
    x, target = drawn.x, drawn.normal(4, 2)
    layer = {"type": "gru", "name": "l", "units": 2, **drawn.fields}
    rest = {"loss": "half_squared_error", "optimizer": {"type": "sgd", "learning_rate": 0.1}}
    training = {"epochs": 2, "batch_size": 2}
    trace = run([layer], x, target, training=training, conventions={"update_order": order}, **rest)
    assert trace.count == 4
    first = drawn.fields["initial_state"]["h"]
    np.testing.assert_array_equal(trace.value("l.h@0", iteration=2), first[2:])
    assert trace.losses[2] < trace.losses[0]


def test_numbers_and_false_hold_for_all_gates() -> None:
    layer = {"type": "lstm", "name": "l", "units": 2, "weights": 0.1, "recurrent": 0.2, "bias": False}
    trace = run([layer], SEQUENCE)
    assert trace["l.U_g"] == [[0.2, 0.2], [0.2, 0.2]]
    assert "l.b_i" not in trace.assembly(1).graph.by_id
    assert run([{**layer, "bias": {"f": 1}}], SEQUENCE)["l.b_f"] == [1.0, 1.0]


def test_names_and_held_parts() -> None:
    names = {"units": ["a"], "W_f": [["v", "w"]]}
    layer = small("lstm", names=names, trainable={"recurrent": False})
    trace = run(
        [layer], SEQUENCE, [[[0.5], [1.0]]], loss="half_squared_error", optimizer={"type": "sgd", "learning_rate": 1}
    )
    assert trace["new.w"] == pytest.approx(trace["w"] - trace["grad.w"], rel=1e-12)
    ids = set(trace.assembly(1).graph.by_id)
    assert "new.l.W_f" in ids and not {"new.l.U_f", "grad.l.U_f"} & ids


def test_recurrent_weights_are_penalised_and_biases_are_not() -> None:
    computed = network(text([small("gru")], SEQUENCE, [[[0.5], [1.0]]], loss="half_squared_error", penalty={"l2": 0.1}))
    parts = {id.removeprefix("loss.penalty.l.") for id in computed.ids("loss.penalty.l.")}
    assert parts == {f"{sign}_{gate}" for sign in "WU" for gate in "rzn"}
    assert computed["loss@1"] + computed["loss@2"] == pytest.approx(computed["loss.data"], rel=1e-12)


# Embedding


def test_embedding_is_pytorchs() -> None:
    stream = np.random.default_rng(1)
    numbers, w, target = [[0, 3, 3], [2, 1, 3]], stream.normal(size=(5, 2)), stream.normal(size=(2, 3, 2))
    given_w = tensor(w)
    out = torch.tanh(torch.nn.functional.embedding(torch.tensor(numbers), given_w))
    (0.5 * (out - torch.tensor(target)) ** 2).sum().div(2).backward()  # type: ignore[no-untyped-call]
    layer = {"type": "embedding", "name": "e", "vocabulary": 5, "units": 2, "weights": w, "activation": "tanh"}
    trace = run([layer], numbers, target, loss="half_squared_error")
    compare(trace, {"e.W": given_w})
    assert "grad.x" not in trace.assembly(1).graph.by_id


def test_classes_for_every_step() -> None:
    """Class numbers (N, T) for outputs (N, T, classes); softmax and cross-entropy are fused."""
    w = np.random.default_rng(2).normal(size=(3, 2))
    layers = [{"type": "dense", "name": "o", "units": 3, "weights": w, "bias": False, "activation": "softmax"}]
    trace = run(layers, SEQUENCE, [[2, 0]], loss="cross_entropy")
    given_w = tensor(w)
    logits = torch.tensor(SEQUENCE).double() @ given_w.T
    loss = torch.nn.functional.cross_entropy(logits[0], torch.tensor([2, 0]), reduction="sum")
    loss.backward()  # type: ignore[no-untyped-call]
    assert trace["loss"] == pytest.approx(loss.item(), rel=1e-12)
    compare(trace, {"o.W": given_w})


# Bad input

BAD: list[tuple[dict[str, Any], Any, str, str]] = [
    ({"weights": [[1, 2]]}, SEQUENCE, "layers[0].weights", "which gate is this? lstm has the gates i, f, g, o"),
    ({"weights": {"i": [[1, 2]], "x": [[1, 2]]}}, SEQUENCE, "layers[0].weights.x", "lstm has no gate 'x'"),
    ({"weights": {"i": [[1, 2, 3]]}}, SEQUENCE, "layers[0].weights.i", "the shape is [1, 3]"),
    ({"weights": {"i": [[1, True]]}}, SEQUENCE, "layers[0].weights.i[0][1]", "not a number: true"),
    (
        {"weights": {"packed": [[1, 2]] * 4, "order": "ifco"}},
        SEQUENCE,
        "layers[0].weights.order",
        "no order of the gates",
    ),
    ({"weights": {"packed": [[1, 2]] * 3}}, SEQUENCE, "layers[0].weights.packed", "the shape is [3, 2]"),
    ({"recurrent": False}, SEQUENCE, "layers[0].recurrent", "recurrent cannot be false"),
    ({"initial_state": [[1]]}, SEQUENCE, "layers[0].initial_state", "which state is this? lstm has h and c"),
    ({"initial_state": {"k": 1}}, SEQUENCE, "layers[0].initial_state.k", "lstm has no state 'k'"),
    ({"initial_state": {"h": [1, 2]}}, SEQUENCE, "layers[0].initial_state.h", "the shape is [2]"),
    ({"bidirectional": {"weight": 1}}, SEQUENCE, "layers[0].bidirectional.weight", "unknown"),
    (
        {"bidirectional": {"weights": {"i": [[1, 2, 3]]}}},
        SEQUENCE,
        "layers[0].bidirectional.weights.i",
        "the shape is [1, 3]",
    ),
    ({"bidirectional": True, "reverse": True}, SEQUENCE, "layers[0].reverse", "reads both ways"),
    ({"activation": "relu"}, SEQUENCE, "layers[0].activation", ""),
    ({}, [[1, 2], [3, 4]], "layers[0]", "lstm reads sequences, but x has the shape [2, 2]"),
    ({}, [[[1, 2], [3, 4]], [[1, 2]]], "data.inputs", ""),
]


@pytest.mark.parametrize(
    ("fields", "inputs", "path", "said"), BAD, ids=[f"{p}-{k}" for k, (_, _, p, _) in enumerate(BAD)]
)
def test_bad_input_is_refused_where_it_stands(fields: dict[str, Any], inputs: Any, path: str, said: str) -> None:
    layer = {"type": "lstm", "name": "l", "units": 1, **fields}
    with pytest.raises(SpecError) as caught:
        run([layer], inputs)
    message = str(caught.value)
    assert path in message and said in message, message
    assert ":1:" in message  # file:line:column


def test_gates_are_refused_for_a_layer_without() -> None:
    with pytest.raises(SpecError, match="rnn has no gates"):
        run([{"type": "rnn", "units": 1, "weights": {"i": [[1, 2]]}}], SEQUENCE)


@pytest.mark.parametrize(
    ("number", "said"), [(5, "5 is no row of the embedding"), (-1, "-1 is no"), (0.5, "0.5 is no")]
)
def test_embedding_refuses_what_is_no_word(number: float, said: str) -> None:
    layer = {"type": "embedding", "vocabulary": 5, "units": 2}
    with pytest.raises(SpecError, match=said) as caught:
        run([layer], [[0, 1], [2, number]])
    assert "data.inputs[1][1]" in str(caught.value)
    assert "whole numbers from 0 to 4" in str(caught.value)
