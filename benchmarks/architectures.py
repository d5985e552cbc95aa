"""What an iteration of LeNet, an LSTM and a Transformer block costs, everything recorded, against plain NumPy.

    OPENBLAS_NUM_THREADS=1 python benchmarks/architectures.py [--net lenet,lstm,transformer] [--rounds 15]

The plain NumPy is what a textbook shows: im2col for convolutions, one product for the four gates of
a time step, whole matrices in attention; it records nothing. Rounds are interleaved and ratios taken
within a round, as in `engine.py`; all must reach the same loss after three iterations.
"""

# ruff: noqa: E402 - the number of threads is set before NumPy is imported
from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
from engine import Step, compare

import bptrace
from bptrace.engine.array import ArrayEngine
from bptrace.engine.layout import Layout, state_leaves

RATE = 0.01
RING = 16
Network = tuple[dict[str, Any], Any]
"""A network as YAML holds it, and one iteration of it in plain NumPy."""


def drawn(rng: np.random.Generator, *shape: int) -> Any:
    return rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))


def descend(parameters: dict[str, Any], gradients: dict[str, Any]) -> None:
    for name, gradient in gradients.items():
        parameters[name] = parameters[name] - RATE * gradient


# LeNet: two convolutions with max pooling, three dense layers, 28x28 images, batch 32


def windows(x: Any, size: int) -> Any:
    """im2col: (N, C, H, W) as (N·rows·columns, C·size·size)."""
    view = np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))
    return view.transpose(0, 2, 3, 1, 4, 5).reshape(-1, x.shape[1] * size * size)


def convolved(x: Any, weights: Any, bias: Any) -> tuple[Any, Any]:
    columns = windows(x, weights.shape[2])
    z = columns @ weights.reshape(len(weights), -1).T + bias
    rows = x.shape[2] - weights.shape[2] + 1
    return np.ascontiguousarray(z.reshape(len(x), rows, rows, -1).transpose(0, 3, 1, 2)), columns


def convolved_back(delta: Any, columns: Any, weights: Any, shape: Any) -> tuple[Any, Any, Any]:
    """The gradients of the weights, the bias and the input."""
    count, _, rows, _ = delta.shape
    size = weights.shape[2]
    flat = delta.transpose(0, 2, 3, 1).reshape(-1, len(weights))
    back = (flat @ weights.reshape(len(weights), -1)).reshape(count, rows, rows, shape[1], size, size)
    x = np.zeros(shape)
    for u in range(size):
        for v in range(size):
            x[:, :, u : u + rows, v : v + rows] += back[..., u, v].transpose(0, 3, 1, 2)
    return (flat.T @ columns).reshape(weights.shape), flat.sum(0), x


def pooled(a: Any) -> tuple[Any, Any]:
    n, c, h, w = a.shape
    cells = a.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h // 2, w // 2, 4)
    largest = cells.argmax(-1)
    return np.take_along_axis(cells, largest[..., None], -1)[..., 0], largest


def pooled_back(gradient: Any, largest: Any) -> Any:
    n, c, h, w = gradient.shape
    cells = np.zeros((n, c, h, w, 4))
    np.put_along_axis(cells, largest[..., None], gradient[..., None], -1)
    return cells.reshape(n, c, h, w, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, 2 * h, 2 * w)


def lenet() -> Network:
    rng = np.random.default_rng(7)
    shapes = {"c1": (6, 1, 5, 5), "c2": (16, 6, 5, 5), "d1": (120, 400), "d2": (84, 120), "d3": (10, 84)}
    p = {f"{name}.W": drawn(rng, *shape) for name, shape in shapes.items()}
    p |= {f"{name}.b": np.zeros(shape[0]) for name, shape in shapes.items()}
    x, t = rng.random((32, 1, 28, 28)), np.eye(10)[rng.integers(0, 10, 32)]
    layers: list[dict[str, Any]] = [
        {"type": "conv2d", "name": "c1", "channels": 6, "kernel": 5, "padding": 2, "activation": "relu"},
        {"type": "max_pool", "kernel": 2},
        {"type": "conv2d", "name": "c2", "channels": 16, "kernel": 5, "activation": "relu"},
        {"type": "max_pool", "kernel": 2},
        {"type": "flatten"},
        {"type": "dense", "name": "d1", "units": 120, "activation": "relu"},
        {"type": "dense", "name": "d2", "units": 84, "activation": "relu"},
        {"type": "dense", "name": "d3", "units": 10, "activation": "softmax"},
    ]
    for layer in layers:
        if layer["type"] in ("conv2d", "dense"):
            layer |= {"weights": p[f"{layer['name']}.W"].tolist(), "bias": p[f"{layer['name']}.b"].tolist()}

    def iteration() -> float:
        padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)))
        z1, columns1 = convolved(padded, p["c1.W"], p["c1.b"])
        p1, largest1 = pooled(np.maximum(z1, 0))
        z2, columns2 = convolved(p1, p["c2.W"], p["c2.b"])
        p2, largest2 = pooled(np.maximum(z2, 0))
        flat = p2.reshape(len(x), -1)
        z3 = flat @ p["d1.W"].T + p["d1.b"]
        a3 = np.maximum(z3, 0)
        z4 = a3 @ p["d2.W"].T + p["d2.b"]
        a4 = np.maximum(z4, 0)
        z5 = a4 @ p["d3.W"].T + p["d3.b"]
        e = np.exp(z5 - z5.max(1, keepdims=True))
        y = e / e.sum(1, keepdims=True)
        delta5 = (y - t) / len(x)
        delta4 = delta5 @ p["d3.W"] * (z4 > 0)
        delta3 = delta4 @ p["d2.W"] * (z3 > 0)
        delta2 = pooled_back((delta3 @ p["d1.W"]).reshape(p2.shape), largest2) * (z2 > 0)
        w2, b2, back = convolved_back(delta2, columns2, p["c2.W"], p1.shape)
        delta1 = pooled_back(back, largest1) * (z1 > 0)
        flat1 = delta1.transpose(0, 2, 3, 1).reshape(-1, 6)
        gradients = {
            "c1.W": (flat1.T @ columns1).reshape(6, 1, 5, 5), "c1.b": flat1.sum(0), "c2.W": w2, "c2.b": b2,
            "d1.W": delta3.T @ flat, "d1.b": delta3.sum(0), "d2.W": delta4.T @ a3, "d2.b": delta4.sum(0),
            "d3.W": delta5.T @ a4, "d3.b": delta5.sum(0),
        }  # fmt: skip
        loss = float(-np.log((y * t).sum(1)).mean())
        descend(p, gradients)
        return loss

    data = {"inputs": x.tolist(), "targets": t.tolist()}
    return {"data": data, "layers": layers, "loss": "cross_entropy"}, iteration


# LSTM: 32 units, 20 steps of 16 features, batch 8, a dense layer on the last state


def lstm() -> Network:
    rng = np.random.default_rng(7)
    units, steps, batch = 32, 20, 8
    p = {"W": drawn(rng, 4 * units, 16), "U": drawn(rng, 4 * units, units), "b": np.zeros(4 * units)}
    p |= {"V": drawn(rng, 4, units), "c": np.zeros(4)}
    x, t = rng.standard_normal((batch, steps, 16)), rng.standard_normal((batch, 4))
    layers = [
        {
            "type": "lstm", "name": "l", "units": units,
            **{part: {"packed": p[sign].tolist(), "order": "ifgo"} for part, sign in
               (("weights", "W"), ("recurrent", "U"), ("bias", "b"))},
        },
        {"type": "dense", "units": 4, "weights": p["V"].tolist(), "bias": p["c"].tolist()},
    ]  # fmt: skip

    def sigmoid(z: Any) -> Any:
        return 1 / (1 + np.exp(-z))

    def iteration() -> float:
        h, c = np.zeros((batch, units)), np.zeros((batch, units))
        kept = []
        for step in range(steps):
            z = x[:, step] @ p["W"].T + h @ p["U"].T + p["b"]
            i, f, o = sigmoid(z[:, :units]), sigmoid(z[:, units : 2 * units]), sigmoid(z[:, 3 * units :])
            g = np.tanh(z[:, 2 * units : 3 * units])
            following = f * c + i * g
            squashed = np.tanh(following)
            kept.append((h, c, i, f, g, o, squashed))
            h, c = o * squashed, following
        y = h @ p["V"].T + p["c"]
        loss = float(((y - t) ** 2).mean())
        delta = 2 * (y - t) / y.size
        gradients = {"V": delta.T @ h, "c": delta.sum(0)}
        gradients |= {name: np.zeros_like(p[name]) for name in ("W", "U", "b")}
        to_h, to_c = delta @ p["V"], np.zeros((batch, units))
        for step in reversed(range(steps)):
            before, c_before, i, f, g, o, squashed = kept[step]
            to_c = to_c + to_h * o * (1 - squashed**2)
            gates = [to_c * g * i * (1 - i), to_c * c_before * f * (1 - f), to_c * i * (1 - g**2)]
            delta = np.concatenate([*gates, to_h * squashed * o * (1 - o)], 1)
            gradients["W"] += delta.T @ x[:, step]
            gradients["U"] += delta.T @ before
            gradients["b"] += delta.sum(0)
            to_h, to_c = delta @ p["U"], to_c * f
        descend(p, gradients)
        return loss

    data = {"inputs": x.tolist(), "targets": t.tolist()}
    return {"data": data, "layers": layers, "loss": "mean_squared_error"}, iteration


# A Transformer encoder block, norms first: 32 tokens, width 64, 4 heads, 256 hidden units


def transformer() -> Network:
    rng = np.random.default_rng(7)
    tokens, width, heads, hidden = 32, 64, 4, 256
    p = {name: drawn(rng, width, width) for name in ("Wq", "Wk", "Wv", "Wo")}
    p |= {"W1": drawn(rng, hidden, width), "W2": drawn(rng, width, hidden)}
    p |= {"b1": np.zeros(hidden), **{name: np.zeros(width) for name in ("bq", "bk", "bv", "bo", "b2", "h1", "h2")}}
    p |= {"g1": np.ones(width), "g2": np.ones(width)}
    x, t = rng.standard_normal((tokens, width)), rng.standard_normal((tokens, width))
    y = {name: value.tolist() for name, value in p.items()}
    attention = {"type": "multi_head_attention", "units": width, "heads": heads}
    attention |= {
        part: {"weights": y[f"W{sign}"], "bias": y[f"b{sign}"]}
        for part, sign in (("query", "q"), ("key", "k"), ("value", "v"), ("output", "o"))
    }
    layers = [
        {"type": "residual", "layers": [{"type": "layer_norm", "gamma": y["g1"], "beta": y["h1"]}, attention]},
        {
            "type": "residual",
            "layers": [
                {"type": "layer_norm", "gamma": y["g2"], "beta": y["h2"]},
                {"type": "dense", "units": hidden, "activation": "relu", "weights": y["W1"], "bias": y["b1"]},
                {"type": "dense", "units": width, "weights": y["W2"], "bias": y["b2"]},
            ],
        },
    ]

    def split(rows: Any) -> Any:
        return rows.reshape(tokens, heads, -1).transpose(1, 0, 2)

    def joined(rows: Any) -> Any:
        return rows.transpose(1, 0, 2).reshape(tokens, width)

    def norm(rows: Any, gamma: Any, beta: Any) -> tuple[Any, Any, Any]:
        centred = rows - rows.mean(1, keepdims=True)
        scale = 1 / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
        return centred * scale * gamma + beta, centred * scale, scale

    def norm_back(gradient: Any, gamma: Any, normal: Any, scale: Any) -> Any:
        inner = gradient * gamma
        return scale * (inner - inner.mean(1, keepdims=True) - normal * (inner * normal).mean(1, keepdims=True))

    def iteration() -> float:
        n1, normal1, _ = norm(x, p["g1"], p["h1"])
        q, k, v = (split(n1 @ p[f"W{s}"].T + p[f"b{s}"]) for s in "qkv")
        factor = 1 / np.sqrt(width // heads)
        scores = q @ k.transpose(0, 2, 1) * factor
        e = np.exp(scores - scores.max(-1, keepdims=True))
        a = e / e.sum(-1, keepdims=True)
        mixed = joined(a @ v)
        middle = x + mixed @ p["Wo"].T + p["bo"]
        n2, normal2, scale2 = norm(middle, p["g2"], p["h2"])
        z = n2 @ p["W1"].T + p["b1"]
        r = np.maximum(z, 0)
        out = middle + r @ p["W2"].T + p["b2"]
        loss = float(((out - t) ** 2).mean())
        g: dict[str, Any] = {}
        d_out = 2 * (out - t) / out.size
        delta = d_out @ p["W2"] * (z > 0)
        back = delta @ p["W1"]
        g |= {"W2": d_out.T @ r, "b2": d_out.sum(0), "W1": delta.T @ n2, "b1": delta.sum(0)}
        g |= {"g2": (back * normal2).sum(0), "h2": back.sum(0)}
        d_middle = d_out + norm_back(back, p["g2"], normal2, scale2)
        g |= {"Wo": d_middle.T @ mixed, "bo": d_middle.sum(0)}
        d_mixed = split(d_middle @ p["Wo"])
        d_a = d_mixed @ v.transpose(0, 2, 1)
        d_scores = a * (d_a - (d_a * a).sum(-1, keepdims=True)) * factor
        parts = {"q": d_scores @ k, "k": d_scores.transpose(0, 2, 1) @ q, "v": a.transpose(0, 2, 1) @ d_mixed}
        back = np.zeros_like(x)
        for sign, part in parts.items():
            rows = joined(part)
            g |= {f"W{sign}": rows.T @ n1, f"b{sign}": rows.sum(0)}
            back = back + rows @ p[f"W{sign}"]
        g |= {"g1": (back * normal1).sum(0), "h1": back.sum(0)}
        descend(p, g)
        return loss

    data = {"inputs": x[None].tolist(), "targets": t[None].tolist()}
    return {"data": data, "layers": layers, "loss": "mean_squared_error"}, iteration


def steps(iteration: Any) -> Step:
    def run(count: int) -> float:
        loss = 0.0
        for _ in range(count):
            loss = iteration()
        return loss

    return run


def ours(network: dict[str, Any], recorded: bool) -> Step:
    """The array engine; the rows go round in a ring."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "net.yaml"
        file.write_text(json.dumps(network | {"optimizer": {"type": "sgd", "learning_rate": RATE}}), encoding="utf-8")
        assembly = bptrace.load(file).assembly()
    layout = Layout(assembly)
    batch = range(assembly.samples)
    engine = ArrayEngine(assembly, layout, batch)
    engine.state = [x for leaf in state_leaves(assembly.graph) for x in assembly.graph.values[leaf]]
    chunk = memoryview(bytearray(b"\1" * (layout.bytes * RING))).cast("d")

    def run(count: int) -> float:
        losses: list[float | None] = []
        while count:
            now = min(count, RING)
            engine.run([batch] * now, chunk if recorded else None, 0, losses)
            count -= now
        assert losses[-1] is not None
        return losses[-1]

    return run


NETWORKS = {"lenet": lenet, "lstm": lstm, "transformer": transformer}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default=",".join(NETWORKS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--slice", type=float, default=0.05)
    given = parser.parse_args()
    print(f"# numpy {np.__version__}, {given.rounds} rounds of {given.slice} s, one thread")
    for name in given.net.split(","):
        network, iteration = NETWORKS[name]()
        contestants = {
            "plain NumPy": steps(iteration),
            "nothing recorded": ours(network, False),
            "everything recorded": ours(network, True),
        }
        compare(name, contestants, given.rounds, given.slice)


if __name__ == "__main__":
    main()
