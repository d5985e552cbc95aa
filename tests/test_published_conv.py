"""Published numbers of convolution and pooling, digit by digit.

Small examples are networks of their own; where a course draws large arrays after np.random.seed, the test
draws them by the same recipe.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.conv import document, traced

import bptrace

NETWORKS = Path(__file__).parent.parent / "networks"
MORE = Path(__file__).parent / "published"
DIGITS = {n: 0.51 * 10.0**-n for n in range(16)}
EXACT = 1e-12

Array = np.ndarray[Any, np.dtype[np.float64]]


@cache
def trace_of(name: str) -> Any:
    file = MORE / f"{name}.yaml"
    return bptrace.load(file if file.exists() else NETWORKS / f"{name}.yaml").run()


def check(found: Any, printed: Any, within: float) -> None:
    """All printed digits; the shapes are compared too."""
    actual, expected = np.array(found), np.array(printed)
    assert actual.shape == expected.shape
    assert np.max(np.abs(actual - expected)) <= within, f"{found} is printed as {printed}"


# (network, node, what is printed, how far off it may be); TensorFlow prints gradients flat
PRINTED: list[tuple[str, str, Any, float]] = [
    # LAYOUT 5
    ("convolution-3x3", "c.z", [[[[37, 47], [67, 77]]]], EXACT),
    ("convolution-3x3", "grad.c.W", [[[[7, 9], [13, 15]]]], EXACT),
    ("convolution-3x3", "grad.c.b", [2], EXACT),
    ("convolution-3x3", "grad.x", [[[[1, 2, 0], [2, 4, 4], [-3, 2, 8]]]], EXACT),
    # deeplearning.ai
    ("ng-conv-single-step", "conv.z", [[[[-6.99908945068]]]], DIGITS[11]),
    # Dive into Deep Learning
    ("conv-d2l-one-channel", "c.z", [[[[19, 25], [37, 43]]]], EXACT),
    ("d2l-conv", "c.z", [[[[56, 72], [104, 120]], [[76, 100], [148, 172]], [[96, 128], [192, 224]]]], EXACT),
    ("d2l-pooling", "largest.y", [[[[4, 5], [7, 8]]]], EXACT),
    ("d2l-pooling", "average.y", [[[[2, 3], [5, 6]]]], EXACT),
    ("conv-d2l-pooling-4x4", "three.y", [[[[10]]]], EXACT),
    ("conv-d2l-pooling-4x4", "padded.y", [[[[5, 7], [13, 15]]]], EXACT),
    ("conv-d2l-pooling-4x4", "wide.y", [[[[5, 7], [13, 15]]]], EXACT),
    ("d2l-transposed-conv", "wide.z", [[[[0, 0, 1], [0, 4, 6], [4, 12, 9]]]], EXACT),
    ("d2l-transposed-conv", "stride2.z", [[[[0, 0, 0, 1], [0, 0, 2, 3], [0, 2, 0, 3], [4, 6, 6, 9]]]], EXACT),
    ("d2l-transposed-conv", "padded.z", [[[[4]]]], EXACT),
    # ONNX
    (
        "onnx-conv", "padded.z",
        [[[[12, 21, 27, 33, 24], [33, 54, 63, 72, 51], [63, 99, 108, 117, 81], [93, 144, 153, 162, 111],
           [72, 111, 117, 123, 84]]]], EXACT,
    ),
    ("onnx-conv", "inside.z", [[[[54, 63, 72], [99, 108, 117], [144, 153, 162]]]], EXACT),
    (
        "onnx-average-pool", "exclude.y",
        [[[[7, 7.5, 8, 8.5, 9], [9.5, 10, 10.5, 11, 11.5], [12, 12.5, 13, 13.5, 14], [14.5, 15, 15.5, 16, 16.5],
           [17, 17.5, 18, 18.5, 19]]]], EXACT,
    ),
    (
        "onnx-average-pool", "include.y",
        [[[[2.5200, 3.6000, 4.8000, 4.0800, 3.2400], [4.5600, 6.4000, 8.4000, 7.0400, 5.5200],
           [7.2000, 10.0, 13.0, 10.8, 8.4], [6.9600, 9.6000, 12.4000, 10.2400, 7.9200],
           [6.1200, 8.4000, 10.8000, 8.8800, 6.8400]]]], EXACT,
    ),
    # Machine Learning Mastery
    ("mlm-line-detector", "c.z", [[[[0, 0, 3, 3, 0, 0]] * 6]], EXACT),
    ("conv-mlm-bump-detector", "c.z", [[[0, 0, 1, 1, 0, 0]]], EXACT),
]  # fmt: skip


@pytest.mark.parametrize(("network", "id", "printed", "within"), PRINTED)
def test_published(network: str, id: str, printed: Any, within: float) -> None:
    check(trace_of(network).value(id), printed, within)


def test_bundled_ng_convolution_and_pooling() -> None:
    """The networks hold the images of which the notebook prints something."""
    printed = [-0.61490741, -6.7439236, -2.55153897, 1.75698377, 3.56208902, 0.53036437, 5.18531798, 8.75898442]
    check(np.array(trace_of("ng-conv-forward").value("conv.z"))[0, 2, 1], printed, DIGITS[8])
    for layer, type, kernel, stride in (
        ("max4", "max_pool", 4, 1), ("average4", "avg_pool", 4, 1), ("max3", "max_pool", 3, 2),
        ("average3", "avg_pool", 3, 2),
    ):  # fmt: skip
        pooled = next(row for *key, row in NG_POOLING if key == [type, kernel, stride])
        check(trace_of("ng-pool-forward").value(f"{layer}.y"), pooled, DIGITS[8])
    for name, type in (("ng-pool-backward-max", "max_pool"), ("ng-pool-backward-average", "avg_pool")):
        check(np.array(trace_of(name).value("grad.x"))[0, 1], dict(NG_POOLING_BACKWARD)[type], DIGITS[8])


@pytest.mark.parametrize(
    ("network", "by_input", "by_filter"),
    [
        ("tf-conv2d-depth1", [1, 4, 4, 3, 10, 8], [5, 8, 14, 17]),
        (
            "tf-conv2d-depth3",
            [14, 32, 50, 100, 163, 226, 167, 212, 257, 122, 140, 158, 478, 541, 604, 437, 482, 527],
            [17, 22, 27, 22, 29, 36, 27, 36, 45, 32, 43, 54, 37, 50, 63, 42, 57, 72,
             62, 85, 108, 67, 92, 117, 72, 99, 126, 77, 106, 135, 82, 113, 144, 87, 120, 153],
        ),
        (
            "tf-conv2d-stride",
            [1, 2, 2, 4, 3, 6, 7, 12, 11, 18, 15, 24, 12, 16, 15, 20, 18, 24], [161, 182, 287, 308],
        ),
        ("tf-conv2d-stride2-same", [1, 0, 2, 0, 0, 0, 0, 0, 3, 0, 4, 0, 0, 0, 0, 0], [78]),
        ("tf-conv2d-kernel-is-input", [5, 11, 17, 23], [1, 2, 2, 4, 3, 6, 4, 8]),
    ],
)  # fmt: skip
def test_tensorflow_backprops(network: str, by_input: list[float], by_filter: list[float]) -> None:
    """grad.x in the order of the file (NHWC); the filter's gradient back as (row, column, in, out)."""
    trace = trace_of(network)
    assert np.ravel(trace.value("grad.x")).tolist() == by_input
    assert np.transpose(trace.value("grad.c.W"), (2, 3, 1, 0)).ravel().tolist() == by_filter


def test_convolution_sum_element_by_element() -> None:
    """With L the sum of all outputs: each weight gets the places it lay over, each place the weights over it."""
    trace = trace_of("convolution-sum")
    x, w = np.array(trace.value("x"))[0], np.array(trace.value("c.W"))[0]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    back = np.zeros_like(padded)
    by_weight = np.zeros_like(w)
    total = 0.0
    for i in (0, 2):
        for j in (0, 2):
            window = padded[:, i : i + 3, j : j + 3]
            total += float(np.sum(window * w)) + 0.5
            by_weight += window
            back[:, i : i + 3, j : j + 3] += w
    check(trace.value("loss"), total, EXACT)
    check(trace.value("grad.c.W"), [by_weight], EXACT)
    check(trace.value("grad.x"), [back[:, 1:-1, 1:-1]], EXACT)
    check(trace.value("grad.c.b"), [4], EXACT)


# deeplearning.ai, Convolutional Neural Networks, week 1: arrays drawn after np.random.seed(1)


def drawn(*shapes: tuple[int, ...]) -> list[Array]:
    stream = np.random.RandomState(1)
    return [stream.randn(*shape) for shape in shapes]


def ng_conv(stride: int, bias_count: int = 1) -> Any:
    x, w, b = drawn((10, 4, 4, 3), (2, 2, 3, 8), (1, 1, 1, 8))
    layer = {
        "type": "conv2d", "name": "c", "channels": 8, "kernel": 2, "padding": 2, "stride": stride,
        "weights": w.transpose(3, 2, 0, 1).tolist(), "bias": (bias_count * b.ravel()).tolist(),
    }  # fmt: skip
    rest: dict[str, Any] = {"conventions": {"channel_order": "last"}}
    z = np.array(traced(document(x, layer, **rest)).value("c.z"))
    return traced(document(x, layer, upstream={"c.z": z.tolist()}, **rest)), z


def test_ng_convolution_forward_and_backward() -> None:
    """v2: padding 2, stride 2; what arrives is Z itself."""
    trace, z = ng_conv(2)
    check(z.mean(), 0.0489952035289, DIGITS[13])
    printed = [-0.61490741, -6.7439236, -2.55153897, 1.75698377, 3.56208902, 0.53036437, 5.18531798, 8.75898442]
    check(z[3, 2, 1], printed, DIGITS[8])
    check(np.mean(trace.value("grad.x")), 1.45243777754, DIGITS[11])
    check(np.mean(trace.value("grad.c.W")), 1.72699145831, DIGITS[11])
    check(np.mean(trace.value("grad.c.b")), 7.83923256462, DIGITS[11])


def test_ng_convolution_backward_that_ignores_the_stride() -> None:
    """A public copy prints 0.6347 and 1.5573: its backward loops step by 1 though the forward pass stepped by 2."""
    x, w = drawn((10, 4, 4, 3), (2, 2, 3, 8))
    _, z = ng_conv(2)
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    back, by_weight = np.zeros_like(padded), np.zeros_like(w)
    for i in range(z.shape[1]):
        for j in range(z.shape[2]):
            back[:, i : i + 2, j : j + 2] += np.einsum("no,uvco->nuvc", z[:, i, j], w)
            by_weight += np.einsum("no,nuvc->uvco", z[:, i, j], padded[:, i : i + 2, j : j + 2])
    check(back[:, 2:-2, 2:-2].mean(), 0.634770447265, DIGITS[12])
    check(by_weight.mean(), 1.55726574285, DIGITS[11])


def test_ng_convolution_with_the_bias_counted_for_each_product() -> None:
    """v1 of the notebook adds b inside the product: 2·2·3 = 12 times. Its numbers come out with 12·b."""
    trace, z = ng_conv(1, bias_count=12)
    check(z.mean(), 0.155859324889, DIGITS[12])
    check(np.mean(trace.value("grad.x")), 9.60899067587, DIGITS[11])
    check(np.mean(trace.value("grad.c.W")), 10.5817412755, DIGITS[10])
    check(np.mean(trace.value("grad.c.b")), 76.3710691956, DIGITS[10])


def test_ng_single_step_with_the_bias_counted_for_each_product() -> None:
    x, w, b = drawn((4, 4, 3), (4, 4, 3), (1, 1, 1))
    layer = {
        "type": "conv2d", "name": "c", "channels": 1, "kernel": 4, "weights": [w.transpose(2, 0, 1).tolist()],
        "bias": (48 * b.ravel()).tolist(),
    }  # fmt: skip
    trace = traced(document(x[None], layer, conventions={"channel_order": "last"}))
    check(trace.value("c.z"), [[[[-23.1602122025]]]], DIGITS[10])


NG_POOLING: list[tuple[str, int, int, Any]] = [
    ("max_pool", 4, 1, [[[[1.74481176, 1.6924546, 2.10025514]]], [[[1.19891788, 1.51981682, 2.18557541]]]]),
    ("avg_pool", 4, 1, [[[[-0.09498456, 0.11180064, -0.14263511]]], [[[-0.09525108, 0.28325018, 0.33035185]]]]),
    ("max_pool", 3, 2, [[[[1.74481176, 0.86540763, 1.13376944]]], [[[1.13162939, 1.51981682, 2.18557541]]]]),
    ("avg_pool", 3, 2, [[[[0.02105773, -0.20328806, -0.40389855]]], [[[-0.22154621, 0.51716526, 0.48155844]]]]),
]


@pytest.mark.parametrize(("type", "kernel", "stride", "printed"), NG_POOLING)
def test_ng_pooling_forward(type: str, kernel: int, stride: int, printed: Any) -> None:
    (x,) = drawn((2, 4, 4, 3))
    layer = {"type": type, "name": "p", "kernel": kernel, "stride": stride}
    check(traced(document(x, layer, conventions={"channel_order": "last"})).value("p.y"), printed, DIGITS[8])


NG_POOLING_BACKWARD: list[tuple[str, Any]] = [
    ("max_pool", [[0.0, 0.0], [5.05844394, -1.68282702], [0.0, 0.0]]),
    ("avg_pool", [[0.08485462, 0.2787552], [1.26461098, -0.25749373], [1.17975636, -0.53624893]]),
]


@pytest.mark.parametrize(("type", "printed"), NG_POOLING_BACKWARD)
def test_ng_pooling_backward(type: str, printed: Any) -> None:
    """The course sends dA of 4×2 windows through; the 5×3 image has just these windows."""
    x, upstream = drawn((5, 5, 3, 2), (5, 4, 2, 2))
    check(upstream.mean(), 0.145713902729, DIGITS[12])
    made = document(
        x, {"type": type, "name": "p", "kernel": 2, "stride": 1}, upstream={"p.y": upstream.tolist()},
        conventions={"channel_order": "last"},
    )  # fmt: skip
    check(np.array(traced(made).value("grad.x"))[1, 1], printed, DIGITS[8])


# CS231n: arrays from np.linspace


def spaced(low: float, high: float, *shape: int) -> Array:
    return np.linspace(low, high, int(np.prod(shape))).reshape(shape)


def test_cs231n_convolution() -> None:
    layer = {
        "type": "conv2d", "name": "c", "channels": 3, "kernel": 4, "stride": 2, "padding": 1,
        "weights": spaced(-0.2, 0.3, 3, 3, 4, 4).tolist(), "bias": spaced(-0.1, 0.2, 3).tolist(),
    }  # fmt: skip
    printed = [
        [
            [[-0.08759809, -0.10987781], [-0.18387192, -0.2109216]],
            [[0.21027089, 0.21661097], [0.22847626, 0.23004637]],
            [[0.50813986, 0.54309974], [0.64082444, 0.67101435]],
        ],
        [
            [[-0.98053589, -1.03143541], [-1.19128892, -1.24695841]],
            [[0.69108355, 0.66880383], [0.59480972, 0.56776003]],
            [[2.36270298, 2.36904306], [2.38090835, 2.38247847]],
        ],
    ]
    check(traced(document(spaced(-0.1, 0.5, 2, 3, 4, 4), layer)).value("c.z"), printed, DIGITS[8])
    check(trace_of("cs231n-conv").value("c.z"), printed, DIGITS[8])


def test_cs231n_max_pool() -> None:
    printed = [
        [
            [[-0.26315789, -0.24842105], [-0.20421053, -0.18947368]],
            [[-0.14526316, -0.13052632], [-0.08631579, -0.07157895]],
            [[-0.02736842, -0.01263158], [0.03157895, 0.04631579]],
        ],
        [
            [[0.09052632, 0.10526316], [0.14947368, 0.16421053]],
            [[0.20842105, 0.22315789], [0.26736842, 0.28210526]],
            [[0.32631579, 0.34105263], [0.38526316, 0.4]],
        ],
    ]
    trace = traced(document(spaced(-0.3, 0.4, 2, 3, 4, 4), {"type": "max_pool", "name": "p", "kernel": 2}))
    check(trace.value("p.y"), printed, DIGITS[8])
    check(trace_of("cs231n-max-pool").value("p.y"), printed, DIGITS[8])
