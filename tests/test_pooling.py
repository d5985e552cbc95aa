"""Pooling, flatten and reshape: against PyTorch, against their own formulas, by hand, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.conv import by_array_engine, by_formula, document, random, traced

from bptrace.build.assemble import assemble
from bptrace.errors import SpecError
from bptrace.spec.load import load

SQUARE = np.array([[[[1.0, 2.0, 0.0], [4.0, 3.0, 4.0], [0.0, 1.0, 4.0]]]])


def pooled(type: str, x: Any, upstream: Any = None, **fields: Any) -> Any:
    rest = {"upstream": {"p.y": upstream}} if upstream is not None else {}
    return traced(document(np.array(x), {"type": type, "name": "p", **fields}, **rest))


# By hand


def test_max_pool_by_hand() -> None:
    """[2,1] is the largest of 1 2 / 4 3: δ goes to it, the others get 0."""
    trace = pooled("max_pool", SQUARE, [[[[10, 20], [30, 40]]]], kernel=2, stride=1)
    assert trace.value("p.y") == [[[[4, 4], [4, 4]]]]
    chosen = np.array(trace.value("p.argmax"))
    assert chosen.shape == (1, 1, 2, 2, 2, 2)
    assert chosen[0, 0, 0, 0].tolist() == [[0, 0], [1, 0]]
    assert chosen[0, 0, 1, 1].tolist() == [[0, 1], [0, 0]]  # two 4s: the first
    assert trace.value("grad.x") == [[[[0, 0, 0], [40, 0, 60], [0, 0, 0]]]]


def test_ties_all() -> None:
    for ties in ({"ties": "all"}, None):
        made = document(SQUARE, {"type": "max_pool", "name": "p", "kernel": 2, "stride": 1, **(ties or {})})
        made["upstream"] = {"p.y": [[[[10, 20], [30, 40]]]]}
        if ties is None:
            made["conventions"] = {"ties": "all"}
        assert traced(made).value("grad.x") == [[[[0, 0, 0], [40, 0, 60], [0, 0, 40]]]]


def test_argmax_formula_names_what_it_compares() -> None:
    from bptrace.formula.text import symbols
    from bptrace.graph.op import formula_of
    from bptrace.report.notation import Notation

    made = document(SQUARE, {"type": "max_pool", "name": "p", "kernel": 2, "stride": 1}, upstream={"p.y": 1})
    graph = assemble(load("test.yaml", json.dumps(made))).graph
    node = graph.by_id["p.argmax"]
    text = symbols(formula_of(node, (0, 0, 0, 0, 0, 1)), Notation("p").element)
    assert text == "0 if x[1,1,1] = y[1,1,1], else 1 if x[1,1,2] = y[1,1,1], else 0"
    assert graph.by_id["local.p.y"] is node


def test_global_average_gives_samples_by_channels() -> None:
    x = np.arange(2 * 3 * 2 * 2, dtype=float).reshape(2, 3, 2, 2)
    trace = pooled("global_avg_pool", x, [[1, 2, 3], [4, 8, 12]])
    assert trace.value("p.y") == [[1.5, 5.5, 9.5], [13.5, 17.5, 21.5]]
    assert np.array(trace.value("grad.x"))[1, 2].tolist() == [[3, 3], [3, 3]]


def test_pooling_with_an_activation() -> None:
    """The pooled value is then the pre-activation p.z; p.y is the layer's output all the same."""
    made = document(SQUARE, {"type": "avg_pool", "name": "p", "kernel": 3, "activation": "tanh"}, loss="sum")
    trace = traced(made)
    z = SQUARE.mean()
    assert trace.value("p.z") == pytest.approx(z)
    assert trace.value("p.y") == pytest.approx(np.tanh(z))
    assert trace.value("p.delta") == pytest.approx(1 - np.tanh(z) ** 2)


def test_flatten_and_reshape_keep_the_order_of_the_numbers() -> None:
    x = np.arange(12.0).reshape(1, 3, 2, 2)
    trace = traced(
        document(
            x, {"type": "reshape", "name": "r", "shape": [2, -1, 3]}, {"type": "flatten", "name": "f"},
            {"type": "dense", "name": "o", "units": 1, "weights": [list(range(12))], "bias": False}, loss="sum",
        )
    )  # fmt: skip
    assert np.array(trace.value("r.y")).shape == (1, 2, 2, 3)
    assert trace.value("f.y") == [list(range(12))]
    assert np.array(trace.value("grad.x")).tolist() == x.tolist()


# PyTorch


@st.composite
def pools(draw: Any) -> dict[str, Any]:
    rank = draw(st.sampled_from((1, 2, 2, 2, 3)))
    each = lambda low, high: [draw(st.integers(low, high)) for _ in range(rank)]  # noqa: E731
    kernel = each(1, 3)
    return {
        "rank": rank,
        "samples": draw(st.integers(1, 2)),
        "channels": draw(st.integers(1, 2)),
        "extents": each(2, 6),
        "kernel": kernel,
        "stride": each(1, 3),
        "dilation": each(1, 2),
        "padding": [draw(st.integers(0, size // 2)) for size in kernel],
        "size": each(1, 4),
        "ceil": draw(st.booleans()),
        "count_padding": draw(st.booleans()),
        "last": draw(st.booleans()),
        "seed": draw(st.integers(0, 99)),
    }


def _fits(case: dict[str, Any], dilated: bool) -> bool:
    """Windows that fit, none of them over padding only (PyTorch gives -inf there)."""
    for n, k, s, d, p in zip(
        *(case[key] for key in ("extents", "kernel", "stride", "dilation", "padding")), strict=True
    ):
        d = d if dilated else 1
        if (k - 1) * d >= n + 2 * p:
            return False
        for i in range((n + 2 * p) // s + 1):
            if i * s - p < n and not any(0 <= i * s - p + u * d < n for u in range(k)):
                return False
    return True


def _accepted(case: dict[str, Any]) -> bool:
    """PyTorch refuses a 3-D average whose kernel is larger than the input without its padding."""
    return case["rank"] < 3 or all(k <= n for k, n in zip(case["kernel"], case["extents"], strict=True))


def _compare(case: dict[str, Any], kind: str, fields: dict[str, Any], run: Any, whole: bool = False) -> None:
    import torch

    rng = np.random.default_rng(case["seed"])
    x = random(rng, case["samples"], case["channels"], *case["extents"])
    x = np.round(x) if whole else x
    tx = torch.tensor(x, requires_grad=True)
    y = run(tx)
    u = random(rng, *y.shape)
    y.backward(torch.tensor(u))
    move = (lambda a: np.moveaxis(a, 1, -1)) if case["last"] else (lambda a: a)
    made = document(
        move(x), {"type": kind, "name": "p", **fields}, upstream={"p.y": move(u).tolist()},
        conventions={"channel_order": "last" if case["last"] else "first"},
    )  # fmt: skip
    expected = {"p.y": move(y.detach().numpy()), "grad.x": move(tx.grad.numpy())}
    fast, slow = by_array_engine(made), by_formula(made)
    for id, value in expected.items():
        for found in (fast, slow):
            np.testing.assert_allclose(found[id], value, rtol=1e-12, atol=1e-12, err_msg=id)
    if "p.argmax" in fast:
        np.testing.assert_array_equal(fast["p.argmax"], slow["p.argmax"])
        rank = case["rank"]
        assert (fast["p.argmax"].sum(axis=tuple(range(-rank, 0))) == 1).all()


@settings(max_examples=100, deadline=None)
@given(pools().filter(lambda case: _fits(case, True)), st.booleans())
def test_max_pool_is_pytorchs(case: dict[str, Any], whole: bool) -> None:
    """With whole numbers there are ties; PyTorch too takes the first."""
    torch = pytest.importorskip("torch")
    fields = {key: case[key] for key in ("kernel", "stride", "padding", "dilation")} | {"ceil_mode": case["ceil"]}
    run = getattr(torch.nn.functional, f"max_pool{case['rank']}d")
    arguments = (case["kernel"], case["stride"], case["padding"], case["dilation"], case["ceil"])
    _compare(case, "max_pool", fields, lambda x: run(x, *arguments), whole)


@settings(max_examples=100, deadline=None)
@given(pools().filter(lambda case: _fits(case, False) and _accepted(case)))
def test_average_pool_is_pytorchs(case: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    fields = {key: case[key] for key in ("kernel", "stride", "padding", "count_padding")}
    run = getattr(torch.nn.functional, f"avg_pool{case['rank']}d")
    arguments = (case["kernel"], case["stride"], case["padding"], case["ceil"], case["count_padding"])
    _compare(case, "avg_pool", fields | {"ceil_mode": case["ceil"]}, lambda x: run(x, *arguments))


@settings(max_examples=60, deadline=None)
@given(pools())
def test_adaptive_average_pool_is_pytorchs(case: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    run = getattr(torch.nn.functional, f"adaptive_avg_pool{case['rank']}d")
    _compare(case, "adaptive_avg_pool", {"size": case["size"]}, lambda x: run(x, case["size"]))


def test_pooled_stride_is_the_kernel_unless_given() -> None:
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    assert pooled("max_pool", x, kernel=2).value("p.y") == [[[[5, 7], [13, 15]]]]
    assert pooled("avg_pool", x, kernel=2).value("p.y") == [[[[2.5, 4.5], [10.5, 12.5]]]]


def test_forward_mode() -> None:
    for kind in ("max_pool", "avg_pool"):
        made = document(
            SQUARE, {"type": kind, "name": "p", "kernel": 2, "stride": 1}, tangents="inputs",
            upstream={"p.y": [[[[10, 20], [30, 40]]]]},
        )  # fmt: skip
        trace = traced(made)
        u = np.array([[10, 20], [30, 40]])
        for r in range(3):
            for q in range(3):
                tangent = np.array(trace.value(f"tangent.x[1,1,{r + 1},{q + 1}].p.y"))[0, 0]
                assert np.sum(u * tangent) == pytest.approx(trace.value("grad.x")[0][0][r][q])


# What is refused


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ({"type": "max_pool", "kernel": 4}, ["layers[0].kernel", "the kernel 4×4 is larger than its input 3×3"]),
        ({"type": "max_pool", "kernel": 2, "padding": 2}, ["layers[0].padding", "nothing but padding", "half"]),
        ({"type": "avg_pool", "kernel": [2, 2, 2]}, ["layers[0].kernel", "3 values for 2 axes"]),
        ({"type": "adaptive_avg_pool", "size": [1]}, ["layers[0].size", "1 values for 2 axes"]),
        ({"type": "adaptive_avg_pool"}, ["layers[0].size"]),
        ({"type": "max_pool"}, ["layers[0].kernel"]),
        ({"type": "max_pool", "kernel": 2, "count_padding": True}, ["count_padding"]),
        ({"type": "reshape", "shape": [2, 4]}, ["layers[0].shape", "8 places for the 9 numbers of a sample"]),
        ({"type": "reshape", "shape": [-1, -1]}, ["layers[0].shape", "-1 stands twice"]),
        ({"type": "reshape", "shape": [0]}, ["layers[0].shape[0]", "a whole number from 1"]),
        ({"type": "reshape", "shape": [2, -1]}, ["layers[0].shape", "8 places for the 9 numbers"]),
    ],
)
def test_refuses(layer: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(SpecError) as raised:
        assemble(load("net.yaml", json.dumps(document(SQUARE, {"name": "p", **layer}), indent=1)))
    text = str(raised.value)
    assert text.startswith("net.yaml:")
    for part in said:
        assert part in text


def test_refuses_data_without_places() -> None:
    with pytest.raises(SpecError, match=r"max_pool cannot read x of the shape \[1, 2\]"):
        assemble(load("net.yaml", json.dumps(document(np.ones((1, 2)), {"type": "max_pool", "kernel": 1}))))
