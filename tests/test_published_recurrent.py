"""Published worked examples of recurrent layers, digit by digit.

`published/rnn.json` has what is printed for the bundled networks: where, what, how far off it may be.
`published/rnn-recipes.json` has sets whose inputs are a recipe (draws of NumPy's legacy generator, or
linspace), as the sources give them; the networks are made here from the same recipe.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bptrace
from bptrace.network import load

PUBLISHED = Path(__file__).parent / "published"
PRINTED: dict[str, list[tuple[str, Any, float]]] = json.loads((PUBLISHED / "rnn.json").read_text(encoding="utf-8"))
RECIPES: dict[str, Any] = json.loads((PUBLISHED / "rnn-recipes.json").read_text(encoding="utf-8"))
EIGHT = 6e-9  # eight printed decimals


def near(found: Any, printed: Any, within: float) -> None:
    found, printed = np.array(found, dtype=float), np.array(printed, dtype=float)
    assert found.shape == printed.shape
    assert np.max(np.abs(found - printed)) <= within, f"{found} is printed as {printed}"


@cache
def traced(name: str, backwards: bool = False) -> Any:
    path = Path(__file__).parent.parent / "networks" / f"{name}.yaml"
    if backwards:
        return load(str(path), overrides=["layers[0].reverse=true"]).run()
    return bptrace.load(path).run()


@pytest.mark.parametrize(
    ("name", "where", "printed", "within"),
    [(name, *row) for name, rows in PRINTED.items() for row in rows],
    ids=[f"{name}-{where}-{k}" for name, rows in PRINTED.items() for k, (where, *_) in enumerate(rows)],
)
def test_printed_number(name: str, where: str, printed: Any, within: float) -> None:
    backwards = where.startswith("reverse: ")
    near(traced(name, backwards)[where.removeprefix("reverse: ")], printed, within)


# Sets that are given by a recipe


def run(layers: list[dict[str, Any]], inputs: Any, targets: Any = None, **rest: Any) -> Any:
    data = {"inputs": inputs} if targets is None else {"inputs": inputs, "targets": targets}
    text = json.dumps({"data": data, "layers": layers, **rest}, default=lambda array: array.tolist())
    return load("recipe.yaml", text=text).run()


def drawn(name: str) -> dict[str, Any]:
    """The arrays of np.random.seed(1), drawn in the order of the list."""
    stream = np.random.RandomState(1)
    return {key: stream.randn(*shape) for key, shape in RECIPES[name]["inputs"]["draws"]}


def spaced(name: str, key: str) -> Any:
    given = RECIPES[name]["inputs"][key]
    return np.linspace(*given["linspace"], int(np.prod(given["shape"]))).reshape(given["shape"])


def batch_first(x: Any) -> Any:
    """(features, samples) or (features, samples, time) as (samples, time, features)."""
    return x.T[:, None, :] if x.ndim == 2 else x.transpose(1, 2, 0)


def ng_rnn(d: dict[str, Any], bias: Any = None, before: str = "a0") -> dict[str, Any]:
    return {
        "type": "rnn", "name": "rnn", "units": d["Waa"].shape[0], "weights": d["Wax"], "recurrent": d["Waa"],
        "bias": (d["ba"] if bias is None else bias)[:, 0], "initial_state": d[before].T, "output": "sequence",
    }  # fmt: skip


def ng_lstm(d: dict[str, Any], before: str = "a0") -> dict[str, Any]:
    """Gates act on the stacked vector [a; x]."""
    gates = {"f": "f", "i": "i", "o": "o", "g": "c"}
    units = d["bf"].shape[0]
    state = {"h": d[before].T, **({"c": d["c_prev"].T} if "c_prev" in d else {})}
    return {
        "type": "lstm", "name": "lstm", "units": units, "initial_state": state, "output": "sequence",
        "weights": {gate: d[f"W{ng}"][:, units:] for gate, ng in gates.items()},
        "recurrent": {gate: d[f"W{ng}"][:, :units] for gate, ng in gates.items()},
        "bias": {gate: d[f"b{ng}"][:, 0] for gate, ng in gates.items()},
    }  # fmt: skip


def softmax(w: Any, b: Any) -> dict[str, Any]:
    return {"type": "dense", "name": "o", "units": len(w), "weights": w, "bias": b[:, 0], "activation": "softmax"}


def array(trace: Any, where: str) -> Any:
    return np.array(trace[where])


# The bundled networks hold some of the examples of a recipe; what is printed of these


def of(name: str) -> Any:
    """What the recipe of that name has printed."""
    return RECIPES[name]["published"]


def bundled(name: str, **settings: str) -> Any:
    path = Path(__file__).parent.parent / "networks" / f"{name}.yaml"
    return load(str(path), overrides=[f"{key}={value}" for key, value in settings.items()]).run()


def test_bundled_ng_rnn() -> None:
    trace, p = bundled("ng-rnn-forward"), of("ng-c5-rnn-forward")  # examples 2 and 4
    near(array(trace, "rnn.y")[0, :, 4], p["a[4][1]"], EIGHT)
    near(array(trace, "o.y")[1, :, 1], p["y[1][3]"], EIGHT)
    trace, p = bundled("ng-rnn-cell-forward"), of("ng-c5-rnn-cell-forward")  # examples 1 to 3
    near(array(trace, "rnn.h@1")[:, 4], p["a_next[4]"][:3], EIGHT)
    near(array(trace, "o.y")[:, 0, 1], p["yt[1]"][:3], EIGHT)
    trace, p = bundled("ng-rnn-backward"), of("ng-c5-rnn-backward")  # example 3
    near(array(trace, "grad.x")[0, :, 1], p["dx[1][2]"], EIGHT)


def test_bundled_ng_lstm() -> None:
    trace, p = bundled("ng-lstm-cell-forward"), of("ng-c5-lstm-cell-forward")  # examples 1 and 2
    near(array(trace, "lstm.h@1")[:, 4], p["a_next[4]"][:2], EIGHT)
    near(array(trace, "lstm.c@1")[:, 2], p["c_next[2]"][:2], EIGHT)
    near(array(trace, "o.y")[:, 0, 1], p["yt[1]"][:2], EIGHT)


@pytest.mark.parametrize(("printed", "truncate"), [("corrected: ", {}), ("v1: ", {"layers.lstm.truncate": "1"})])
def test_bundled_ng_lstm_backward(printed: str, truncate: dict[str, str]) -> None:
    trace, p = bundled("ng-lstm-backward", **truncate), of("ng-c5-lstm-backward-truncation-bug")  # example 3
    near(array(trace, "grad.x")[0, :, 1], p[f"{printed}dx[1][2]"], EIGHT)


def test_bundled_cs231n() -> None:
    for name, where, printed in (
        ("cs231n-rnn-forward", "rnn.y", "h"),
        ("cs231n-lstm-step", "lstm.h@1", "next_h"),
        ("cs231n-lstm-step", "lstm.c@1", "next_c"),
    ):
        near(array(bundled(name), where), of(name)[printed], EIGHT)
    near(array(bundled("cs231n-word-embedding"), "e.y"), of("cs231n-word-embedding-forward")["out"], EIGHT)


def test_bundled_keras_masking() -> None:
    """Masked steps repeat; the last state of four units is the first test of the source."""
    trace = bundled("keras-simplernn-masking")
    states = [[0.0599281, 0.15122814, 0.15122814, 0.32394567], [0.3969304, 0.3969304, 0.3969304, 0.608085]]
    near(array(trace, "rnn.y"), np.repeat(np.array(states)[..., None], 2, axis=2), 1e-6)
    four = bundled("keras-simplernn-masking", **{"layers.rnn.units": "4", "layers.rnn.output": "last"})
    near(array(four, "rnn.y"), [[0.32951632] * 4, [0.61799484] * 4], 1e-6)


def test_bundled_ng_clip() -> None:
    trace = bundled("ng-clip")
    for where, (j, k), printed in (
        ("Waa", (1, 2), 10), ("Wax", (3, 1), -10), ("Wya", (1, 2), 0.29713815361), ("b", (4, 0), 10),
        ("by", (1, 0), 8.45833407),
    ):  # fmt: skip
        near(array(trace, f"clipped.{where}")[j, k], printed, EIGHT)


def test_ng_rnn_cell_forward() -> None:
    d, p = drawn("ng-c5-rnn-cell-forward"), RECIPES["ng-c5-rnn-cell-forward"]["published"]
    trace = run([ng_rnn(d, before="a_prev"), softmax(d["Wya"], d["by"])], batch_first(d["xt"]))
    near(array(trace, "rnn.h@1")[:, 4], p["a_next[4]"], EIGHT)
    near(array(trace, "o.y")[:, 0, 1], p["yt[1]"], EIGHT)


def test_ng_rnn_cell_backward() -> None:
    d, p = drawn("ng-c5-rnn-cell-backward"), RECIPES["ng-c5-rnn-cell-backward"]["published"]
    left_over = drawn("ng-c5-rnn-forward")["ba"]
    upstream = {"rnn.h@1": d["da_next"].T}
    trace = run([ng_rnn(d, left_over, "a_prev")], batch_first(d["xt"]), upstream=upstream)
    near(array(trace, "grad.x")[2, 0, 1], p["dxt[1][2]"], EIGHT)
    near(array(trace, "grad.rnn.h@0")[3, 2], p["da_prev[2][3]"], EIGHT)
    near(array(trace, "grad.rnn.W")[3, 1], p["dWax[3][1]"], EIGHT)
    near(array(trace, "grad.rnn.U")[1, 2], p["dWaa[1][2]"], EIGHT)
    near(array(trace, "grad.rnn.b")[4], p["dba[4]"], EIGHT)


def test_ng_rnn_forward() -> None:
    d, p = drawn("ng-c5-rnn-forward"), RECIPES["ng-c5-rnn-forward"]["published"]
    trace = run([ng_rnn(d), softmax(d["Wya"], d["by"])], batch_first(d["x"]))
    near(array(trace, "rnn.y")[1, :, 4], p["a[4][1]"], EIGHT)
    near(array(trace, "o.y")[3, :, 1], p["y[1][3]"], EIGHT)


def test_ng_rnn_backward() -> None:
    d, p = drawn("ng-c5-rnn-backward"), RECIPES["ng-c5-rnn-backward"]["published"]
    trace = run([ng_rnn(d)], batch_first(d["x"]), upstream={"rnn.y": batch_first(d["da"])})
    near(array(trace, "grad.x")[2, :, 1], p["dx[1][2]"], EIGHT)
    near(array(trace, "grad.rnn.h@0")[3, 2], p["da0[2][3]"], EIGHT)
    near(array(trace, "grad.rnn.W")[3, 1], p["dWax[3][1]"], EIGHT)
    near(array(trace, "grad.rnn.U")[1, 2], p["dWaa[1][2]"], EIGHT)
    near(array(trace, "grad.rnn.b")[4], p["dba[4]"], EIGHT)


def test_ng_lstm_cell_forward() -> None:
    d, p = drawn("ng-c5-lstm-cell-forward"), RECIPES["ng-c5-lstm-cell-forward"]["published"]
    trace = run([ng_lstm(d, "a_prev"), softmax(d["Wy"], d["by"])], batch_first(d["xt"]))
    near(array(trace, "lstm.h@1")[:, 4], p["a_next[4]"], EIGHT)
    near(array(trace, "lstm.c@1")[:, 2], p["c_next[2]"], EIGHT)
    near(array(trace, "o.y")[:, 0, 1], p["yt[1]"], EIGHT)


def test_ng_lstm_cell_backward() -> None:
    d, p = drawn("ng-c5-lstm-cell-backward"), RECIPES["ng-c5-lstm-cell-backward"]["published"]
    upstream = {"lstm.h@1": d["da_next"].T, "lstm.c@1": d["dc_next"].T}
    trace = run([ng_lstm(d, "a_prev")], batch_first(d["xt"]), upstream=upstream)
    near(array(trace, "grad.x")[2, 0, 1], p["dxt[1][2]"], EIGHT)
    near(array(trace, "grad.lstm.h@0")[3, 2], p["da_prev[2][3]"], EIGHT)
    near(array(trace, "grad.lstm.c@0")[3, 2], p["dc_prev[2][3]"], EIGHT)
    ng_lstm_gradients(trace, p, "")


def ng_lstm_gradients(trace: Any, printed: Any, prefix: str) -> None:
    for ng, gate, (j, k) in (("f", "f", (3, 1)), ("i", "i", (1, 2)), ("c", "g", (3, 1)), ("o", "o", (1, 2))):
        stacked = np.hstack([array(trace, f"grad.lstm.U_{gate}"), array(trace, f"grad.lstm.W_{gate}")])
        near(stacked[j, k], printed[f"{prefix}dW{ng}[{j}][{k}]"], EIGHT)
        near(array(trace, f"grad.lstm.b_{gate}")[4], printed[f"{prefix}db{ng}[4]"], EIGHT)


def test_ng_lstm_forward() -> None:
    d, p = drawn("ng-c5-lstm-forward"), RECIPES["ng-c5-lstm-forward"]["published"]
    trace = run([ng_lstm(d), softmax(d["Wy"], d["by"])], batch_first(d["x"]))
    near(array(trace, "lstm.y")[3, 6, 4], p["a[4][3][6]"], 1e-9)
    near(array(trace, "o.y")[4, 3, 1], p["y[1][4][3]"], 1e-9)
    near(array(trace, "lstm.c@2")[2, 1], p["c[1][2][1]"], 1e-9)
    # a second public copy prints another number, which no entry of its row has
    assert np.abs(array(trace, "lstm.y")[3, 6, 4] - p["a[4][3][6] as printed by enggen copy"]) > 0.5


@pytest.mark.parametrize(("printed", "truncate"), [("corrected: ", None), ("v1: ", 1)])
def test_ng_lstm_backward_and_its_first_release(printed: str, truncate: int | None) -> None:
    """The first release forgot to carry the error to the step before: truncation after every step."""
    name = "ng-c5-lstm-backward-truncation-bug"
    d, p = drawn(name), RECIPES[name]["published"]
    layer = ng_lstm(d) | ({"truncate": truncate} if truncate else {})
    trace = run([layer], batch_first(d["x"][:, :, :4]), upstream={"lstm.y": batch_first(d["da"])})
    near(array(trace, "grad.x")[2, :, 1], p[f"{printed}dx[1][2]"], EIGHT)
    near(array(trace, "grad.lstm.h@0")[3, 2], p[f"{printed}da0[2][3]"], EIGHT)
    ng_lstm_gradients(trace, p, printed)


def test_ng_character_rnn() -> None:
    name = "ng-c5-char-rnn-optimize-step"
    d, p = drawn(name), RECIPES[name]["published"]
    given = RECIPES[name]["inputs"]
    layers = [ng_rnn(d, d["b"], "a_prev"), softmax(d["Wya"], d["by"])]
    trace = run(layers, [np.eye(27)[given["X"]]], [given["Y"]], loss="cross_entropy")
    near(trace["loss"], p["loss"], 1e-8)
    assert sum(trace[f"loss@{t}"] for t in range(1, 7)) == pytest.approx(trace["loss"], rel=1e-14)
    near(array(trace, "grad.rnn.U")[1, 2], p["dWaa[1][2]"], 1e-8)
    near(array(trace, "grad.o.W")[1, 2], p["dWya[1][2]"], 1e-8)
    near(array(trace, "grad.rnn.b")[4], p["db[4]"], 1e-8)
    near(array(trace, "grad.o.b")[1], p["dby[1]"], 1e-8)
    near(array(trace, "rnn.h@6")[0, 4], p["a_last[4]"], 1e-8)
    clipped = np.clip(array(trace, "grad.rnn.W"), -given["clip"], given["clip"])
    assert int(np.argmax(clipped)) == p["argmax dWax (flat)"]


def test_cs231n_rnn_step_and_forward() -> None:
    for name, before, result in (("cs231n-rnn-step", "prev_h", "next_h"), ("cs231n-rnn-forward", "h0", "h")):
        x, h = spaced(name, "x"), spaced(name, before)
        layer = {
            "type": "rnn", "name": "rnn", "units": h.shape[1], "weights": spaced(name, "Wx"),
            "recurrent": spaced(name, "Wh"), "bias": spaced(name, "b"), "initial_state": {"h": h},
            "output": "sequence" if x.ndim == 3 else "last", "weight_layout": "in_out",
        }  # fmt: skip
        trace = run([layer], x if x.ndim == 3 else x[:, None, :])
        near(trace["rnn.y"], RECIPES[name]["published"][result], EIGHT)


def test_cs231n_lstm_step_and_forward() -> None:
    """One array for all gates, in the order i, f, o, g."""
    for name, before, result in (("cs231n-lstm-step", "prev_h", "next_h"), ("cs231n-lstm-forward", "h0", "h")):
        x, h = spaced(name, "x"), spaced(name, before)
        c = spaced(name, "prev_c") if "step" in name else 0
        layer = {
            "type": "lstm", "name": "lstm", "units": h.shape[1], "initial_state": {"h": h, "c": c},
            "weights": {"packed": spaced(name, "Wx"), "order": "ifog"},
            "recurrent": {"packed": spaced(name, "Wh"), "order": "ifog"},
            "bias": {"packed": spaced(name, "b"), "order": "ifog"},
            "output": "sequence" if x.ndim == 3 else "last", "weight_layout": "in_out",
        }  # fmt: skip
        trace = run([layer], x if x.ndim == 3 else x[:, None, :])
        near(trace["lstm.y"], RECIPES[name]["published"][result], EIGHT)
        if "step" in name:
            near(trace["lstm.c@1"], RECIPES[name]["published"]["next_c"], EIGHT)


def test_cs231n_word_embedding() -> None:
    name = "cs231n-word-embedding-forward"
    given, w = RECIPES[name]["inputs"], spaced(name, "W")
    layer = {"type": "embedding", "name": "e", "vocabulary": len(w), "units": w.shape[1], "weights": w}
    near(run([layer], given["indices"])["e.y"], RECIPES[name]["published"]["out"], EIGHT)


@pytest.mark.parametrize("kind", ["rnn", "lstm"])
def test_cs231n_captioning_loss(kind: str) -> None:
    """Targets that are <NULL> (0) do not count. The image gives the first state, through a dense layer."""
    name = f"cs231n-captioning-{kind}-loss"
    inputs = RECIPES[name]["inputs"]
    p = {key: np.linspace(-1.4, 1.3, int(np.prod(shape))).reshape(shape) for key, shape in inputs["params"].items()}
    captions = (np.arange(130) % 3).reshape(10, 13)
    packed = (lambda a: a) if kind == "rnn" else (lambda a: {"packed": a, "order": "ifog"})
    layers = [
        {
            "type": "dense", "name": "first", "input": "features", "units": 40, "weights": p["W_proj"],
            "bias": p["b_proj"],
        },
        {"type": "embedding", "input": "words", "vocabulary": 3, "units": 30, "weights": p["W_embed"]},
        {
            "type": kind, "units": 40, "weights": packed(p["Wx"]), "recurrent": packed(p["Wh"]),
            "bias": packed(p["b"]), "initial_state": {"h": "first"}, "output": "sequence",
        },
        {"type": "dense", "name": "vocabulary", "units": 3, "weights": p["W_vocab"], "bias": p["b_vocab"]},
    ]  # fmt: skip
    trace = run(
        layers, {"features": spaced(name, "features"), "words": captions[:, :-1]}, captions[:, 1:],
        loss={"type": "cross_entropy_with_logits", "ignore": 0}, conventions={"weight_layout": "in_out"},
    )  # fmt: skip
    near(trace["loss"], RECIPES[name]["published"]["loss"], 1e-9)
    assert sum(trace[f"loss@{t}"] for t in range(1, 13)) == pytest.approx(trace["loss"], rel=1e-12)
    assert np.any(trace["grad.first.W"])
