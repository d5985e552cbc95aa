"""Attention layers and positional encodings: against PyTorch with the same weights, ids, and what they refuse."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.interpreter import network, places, value_of

from bptrace.errors import SpecError
from bptrace.graph.op import formula_of
from bptrace.network import load

torch = pytest.importorskip("torch", reason="the attention layers are compared with PyTorch")
torch.set_num_threads(1)
SIGNS = {"query": "q", "key": "k", "value": "v", "output": "o"}


def text(layers: Any, inputs: Any, targets: Any = None, **rest: Any) -> str:
    data = {"inputs": inputs} if targets is None else {"inputs": inputs, "targets": targets}
    return json.dumps({"data": data, "layers": layers, **rest}, default=lambda array: array.tolist())


def run(*arguments: Any, **rest: Any) -> Any:
    return load("attention.yaml", text=text(*arguments, **rest)).run()


def tensor(value: Any) -> torch.Tensor:
    return torch.tensor(np.asarray(value, dtype=float), requires_grad=True)


class Drawn:
    """An attention layer with random parameters, as YAML fields and as tensors by their ids."""

    def __init__(self, stream: Any, features: int, other: int, units: int, value_units: int, biases: str) -> None:
        self.fields: dict[str, Any] = {}
        self.tensors: dict[str, torch.Tensor] = {}
        shapes = {"query": (units, features), "key": (units, other), "value": (value_units, other)}
        for part, shape in {**shapes, "output": (units, value_units)}.items():
            arrays = {"weights": stream.normal(size=shape)}
            if SIGNS[part] in biases:
                arrays["bias"] = stream.normal(size=shape[0])
            self.fields[part] = arrays
            for kind, array in arrays.items():
                self.tensors[f"att.{'W' if kind == 'weights' else 'b'}_{SIGNS[part]}"] = tensor(array)

    def project(self, part: str, x: torch.Tensor) -> torch.Tensor:
        sign = SIGNS[part]
        out = x @ self.tensors[f"att.W_{sign}"].T
        return out + self.tensors[f"att.b_{sign}"] if f"att.b_{sign}" in self.tensors else out


def attended(
    drawn: Drawn, x: torch.Tensor, context: torch.Tensor, heads: int, scale: Any, mask: Any, score: str, output: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores, weights and result with PyTorch; several heads have an axis of their own."""

    def split(t: torch.Tensor) -> torch.Tensor:
        return t.unflatten(-1, (heads, -1)).transpose(1, 2)

    q, k, v = (split(drawn.project(part, s)) for part, s in (("query", x), ("key", context), ("value", context)))
    scores = q @ k.transpose(-1, -2)
    if score == "additive":
        scores = torch.tanh(q[..., :, None, :] + k[..., None, :, :]).sum(-1)
    scores = scores / math.sqrt(q.shape[-1]) if scale == "sqrt" else scores * scale
    if mask is not None:
        scores = scores.masked_fill(torch.tensor(mask) == 0, -math.inf)
    weights = torch.softmax(scores, -1)
    z = (weights @ v).transpose(1, 2).flatten(2)
    z = drawn.project("output", z) if output else z
    return (scores, weights, z) if heads > 1 else (scores[:, 0], weights[:, 0], z)


def compare(trace: Any, tensors: dict[str, torch.Tensor]) -> None:
    for id, value in tensors.items():
        if value.grad is not None:
            np.testing.assert_allclose(trace[f"grad.{id}"], value.grad.numpy(), rtol=1e-9, atol=1e-11, err_msg=id)


def masks(kind: str, stream: Any, count: int, looked_at: int) -> tuple[Any, Any]:
    """The field and its matrix."""
    if kind == "none":
        return None, None
    if kind == "causal":
        return "causal", np.tril(np.ones((count, looked_at)))
    given_mask = (stream.random((count, looked_at)) < 0.5).astype(float)
    given_mask[:, stream.integers(looked_at)] = 1.0
    return given_mask, given_mask


@given(
    seed=st.integers(0, 10**6),
    sizes=st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)),
    heads=st.integers(1, 3),
    widths=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    scale=st.sampled_from(["sqrt", 1, 0.5, -2.0]),
    mask=st.sampled_from(["none", "causal", "matrix"]),
    score=st.sampled_from(["dot", "additive"]),
    kind=st.sampled_from(["self_attention", "cross_attention", "multi_head_attention"]),
    biases=st.sampled_from(["", "q", "kv", "qkvo"]),
    output=st.booleans(),
    flipped=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_layer_is_pytorchs(
    seed: int, sizes: tuple[int, ...], heads: int, widths: tuple[int, int], scale: Any, mask: str, score: str,
    kind: str, biases: str, output: bool, flipped: bool,
) -> None:  # fmt: skip
    """Values and all gradients, over sizes, heads, masks, scales, biases and a context of another length."""
    samples, count, other, features, others = sizes
    stream = np.random.default_rng(seed)
    crossed = kind == "cross_attention"
    other, others = (other, others) if crossed else (count, features)
    units, value_units = heads * widths[0], heads * widths[1]
    drawn = Drawn(stream, features, others, units, value_units, biases)
    x, c = stream.normal(size=(samples, count, features)), stream.normal(size=(samples, other, others))
    given_mask, matrix = masks(mask, stream, count, other)
    fields = {part: dict(arrays) for part, arrays in drawn.fields.items()}
    if flipped:
        for arrays in fields.values():
            arrays["weights"] = arrays["weights"].T
    layer: dict[str, Any] = {
        "type": kind, "name": "att", "units": units, "value_units": value_units, "heads": heads, "scale": scale,
        "score": score, "activation": "tanh", **fields,
    }  # fmt: skip
    if not output:
        layer["output"] = False
    if given_mask is not None:
        layer["mask"] = given_mask
    given_x, given_c = tensor(x), tensor(c)
    inputs: Any = x
    if crossed:
        layer |= {"input": "x", "context": "c"}
        inputs = {"x": x, "c": c}
    scores, weights, z = attended(drawn, given_x, given_c if crossed else given_x, heads, scale, matrix, score, output)
    target = stream.normal(size=z.shape)
    loss = (0.5 * (torch.tanh(z) - torch.tensor(target)) ** 2).sum() / samples
    loss.backward()  # type: ignore[no-untyped-call]
    conventions = {"weight_layout": "in_out"} if flipped else {}
    trace = run([layer], inputs, target, loss="half_squared_error", conventions=conventions)
    for id, value in {"scores": scores, "weights": weights, "z": z, "y": torch.tanh(z)}.items():
        np.testing.assert_allclose(trace[f"att.{id}"], value.detach().numpy(), rtol=1e-10, atol=1e-12, err_msg=id)
    assert trace["loss"] == pytest.approx(loss.item(), rel=1e-11)
    for id, value in drawn.tensors.items():
        if value.grad is not None:
            expected = value.grad.numpy().T if flipped and value.ndim == 2 else value.grad.numpy()
            np.testing.assert_allclose(trace[f"grad.{id}"], expected, rtol=1e-9, atol=1e-11, err_msg=id)
    compare(trace, {"x": given_x, **({"c": given_c} if crossed else {})})


@given(seed=st.integers(0, 10**6), heads=st.integers(1, 3), width=st.integers(1, 3), causal=st.booleans())
@settings(max_examples=15, deadline=None)
def test_layer_is_pytorchs_module(seed: int, heads: int, width: int, causal: bool) -> None:
    """torch.nn.MultiheadAttention, which has its three projections in one array."""
    units, count = heads * width, 3
    stream = np.random.default_rng(seed)
    drawn = Drawn(stream, units, units, units, units, "qkvo")
    x, target = stream.normal(size=(2, count, units)), stream.normal(size=(2, count, units))
    module = torch.nn.MultiheadAttention(units, heads, batch_first=True).double()
    weights = {
        "in_proj_weight": torch.cat([drawn.tensors[f"att.W_{s}"] for s in "qkv"]),
        "in_proj_bias": torch.cat([drawn.tensors[f"att.b_{s}"] for s in "qkv"]),
        "out_proj.weight": drawn.tensors["att.W_o"],
        "out_proj.bias": drawn.tensors["att.b_o"],
    }
    closed = torch.triu(torch.ones(count, count), 1).bool() if causal else None
    given_x = tensor(x)
    arguments = {"attn_mask": closed, "average_attn_weights": False}
    out, looked = torch.func.functional_call(module, weights, (given_x, given_x, given_x), arguments)
    (0.5 * (out - torch.tensor(target)) ** 2).sum().div(2).backward()
    mask = {"mask": "causal"} if causal else {}
    layer = {"type": "multi_head_attention", "name": "att", "units": units, "heads": heads, **drawn.fields, **mask}
    trace = run([layer], x, target, loss="half_squared_error")
    np.testing.assert_allclose(trace["att.y"], out.detach().numpy(), rtol=1e-10, atol=1e-12)
    shown = looked.detach().numpy() if heads > 1 else looked.detach().numpy()[:, 0]
    np.testing.assert_allclose(trace["att.weights"], shown, rtol=1e-10, atol=1e-13)
    compare(trace, {**drawn.tensors, "x": given_x})


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 4, 3), (2, 1, 1)])
def test_positional_encoding_is_added(learned: bool, shape: tuple[int, int, int]) -> None:
    stream = np.random.default_rng(3)
    x, target = stream.normal(size=shape), stream.normal(size=shape)
    layer: dict[str, Any] = {"type": "positional_encoding", "name": "pos", "activation": "tanh"}
    _, count, units = shape
    pairs = torch.arange((units + 1) // 2, dtype=torch.float64) * 2
    angles = torch.outer(torch.arange(count, dtype=torch.float64), 10000 ** (-pairs / units))
    table = torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[:, :units].clone()
    if learned:
        w = stream.normal(size=(count, units))
        layer |= {"kind": "learned", "weights": w}
        table = tensor(w)
    given_x = tensor(x)
    loss = (0.5 * (torch.tanh(given_x + table) - torch.tensor(target)) ** 2).sum() / shape[0]
    loss.backward()  # type: ignore[no-untyped-call]
    trace = run([layer], x, target, loss="half_squared_error")
    assert trace["loss"] == pytest.approx(loss.item(), rel=1e-12)
    compare(trace, {"x": given_x, **({"pos.W": table} if learned else {})})
    assert ("pos.P" in trace.assembly(1).graph.by_id) != learned


def test_what_is_not_given_is_drawn_and_shared() -> None:
    stream = np.random.default_rng(4)
    x, target = stream.normal(size=(2, 3, 4)), stream.normal(size=(2, 3, 4))
    first = {"type": "multi_head_attention", "name": "att", "units": 4, "heads": 2, "output": {"bias": 0.5}}
    second = {"type": "multi_head_attention", "name": "again", "units": 4, "heads": 2, "share": "att"}
    optimizer = {"type": "sgd", "learning_rate": 0.1}
    trace = run([first, second], x, target, loss="half_squared_error", optimizer=optimizer)
    ids = trace.assembly(1).graph.by_id
    assert [f"att.W_{sign}" in ids for sign in "qkvo"] == [True] * 4
    assert [id for id in ids if id.startswith("att.b_")] == ["att.b_o"]
    assert trace["att.b_o"] == [0.5] * 4
    assert not {f"again.{kind}_{sign}" for kind in "Wb" for sign in "qkvo"} & set(ids)
    drawn = {name: tensor(trace[f"att.{name}"]) for name in ("W_q", "W_k", "W_v", "W_o", "b_o")}
    given_x = tensor(x)
    layers = Drawn(stream, 4, 4, 4, 4, "")
    layers.tensors = {f"att.{name}": value for name, value in drawn.items()}
    out = attended(layers, given_x, given_x, 2, "sqrt", None, "dot", True)[2]
    out = attended(layers, out, out, 2, "sqrt", None, "dot", True)[2]
    (0.5 * (out - torch.tensor(target)) ** 2).sum().div(2).backward()
    compare(trace, {**layers.tensors, "x": given_x})


def small(**fields: Any) -> dict[str, Any]:
    return {"type": "self_attention", "name": "att", "units": 2, **fields}


SEQUENCE = [[[1.0, 2.0], [0.5, -1.0], [0.0, 1.0]]]
TARGET = [[[0.5, 1.0], [1.0, 0.0], [0.0, 1.0]]]
KINDS = [{}, {"mask": "causal"}, {"heads": 2, "mask": "causal"}, {"score": "additive", "output": False, "scale": 1}]


@pytest.mark.parametrize("fields", KINDS, ids=str)
def test_every_formula_is_its_kernel(fields: dict[str, Any]) -> None:
    computed = network(text([small(**fields)], SEQUENCE, TARGET, loss="half_squared_error"))
    for node in computed.graph.nodes:
        if node.inputs:
            for place in places(node):
                found, kernel = value_of(formula_of(node, place), computed.values), computed.values[node][place]
                assert found == kernel or abs(found - kernel) <= 1e-12 * max(1.0, abs(kernel)), node


@pytest.mark.parametrize("fields", KINDS, ids=str)
def test_forward_mode_agrees(fields: dict[str, Any]) -> None:
    computed = network(text([small(**fields)], SEQUENCE, TARGET, loss="half_squared_error", tangents="inputs"))
    for place in places(computed.graph.by_id["x"]):
        label = ",".join(str(k + 1) for k in place)
        assert computed[f"tangent.x[{label}].loss"] == pytest.approx(computed["grad.x"][place], rel=1e-9, abs=1e-13)


def test_ids() -> None:
    fields = {part: {"bias": 0.1} for part in SIGNS}
    computed = network(text([small(heads=2, mask="causal", **fields)], SEQUENCE, TARGET, loss="half_squared_error"))
    names = ["Q", "K", "V", "raw_scores", "scores", "weights", "attended", "z"]
    ids = [node.id for node in computed.graph.nodes if node.phase == "forward" and not node.inline]
    assert ids == [f"att.{quantity}" for quantity in names]
    assert {f"grad.att.{quantity}" for quantity in [*names, "y"]} <= set(computed.graph.by_id)
    assert {f"grad.att.{kind}_{sign}" for kind in "Wb" for sign in "qkvo"} <= set(computed.graph.by_id)
    assert computed.graph.by_id["att.delta"] is computed.graph.by_id["grad.att.z"]
    assert computed["att.Q"].shape == (1, 2, 3, 1)
    assert computed["att.scores"].shape == (1, 2, 3, 3)


def test_held_parts_penalties_and_names() -> None:
    layer = small(trainable={"key": False}, penalty={"l2": 0.1}, names={"W_q": [["a", "b"], ["c", "d"]], "z": "net"})
    trace = run([layer], SEQUENCE, TARGET, loss="half_squared_error", optimizer={"type": "sgd", "learning_rate": 1})
    assert trace["new.b"] == pytest.approx(trace["b"] - trace["grad.b"], rel=1e-12)
    ids = set(trace.assembly(1).graph.by_id)
    assert "grad.att.W_q" in ids and not {"grad.att.W_k", "new.att.W_k"} & ids
    assert {f"loss.penalty.att.W_{sign}" for sign in "qvo"} <= ids


def test_a_masked_score_is_an_infinity_that_is_allowed() -> None:
    trace = run(
        [small(mask="causal")], SEQUENCE, TARGET, loss="half_squared_error",
        optimizer={"type": "sgd", "learning_rate": 0.1}, training={"iterations": 5},
    )  # fmt: skip
    assert trace.count == 5 and trace.stopped is None
    assert trace["att.scores"][0][0][1:] == [-math.inf, -math.inf]
    assert trace["att.weights"][0][0] == [1.0, 0.0, 0.0]
    assert trace["grad.att.scores"][0][0] == [0.0, 0.0, 0.0]


# Bad input

BAD: list[tuple[dict[str, Any], Any, str, str]] = [
    ({"mask": [[1, 0], [1, 1]]}, SEQUENCE, "layers[0].mask", "the shape is [2, 2]"),
    ({"mask": [[1, 0, 1]] * 2}, SEQUENCE, "layers[0].mask", "a row for each of 3 query positions"),
    ({"mask": [1, 0, 1]}, SEQUENCE, "layers[0].mask", "the shape [3] is no matrix's"),
    ({"mask": [[1, 1, 1], [0, 0, 0], [1, 1, 1]]}, SEQUENCE, "layers[0].mask[1]", "query position 2 may look nowhere"),
    ({"mask": [[1, 1, 1], [1, 0.5, 0], [1, 1, 1]]}, SEQUENCE, "layers[0].mask[1][1]", "0.5 in a mask"),
    ({"mask": "casual"}, SEQUENCE, "layers[0].mask", "did you mean 'causal'?"),
    ({"units": 3, "heads": 2}, SEQUENCE, "layers[0].units", "3 units cannot be divided among 2 heads"),
    ({"value_units": 3, "heads": 2}, SEQUENCE, "layers[0].value_units", "a multiple of 2"),
    ({"scale": "root"}, SEQUENCE, "layers[0].scale", "sqrt (divided by √width), or a number"),
    ({"score": "dots"}, SEQUENCE, "layers[0].score", "did you mean 'dot'?"),
    ({"query": {"weights": [[1, 2, 3]]}}, SEQUENCE, "layers[0].query.weights", "the shape is [1, 3]"),
    ({"query": {"weight": 1}}, SEQUENCE, "layers[0].query.weight", "weights"),
    ({"query": False}, SEQUENCE, "layers[0].query", ""),
    ({"output": True}, SEQUENCE, "layers[0].output", ""),
    ({"names": {"W": "w"}}, SEQUENCE, "layers[0].names.W", "self_attention has no part 'W'"),
    ({"context": "x"}, SEQUENCE, "layers[0].context", "self_attention looks at its own input"),
    ({"type": "cross_attention"}, SEQUENCE, "layers[0].context", "'context' is missing"),
    ({"type": "cross_attention", "context": "y"}, SEQUENCE, "layers[0].context", "no layer or input 'y' above"),
    (
        {"type": "cross_attention", "context": "c", "input": "a"},
        {"a": SEQUENCE, "c": [[1, 2]]},
        "layers[0].context",
        "cross_attention reads sequences, but c has the shape [1, 2]",
    ),
    ({}, [[1, 2], [3, 4]], "layers[0]", "self_attention reads sequences, but x has the shape [2, 2]"),
    ({"type": "positional_encoding", "weights": 1, "units": ...}, SEQUENCE, "layers[0].weights", "no weights"),
    (
        {"type": "positional_encoding", "kind": "learned", "weights": [[1, 2]], "units": ...},
        SEQUENCE,
        "layers[0].weights",
        "the shape is [1, 2]",
    ),
    ({"type": "positional_encoding", "units": ...}, [[1, 2]], "layers[0]", "one sample in one more list"),
]


@pytest.mark.parametrize(
    ("fields", "inputs", "path", "said"), BAD, ids=[f"{p}-{k}" for k, (_, _, p, _) in enumerate(BAD)]
)
def test_bad_input_is_refused_where_it_stands(fields: dict[str, Any], inputs: Any, path: str, said: str) -> None:
    layer = {key: value for key, value in small(**fields).items() if value is not ...}
    with pytest.raises(SpecError) as caught:
        run([layer], inputs)
    message = str(caught.value)
    assert path in message and said in message, message
    assert ":1:" in message  # file:line:column


def test_samples_as_columns_are_refused() -> None:
    with pytest.raises(SpecError, match="does not take samples as columns"):
        run([small()], SEQUENCE, conventions={"sample_axis": "columns"})
