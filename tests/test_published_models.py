"""Bundled whole models against the modules that PyTorch has for them, in float64 and with the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import bptrace
from bptrace.network import load

torch = pytest.importorskip("torch", reason='PyTorch is not installed: pip install "bptrace[torch]"')

NETWORKS = Path(__file__).parent.parent / "networks"
ALIKE: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-12}


def text_of(name: str) -> str:
    return (NETWORKS / f"{name}.yaml").read_text(encoding="utf-8")


def tensor(value: Any) -> Any:
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def parameters(trace: Any) -> dict[str, Any]:
    return {node.id: tensor(trace.value(node.id, 1)) for node in trace.assembly(1).trainable}


def agree(trace: Any, values: dict[str, Any], tensors: dict[str, Any], loss: Any, iteration: int = 1) -> None:
    """Every value given here, the loss and the gradient of every parameter."""
    for id, value in values.items():
        np.testing.assert_allclose(trace.value(id, iteration), value.detach().numpy(), **ALIKE, err_msg=id)
    assert trace.loss(iteration) == pytest.approx(loss.item(), rel=1e-12)
    assert tensors
    for id, value in tensors.items():
        found = trace.value(f"grad.{id}", iteration)
        np.testing.assert_allclose(found, value.grad.numpy(), **ALIKE, err_msg=f"grad.{id}")


# the Transformer


def norm_first(text: str) -> str:
    """The variant that the network's notes describe: each norm moved to the top of the branch before it."""
    norms = {k: f"  - {{type: layer_norm, name: norm{k}}}\n" for k in (1, 2)}
    for k, norm in norms.items():
        block = f"    name: add{k}\n    layers:\n"
        assert text.count(norm) == text.count(block) == 1
        text = text.replace(norm, "").replace(block, block + "    " + norm)
    return text


@pytest.mark.parametrize("first", [False, True], ids=["as published", "norm first"])
def test_transformer_encoder_is_pytorchs(first: bool) -> None:
    text = text_of("transformer-encoder")
    trace = load("transformer.yaml", text=norm_first(text) if first else text).run()
    p = parameters(trace)
    layer = torch.nn.TransformerEncoderLayer(
        4, 2, dim_feedforward=6, dropout=0.0, batch_first=True, norm_first=first
    ).double()
    weights = {
        "self_attn.in_proj_weight": torch.cat([p[f"att.W_{sign}"] for sign in "qkv"]),
        "self_attn.in_proj_bias": torch.zeros(12, dtype=torch.float64),
        "self_attn.out_proj.weight": p["att.W_o"],
        "self_attn.out_proj.bias": torch.zeros(4, dtype=torch.float64),
        "linear1.weight": p["wide.W"], "linear1.bias": p["wide.b"],
        "linear2.weight": p["narrow.W"], "linear2.bias": p["narrow.b"],
    }  # fmt: skip
    for k in (1, 2):
        weights |= {f"norm{k}.weight": p[f"norm{k}.gamma"], f"norm{k}.bias": p[f"norm{k}.beta"]}
    angles = torch.tensor([[t, t, t / 100, t / 100] for t in range(3)], dtype=torch.float64)
    waves = torch.where(torch.tensor([True, False, True, False]), angles.sin(), angles.cos())
    x = torch.nn.functional.embedding(torch.tensor([[0, 2, 1]]), p["tokens.W"]) + waves
    encoded = torch.func.functional_call(layer, weights, (x,))
    logits = encoded @ p["o.W"].T + p["o.b"]
    loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), torch.tensor([[1, 2, 0]]), reduction="sum")
    loss.backward()
    agree(trace, {"pos.z": x, "add2.y" if first else "norm2.y": encoded, "o.a": logits.softmax(-1)}, p, loss)


def test_transformer_knows_positions() -> None:
    """Without the encoding the outputs of exchanged tokens are exchanged; with it they are others."""
    document = yaml.safe_load(text_of("transformer-encoder"))

    def outputs(tokens: list[int], encoded: bool) -> Any:
        layers = [layer for layer in document["layers"] if encoded or layer["type"] != "positional_encoding"]
        made = {**document, "data": {"inputs": [tokens], "targets": [[1, 2, 0]]}, "layers": layers}
        return np.array(load("net.yaml", text=yaml.safe_dump(made)).run()["o.a"][0])

    same = outputs([0, 2, 1], False)[[1, 0, 2]] - outputs([2, 0, 1], False)
    assert np.abs(same).max() < 1e-14
    assert np.abs(outputs([0, 2, 1], True)[[1, 0, 2]] - outputs([2, 0, 1], True)).max() > 0.01


# LeNet


def test_lenet_is_pytorchs_over_ten_updates() -> None:
    trace = bptrace.load("lenet-digits").run()
    assert trace.count == 10
    p = parameters(trace)
    optimizer = torch.optim.SGD(list(p.values()), lr=0.05)
    f = torch.nn.functional
    seen = set()
    for iteration in range(1, 11):
        x = tensor(trace.value("x", iteration)).reshape(1, 1, 8, 8)
        c1 = 1.7159 * torch.tanh(2 / 3 * f.conv2d(x, p["c1.W"], p["c1.b"]))
        s2 = f.avg_pool2d(c1, 2)
        c3 = 1.7159 * torch.tanh(2 / 3 * f.conv2d(s2, p["c3.W"], p["c3.b"]))
        logits = c3.flatten(1) @ p["o.W"].T + p["o.b"]
        label = torch.tensor(trace.value("t", iteration)).argmax(1)
        loss = f.cross_entropy(logits, label)
        optimizer.zero_grad()
        loss.backward()
        agree(trace, {"c1.a": c1, "s2.y": s2, "c3.a": c3, "o.a": logits.softmax(-1)}, p, loss, iteration)
        optimizer.step()
        for id, value in p.items():
            np.testing.assert_allclose(trace.value(f"new.{id}", iteration), value.detach().numpy(), **ALIKE)
        seen.add(int(label))
    assert seen == set(range(10))


# sequences


def test_bidirectional_lstm_is_pytorchs() -> None:
    trace = bptrace.load("bidirectional-lstm").run()
    p = parameters(trace)
    module = torch.nn.LSTM(1, 1, batch_first=True, bidirectional=True).double()
    weights = {}
    for suffix, prefix in (("", ""), ("_reverse", "reverse.")):
        for name, sign in (("weight_ih", "W"), ("weight_hh", "U"), ("bias_ih", "b")):
            weights[f"{name}_l0{suffix}"] = torch.cat([p[f"l.{prefix}{sign}_{gate}"] for gate in "ifgo"])
        weights[f"bias_hh_l0{suffix}"] = torch.zeros(4, dtype=torch.float64)
    x = torch.tensor([[[0.2], [0.9], [0.5]], [[0.8], [0.1], [0.4]]], dtype=torch.float64)
    _, (h, _) = torch.func.functional_call(module, weights, (x,))
    both = h.transpose(0, 1).flatten(1)
    logit = both @ p["out.W"].T + p["out.b"]
    target = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logit, target)
    loss.backward()
    agree(trace, {"l.y": both, "out.a": torch.sigmoid(logit)}, p, loss)


def test_text_convolution_is_pytorchs() -> None:
    """PyTorch has the channels before the places."""
    trace = bptrace.load("text-convolution").run()
    p = parameters(trace)
    words = torch.nn.functional.embedding(torch.tensor([[0, 1, 2, 3], [0, 1, 2, 4]]), p["words.W"])
    filtered = torch.relu(torch.nn.functional.conv1d(words.transpose(1, 2), p["filters.W"], p["filters.b"]))
    logit = filtered.amax(2) @ p["out.W"].T + p["out.b"]
    target = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logit, target)
    # where all of a filter's outputs are 0 the largest is the first: ReLU lets nothing back either way
    loss.backward()
    agree(trace, {"words.z": words, "filters.a": filtered.transpose(1, 2), "out.a": torch.sigmoid(logit)}, p, loss)
