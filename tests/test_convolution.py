"""Convolution: against PyTorch, against its own formulas, by hand, and what is refused."""

from __future__ import annotations

import json
import random as stdlib_random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.conv import by_array_engine, by_formula, document, random, traced

from bptrace.build.assemble import assemble
from bptrace.errors import SpecError
from bptrace.graph.graph import Graph
from bptrace.graph.node import Own
from bptrace.graph.op import formula_of
from bptrace.ops.convolution import Convolution, ConvolutionInput, ConvolutionWeights
from bptrace.ops.windows import Grid, linear
from bptrace.spec.load import load

THREE = {
    "data": {"inputs": [[[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]]},
    "layers": [
        {"type": "conv2d", "name": "c", "channels": 1, "kernel": 2, "weights": [[[[1, 2], [3, 4]]]], "bias": [0]}
    ],
    "upstream": {"c.z": [[[[1, 0], [-1, 2]]]]},
}


# By hand


def test_three_by_three() -> None:
    """The numbers of the mock-up, LAYOUT 5."""
    trace = traced(THREE)
    for id, printed in {
        "c.z": [[[[37, 47], [67, 77]]]],
        "c.delta": [[[[1, 0], [-1, 2]]]],
        "grad.c.W": [[[[7, 9], [13, 15]]]],
        "grad.c.b": [2],
        "grad.x": [[[[1, 2, 0], [2, 4, 4], [-3, 2, 8]]]],
    }.items():
        assert trace.value(id) == printed, id


def test_formulas_of_three_by_three() -> None:
    from bptrace.formula.text import symbols
    from bptrace.report.notation import Notation

    graph = assemble(load("test.yaml", json.dumps(THREE))).graph

    def text(id: str, *at: Any, general: bool = False) -> str:
        return symbols(formula_of(graph.by_id[id], at), Notation("c").element, general)

    assert text("c.z", 0, 0, 0, 1) == (
        "W[1,1,1,1]·x[1,1,2] + W[1,1,1,2]·x[1,1,3] + W[1,1,2,1]·x[1,2,2] + W[1,1,2,2]·x[1,2,3] + b[1]"
    )
    assert text("grad.x", 0, 0, 0, 1) == "δ[1,1,1]·W[1,1,1,2] + δ[1,1,2]·W[1,1,1,1]"
    assert text("grad.c.W", 0, 0, 1, 1).startswith("δ[1,1,1]·x[1,2,2] + δ[1,1,2]·x[1,2,3] + ")
    assert text("c.z", "n", 0, "i", "j", general=True) == "Σ Σ W[1,1,u,v]·x[1,i+u-1,j+v-1] + b[1]"
    assert text("grad.c.W", 0, 0, "u", "v", general=True) == "Σ Σ δ[1,i,j]·x[1,i+u-1,j+v-1]"
    assert text("grad.x", "n", 0, "r", "q", general=True) == "Σ Σ δ[1,i,j]·W[1,1,r-i+1,q-j+1]"


@pytest.mark.parametrize(
    ("grid", "place", "tap"),
    [
        (Grid((9,), (3,), (4,), (2,), (1,), (0,)), "2i+u-2", "r-2i+2"),
        (Grid((9,), (3,), (9,), (1,), (1,), (1,)), "i+u-2", "r-i+2"),
        (Grid((9,), (2,), (4,), (2,), (3,), (1,)), "2i+3u-5", "(r-2i+5)/3"),
        (Grid((9,), (3,), (7,), (1,), (1,), (0,), True), "i-u+3", "i-r+3"),
        (Grid((9,), (2,), (7,), (1,), (2,), (0,), True), "i-2u+4", "(i-r+4)/2"),
    ],
)
def test_index_arithmetic_of_a_caption(grid: Grid, place: str, tap: str) -> None:
    """Letters count from 1; the texts hold for every pair of numbers."""
    assert grid.place(0, "i", "u") == place
    assert grid.tap(0, "i", "r") == tap
    for i in range(grid.count[0]):
        for u in range(grid.kernel[0]):
            r = grid.place(0, i, u)
            assert eval(_program(place), {"i": i + 1, "u": u + 1}) == r + 1
            assert eval(_program(tap), {"i": i + 1, "r": r + 1}) == u + 1
            assert grid.tap(0, i, r) == u


def _program(text: str) -> str:
    return "".join(f"*{c}" if c.isalpha() and k and text[k - 1].isdigit() else c for k, c in enumerate(text))


def test_linear() -> None:
    assert linear((2, 3), (-1, 4), 5) == 7
    assert linear((1, "i")) == "i"
    assert linear((-1, "i"), (1, "r"), 0) == "r-i+1"
    assert linear((2, "i+1"), 0) == "2(i+1)-1"


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_grid_is_one_relation(data: Any) -> None:
    """taps_of, readers and windows_of are three views of i·stride + u·dilation - before = r."""
    number = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    grid = Grid(
        (number(1, 7),), (number(1, 4),), (number(1, 6),), (number(1, 3),), (number(1, 3),), (number(0, 4),),
        data.draw(st.booleans()),
    )  # fmt: skip
    pairs = set()
    for i in range(grid.count[0]):
        for u in range(grid.kernel[0]):
            tap = grid.kernel[0] - 1 - u if grid.flip else u
            r = i * grid.stride[0] + tap * grid.dilation[0] - grid.before[0]
            assert grid.place(0, i, u) == r
            if 0 <= r < grid.source[0]:
                pairs.add((i, u, r))
    assert {(i, u, grid.place(0, i, u)) for i in range(grid.count[0]) for u in grid.taps_of(0, i)} == pairs
    assert {(i, u, r) for r in range(grid.source[0]) for i, u in grid.readers(0, r)} == pairs
    assert {(i, u, grid.place(0, i, u)) for u in range(grid.kernel[0]) for i in grid.windows_of(0, u)} == pairs


def test_trilinear_form_is_closed() -> None:
    """<z, conv(x, W)> = <x, input(z, W)> = <W, weights(z, x)> for every sample of the universal tests."""
    kinds = (Convolution, ConvolutionInput, ConvolutionWeights)
    cases = zip(*(op.samples(stdlib_random.Random(3)) for op in kinds), strict=False)
    for (forward, (x, w, *_)), (back, (z, _, *bias)), (weights, _) in cases:
        if bias or forward.grid != back.grid:  # type: ignore[attr-defined]
            continue
        x, w, z = map(np.array, (x, w, z))
        form = np.sum(z * forward.compute(x, w))
        assert np.sum(x * back.compute(z, w)) == pytest.approx(form, rel=1e-12)
        assert np.sum(w * weights.compute(z, x)) == pytest.approx(form, rel=1e-12)


def test_rules_stay_within_the_three_ops() -> None:
    """The derivative of a derivative is one of them again, with the right shape."""
    for cls in (Convolution, ConvolutionInput, ConvolutionWeights):
        for op, operands in cls.samples(stdlib_random.Random(0)):
            graph = Graph()
            leaves = [
                graph.leaf(f"x{k}", np.shape(o), np.ravel(o).tolist(), phase="data", symbol=Own("x"))
                for k, o in enumerate(operands[:2])
            ]
            node = graph.add("f", op, *leaves, phase="forward", symbol=Own("f")) if len(operands) == 2 else None
            if node is None:
                continue
            cotangent = graph.leaf("u", node.shape, [1.0] * node.size, phase="data", symbol=Own("u"))
            for k in range(2):
                made, inputs = op.vjp(None, node, k, cotangent, lambda n: n)  # type: ignore[arg-type,misc]
                assert isinstance(made, Convolution | ConvolutionInput | ConvolutionWeights)
                assert made.shape(*(n.shape for n in inputs)) == leaves[k].shape


# PyTorch


@st.composite
def convolutions(draw: Any) -> dict[str, Any]:
    """Fields of a layer and its input's shape, for 1 to 3 axes."""
    rank = draw(st.sampled_from((1, 1, 2, 2, 2, 3)))
    each = lambda low, high: [draw(st.integers(low, high)) for _ in range(rank)]  # noqa: E731
    groups = draw(st.integers(1, 2))
    return {
        "rank": rank,
        "samples": draw(st.integers(1, 2)),
        "inputs": groups * draw(st.integers(1, 2)),
        "channels": groups * draw(st.integers(1, 2)),
        "groups": groups,
        "extents": each(1, 5),
        "kernel": each(1, 3),
        "stride": each(1, 3),
        "dilation": each(1, 2),
        "pads": [[draw(st.integers(0, 3)), draw(st.integers(0, 2))] for _ in range(rank)],
        "output_padding": each(0, 2),
        "flip": draw(st.booleans()),
        "last": draw(st.booleans()),
        "bias": draw(st.booleans()),
        "seed": draw(st.integers(0, 99)),
    }


def _compare(made: dict[str, Any], expected: dict[str, Any], gradients: tuple[str, ...]) -> None:
    fast, slow = by_array_engine(made), by_formula(made)
    for id, value in expected.items():
        for found in (fast, slow):
            np.testing.assert_allclose(found[id], value, rtol=1e-12, atol=1e-12, err_msg=id)
    assert all(id in expected for id in gradients)


def _fits(case: dict[str, Any]) -> bool:
    return all(
        extent + sum(pads) > (kernel - 1) * gap
        for extent, pads, kernel, gap in zip(
            case["extents"], case["pads"], case["kernel"], case["dilation"], strict=True
        )
    )


@settings(max_examples=120, deadline=None)
@given(convolutions().filter(_fits))
def test_convolution_is_pytorchs(case: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    rank, rng = case["rank"], np.random.default_rng(case["seed"])
    x = random(rng, case["samples"], case["inputs"], *case["extents"])
    w = random(rng, case["channels"], case["inputs"] // case["groups"], *case["kernel"])
    b = random(rng, case["channels"])
    tx, tw, tb = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, w, b))
    padded = F.pad(tx, [n for pair in reversed(case["pads"]) for n in pair])
    used = tw.flip(list(range(2, rank + 2))) if case["flip"] else tw
    run = getattr(F, f"conv{rank}d")
    z = run(padded, used, tb if case["bias"] else None, case["stride"], 0, case["dilation"], case["groups"])
    u = random(rng, *z.shape)
    z.backward(torch.tensor(u))
    move = (lambda a: np.moveaxis(a, 1, -1)) if case["last"] else (lambda a: a)
    made = document(
        move(x),
        {
            "type": f"conv{rank}d", "name": "c", "channels": case["channels"], "kernel": case["kernel"],
            "stride": case["stride"], "dilation": case["dilation"], "padding": case["pads"], "groups": case["groups"],
            "weights": w.tolist(), "bias": b.tolist() if case["bias"] else False, "flip_kernel": case["flip"],
        },
        upstream={"c.z": move(u).tolist()},
        conventions={"channel_order": "last" if case["last"] else "first"},
        optimizer={"type": "sgd", "learning_rate": 0.0},
    )  # fmt: skip
    expected = {
        "c.z": move(z.detach().numpy()), "grad.c.W": tw.grad.numpy(), "grad.x": move(tx.grad.numpy()),
        **({"grad.c.b": tb.grad.numpy()} if case["bias"] else {}),
    }  # fmt: skip
    _compare(made, expected, ())


def _left(case: dict[str, Any]) -> list[int]:
    keys = ("extents", "kernel", "stride", "dilation", "pads", "output_padding")
    return [
        (n - 1) * step + (k - 1) * gap + 1 + more - sum(pads)
        for n, k, step, gap, pads, more in zip(*(case[key] for key in keys), strict=True)
    ]


def _transposable(case: dict[str, Any]) -> bool:
    small = all(
        more < max(s, d)
        for more, s, d in zip(case["output_padding"], case["stride"], case["dilation"], strict=True)
    )
    return small and min(_left(case)) > 0


@settings(max_examples=120, deadline=None)
@given(convolutions().filter(_transposable))
def test_transposed_convolution_is_pytorchs(case: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    rank, rng = case["rank"], np.random.default_rng(case["seed"])
    x = random(rng, case["samples"], case["inputs"], *case["extents"])
    w = random(rng, case["inputs"], case["channels"] // case["groups"], *case["kernel"])
    b = random(rng, case["channels"])
    tx, tw, tb = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, w, b))
    used = tw.flip(list(range(2, rank + 2))) if case["flip"] else tw
    # without padding, and then cut: PyTorch knows no different padding before and after
    whole = getattr(F, f"conv_transpose{rank}d")(
        tx, used, None, case["stride"], 0, 0, case["groups"], case["dilation"]
    )
    whole = F.pad(whole, [n for more in reversed(case["output_padding"]) for n in (0, more)])
    for axis, ((before, _), left) in enumerate(zip(case["pads"], _left(case), strict=True)):
        whole = whole.narrow(axis + 2, before, left)
    z = whole + tb.reshape(-1, *[1] * rank) if case["bias"] else whole + 0
    u = random(rng, *z.shape)
    z.backward(torch.tensor(u))
    move = (lambda a: np.moveaxis(a, 1, -1)) if case["last"] else (lambda a: a)
    made = document(
        move(x),
        {
            "type": f"conv_transpose{rank}d", "name": "c", "channels": case["channels"], "kernel": case["kernel"],
            "stride": case["stride"], "dilation": case["dilation"], "padding": case["pads"], "groups": case["groups"],
            "output_padding": case["output_padding"], "weights": w.tolist(), "flip_kernel": case["flip"],
            "bias": b.tolist() if case["bias"] else False,
        },
        upstream={"c.z": move(u).tolist()},
        conventions={"channel_order": "last" if case["last"] else "first"},
        optimizer={"type": "sgd", "learning_rate": 0.0},
    )  # fmt: skip
    expected = {
        "c.z": move(z.detach().numpy()), "grad.c.W": tw.grad.numpy(), "grad.x": move(tx.grad.numpy()),
        **({"grad.c.b": tb.grad.numpy()} if case["bias"] else {}),
    }  # fmt: skip
    _compare(made, expected, ())


def test_transposed_convolution_with_output_padding_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, w = random(rng, 2, 3, 4, 3), random(rng, 3, 2, 3, 2)
    layer = {
        "type": "conv_transpose2d", "name": "c", "channels": 2, "kernel": [3, 2], "stride": [3, 2], "padding": [1, 0],
        "dilation": [1, 3], "output_padding": [2, 2], "weights": w.tolist(), "bias": False,
    }  # fmt: skip
    expected = torch.nn.functional.conv_transpose2d(
        torch.tensor(x), torch.tensor(w), None, (3, 2), (1, 0), (2, 2), 1, (1, 3)
    )
    np.testing.assert_allclose(traced(document(x, layer)).value("c.z"), expected.numpy(), atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 3), st.integers(1, 2), st.booleans())
def test_same_padding(extent: int, kernel: int, stride: int, dilation: int, lower: bool) -> None:
    """As many outputs as strides begun; the odd place stands after (`same_lower`: before)."""
    rng = np.random.default_rng(0)
    x, w = random(rng, 1, 1, extent), random(rng, 1, 1, kernel)
    layer = {
        "type": "conv1d", "name": "c", "channels": 1, "kernel": kernel, "stride": stride, "dilation": dilation,
        "padding": "same_lower" if lower else "same", "weights": w.tolist(), "bias": False,
    }  # fmt: skip
    z = np.array(traced(document(x, layer)).value("c.z"))
    count = -(-extent // stride)
    total = max(0, (count - 1) * stride + (kernel - 1) * dilation + 1 - extent)
    before = total - total // 2 if lower else total // 2
    padded = np.pad(x[0, 0], (before, total - before))
    expected = [
        sum(w[0, 0, u] * padded[i * stride + u * dilation] for u in range(kernel)) for i in range(count)
    ]
    np.testing.assert_allclose(z[0, 0], expected, atol=1e-12)


def test_same_padding_of_a_transposed_convolution_multiplies_the_extent() -> None:
    rng = np.random.default_rng(0)
    for kernel, stride in ((3, 2), (2, 2), (1, 3), (4, 1)):
        x, w = random(rng, 1, 1, 5), random(rng, 1, 1, kernel)
        layer = {
            "type": "conv_transpose1d", "name": "c", "channels": 1, "kernel": kernel, "stride": stride,
            "padding": "same", "weights": w.tolist(), "bias": False,
        }  # fmt: skip
        assert np.shape(traced(document(x, layer)).value("c.z")) == (1, 1, 5 * stride)


# Networks


def test_network_of_all_kinds_trains_as_in_pytorch() -> None:
    """conv, relu, max pool, conv, average pool, flatten, dense, softmax: three steps of descent."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    rng = np.random.default_rng(4)
    x = random(rng, 3, 2, 8, 8)
    given = {
        "c1": (random(rng, 3, 2, 3, 3), random(rng, 3)),
        "c2": (random(rng, 2, 3, 2, 2), random(rng, 2)),
        "o": (random(rng, 3, 8), random(rng, 3)),
    }
    part = lambda name: {"weights": given[name][0].tolist(), "bias": given[name][1].tolist()}  # noqa: E731
    made = document(
        x,
        {"type": "conv2d", "name": "c1", "channels": 3, "kernel": 3, "padding": 1, "activation": "relu", **part("c1")},
        {"type": "max_pool", "name": "p1", "kernel": 2},
        {"type": "conv2d", "name": "c2", "channels": 2, "kernel": 2, "activation": "tanh", **part("c2")},
        {"type": "avg_pool", "name": "p2", "kernel": 2, "stride": 1},
        {"type": "flatten", "name": "f"},
        {"type": "dense", "name": "o", "units": 3, "activation": "softmax", **part("o")},
        loss="cross_entropy", optimizer={"type": "sgd", "learning_rate": 0.1}, training={"iterations": 3},
    )  # fmt: skip
    made["data"]["targets"] = [0, 2, 1]
    del made["layers"][5]["weights"], made["layers"][5]["bias"]
    made["layers"][3] = {"type": "adaptive_avg_pool", "name": "p2", "size": 2}
    made["layers"][5] |= part("o")
    trace = traced(made)
    tensors = {name: [torch.tensor(a, requires_grad=True) for a in arrays] for name, arrays in given.items()}
    for iteration in (1, 2, 3):
        a = F.max_pool2d(F.relu(F.conv2d(torch.tensor(x), *tensors["c1"], padding=1)), 2)
        a = F.adaptive_avg_pool2d(torch.tanh(F.conv2d(a, *tensors["c2"])), 2)
        loss = F.cross_entropy(F.linear(a.flatten(1), *tensors["o"]), torch.tensor([0, 2, 1]))
        loss.backward()
        assert trace.value("loss", iteration=iteration) == pytest.approx(loss.item(), rel=1e-12)
        for name, (w, b) in tensors.items():
            for sign, parameter in (("W", w), ("b", b)):
                found = trace.value(f"grad.{name}.{sign}", iteration=iteration)
                np.testing.assert_allclose(found, parameter.grad.numpy(), rtol=1e-10, atol=1e-13)
                with torch.no_grad():
                    parameter -= 0.1 * parameter.grad
                parameter.grad = None


def test_loss_over_images() -> None:
    """Targets of the shape of the outputs; sums over all axes but the samples'."""
    made = {**THREE, "loss": "half_squared_error"}
    del made["upstream"]
    made["data"] = {**THREE["data"], "targets": [[[[36, 47], [68, 75]]]]}  # type: ignore[dict-item]
    trace = traced(made)
    assert trace.value("loss") == 0.5 * (1 + 0 + 1 + 4)
    assert trace.value("c.delta") == [[[[1, 0], [-1, 2]]]]
    assert trace.value("grad.x") == [[[[1, 2, 0], [2, 4, 4], [-3, 2, 8]]]]


def test_inputs_join_along_the_channels() -> None:
    for order in ("first", "last"):
        made = {
            "data": {"inputs": np.arange(1.0, 5).reshape((1, 1, 2, 2) if order == "first" else (1, 2, 2, 1)).tolist()},
            "layers": [
                {"type": "conv2d", "name": "a", "channels": 1, "kernel": 1, "weights": 2, "bias": False},
                {"type": "conv2d", "name": "b", "channels": 1, "kernel": 1, "weights": [[[[10]], [[1]]]],
                 "bias": False, "input": ["a", "x"]},
            ],
            "conventions": {"channel_order": order},
        }  # fmt: skip
        assert np.ravel(traced(made).value("b.z")).tolist() == [21, 42, 63, 84]


def test_forward_mode_is_the_backward_pass() -> None:
    trace = traced({**THREE, "tangents": "inputs"})
    u = np.array([[1, 0], [-1, 2]])
    for r in range(3):
        for q in range(3):
            tangent = np.array(trace.value(f"tangent.x[1,1,{r + 1},{q + 1}].c.z"))[0, 0]
            assert np.sum(u * tangent) == trace.value("grad.x")[0][0][r][q]


def test_exact_and_rounded() -> None:
    """Paper mode goes by the formulas; one sample of 0.5 and 0.25 is exact in it."""
    made = {**THREE, "conventions": {"rounding": {"digits": 1}}}
    made["layers"] = [{**THREE["layers"][0], "weights": [[[[0.25, 0.5], [1, 2]]]]}]  # type: ignore[dict-item]
    assert traced(made).value("c.z") == [[[[15.3, 19.0], [26.5, 30.3]]]]


# What is refused


def refused(changes: dict[str, Any], inputs: Any = None) -> str:
    made = json.loads(json.dumps(THREE))
    made["layers"][0] |= changes
    del made["upstream"]
    if inputs is not None:
        made["data"]["inputs"] = inputs
    with pytest.raises(SpecError) as raised:
        assemble(load("net.yaml", json.dumps(made, indent=1)))
    return str(raised.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kernel": 5}, ["layers[0].kernel", "the kernel 5×5 is larger than its input 3×3", "at most 3×3"]),
        ({"kernel": 2, "dilation": 4, "padding": 0}, ["spans 5×5"]),
        ({"kernel": [6, 1], "padding": 1}, ["its padded input 5×5"]),
        ({"groups": 2}, ["layers[0].groups", "2 groups do not divide 1 channels of the input", "divides both"]),
        ({"weights": [[1, 2], [3, 4]]}, ["layers[0].weights", "[2, 2]", "[1, 1, 2, 2] (channel, input, row, column)"]),
        ({"bias": [1, 2]}, ["layers[0].bias", "the shape is [2]", "the shape [1] (channel)"]),
        ({"kernel": [2, 2, 2]}, ["layers[0].kernel", "3 values for 2 axes"]),
        ({"stride": [1]}, ["layers[0].stride", "1 values for 2 axes"]),
        ({"stride": 0}, ["layers[0].stride", "a whole number from 1"]),
        ({"kernel": 2.5}, ["layers[0].kernel", "a whole number from 1"]),
        ({"padding": "sam"}, ["layers[0].padding", "unknown padding 'sam'", "same"]),
        ({"padding": [[1, 2]]}, ["layers[0].padding", "1 values for 2 axes"]),
        ({"padding": [[1], [2, 1]]}, ["layers[0].padding[0]", "[before, after]"]),
        ({"padding": -1}, ["layers[0].padding", "a whole number from 0"]),
        ({"chanels": 1}, ["chanels", "channels"]),
        ({"names": {"units": ["a"]}}, ["layers[0].names.units", "no part 'units'"]),
    ],
)  # fmt: skip
def test_refuses(changes: dict[str, Any], said: list[str]) -> None:
    text = refused(changes)
    assert text.startswith("net.yaml:")
    for part in said:
        assert part in text


def test_refuses_data_without_channels() -> None:
    text = refused({}, [[[1, 2, 3], [4, 5, 6], [7, 8, 9]]])
    assert "data.inputs: conv2d cannot read x of the shape [1, 3, 3]" in text
    assert "(N, C, H, W): the axis of the channels is missing, [1, 1, 3, 3] for one channel" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"padding": 3}, "nothing is left of the output: -2×-2"),
        ({"output_padding": 1}, "1×1 is not smaller than the stride or the dilation"),
    ],
)
def test_transposed_refuses(changes: dict[str, Any], said: str) -> None:
    assert said in refused({"type": "conv_transpose2d", **changes})


def test_refuses_samples_in_columns() -> None:
    made = {**THREE, "conventions": {"sample_axis": "columns"}}
    with pytest.raises(SpecError, match="sample_axis"):
        assemble(load("net.yaml", json.dumps(made)))


