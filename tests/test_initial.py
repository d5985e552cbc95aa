"""Starting values: every type of `initializer`, with the moments, bounds and structure of PyTorch's of that name."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from bptrace.build.initial import SAME, Drawer
from bptrace.errors import SpecError
from bptrace.network import load
from bptrace.spec.models import Initializer

SHAPE = (80, 50)
FAN = (50, 80)


def drawn(type: str, shape: tuple[int, ...] = SHAPE, fan: tuple[int, int] = FAN, **fields: Any) -> Any:
    given = Initializer(type=type, **fields)  # type: ignore[arg-type]
    return np.array(Drawer(0, None).draw("h.W", shape, fan, False, given)).reshape(shape)


def refused(initializer: Any) -> str:
    whole = {
        "data": {"inputs": [[1, 2]], "targets": [[1]]}, "initializer": initializer,
        "layers": [{"type": "dense", "name": "h", "units": 1}], "loss": "squared_error",
    }  # fmt: skip
    with pytest.raises(SpecError) as error:
        load("net.yaml", text=json.dumps(whole)).run(1)
    return str(error.value)


@pytest.mark.parametrize(
    ("type", "fields", "std"),
    [
        ("uniform", {}, 1 / math.sqrt(3 * 50)),
        ("normal", {}, 1.0),
        ("normal", {"std": 0.2}, 0.2),
        ("xavier_uniform", {}, math.sqrt(2 / 130)),
        ("xavier_normal", {"gain": 2}, 2 * math.sqrt(2 / 130)),
        ("he_uniform", {}, math.sqrt(2 / 50)),
        ("he_normal", {"mode": "fan_out"}, math.sqrt(2 / 80)),
        ("he_normal", {"gain": 1}, math.sqrt(1 / 50)),
        ("lecun_uniform", {}, math.sqrt(1 / 50)),
        ("lecun_normal", {}, math.sqrt(1 / 50)),
        ("trunc_normal", {}, 0.8796),
        ("sparse", {"sparsity": 0}, 0.01),
    ],
)
def test_moments(type: str, fields: dict[str, Any], std: float) -> None:
    values = drawn(type, **fields)
    assert abs(values.mean()) < 4 * std / math.sqrt(values.size)
    assert values.std() == pytest.approx(std, rel=0.05)
    if type.endswith("uniform"):
        assert np.abs(values).max() <= std * math.sqrt(3)


@pytest.mark.parametrize(("one", "other"), SAME.items())
def test_types_with_two_names(one: str, other: str) -> None:
    np.testing.assert_array_equal(drawn(one), drawn(other))


@pytest.mark.parametrize(
    ("name", "type", "fields"),
    [
        ("xavier_normal_", "xavier_normal", {}),
        ("xavier_uniform_", "xavier_uniform", {}),
        ("kaiming_normal_", "kaiming_normal", {}),
        ("kaiming_uniform_", "kaiming_uniform", {}),
        ("trunc_normal_", "trunc_normal", {}),
    ],
)
def test_spread_is_pytorchs(name: str, type: str, fields: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    other = getattr(torch.nn.init, name)(torch.empty(SHAPE)).numpy()
    assert drawn(type, **fields).std() == pytest.approx(other.std(), rel=0.05)


def test_truncated() -> None:
    values = drawn("trunc_normal", low=-0.5, high=1.5, mean=0.3, std=0.7)
    assert values.min() >= -0.5
    assert values.max() <= 1.5
    assert values.min() < -0.45
    assert values.max() > 1.45


@pytest.mark.parametrize("shape", [(3, 3), (6, 4), (4, 6), (4, 2, 3), (80, 50)])
@pytest.mark.parametrize("gain", [1.0, 2.5])
def test_orthogonal(shape: tuple[int, ...], gain: float) -> None:
    q = drawn("orthogonal", shape, gain=gain).reshape(shape[0], -1)
    product = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
    np.testing.assert_allclose(product, gain**2 * np.eye(min(q.shape)), atol=1e-13 * gain**2)


@pytest.mark.parametrize("shape", [(3, 3), (2, 4)])
def test_eye(shape: tuple[int, int]) -> None:
    np.testing.assert_array_equal(drawn("eye", shape), np.eye(*shape))


@pytest.mark.parametrize("shape", [(3, 3, 3), (2, 3, 3, 5), (4, 2, 2, 2, 3)])
def test_dirac(shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(drawn("dirac", shape), torch.nn.init.dirac_(torch.empty(shape)).numpy())


@pytest.mark.parametrize("sparsity", [0.1, 0.25, 0.9, 1.0])
def test_sparse(sparsity: float) -> None:
    zeros = (drawn("sparse", sparsity=sparsity) == 0).sum(axis=0)
    assert set(zeros) == {math.ceil(80 * sparsity)}


def test_a_convolution_of_diracs_passes_channels_on() -> None:
    net = {
        "data": {"inputs": [[[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]]},
        "layers": [
            {"type": "conv2d", "name": "c", "channels": 1, "kernel": 3, "padding": 1, "initializer": {"type": "dirac"}}
        ],
        "loss": "sum",
    }
    trace = load("net.yaml", text=json.dumps(net)).run(1)
    assert trace["c.z"] == trace["x"]


@pytest.mark.parametrize(
    ("initializer", "said"),
    [
        ({"type": "dirac"}, "h.W: dirac is for convolutions, not for a parameter of shape [1, 2]"),
        ({"type": "sparse"}, "sparse needs a sparsity"),
        ({"type": "sparse", "sparsity": 2}, "sparsity: cannot be 2"),
        ({"type": "normal", "mode": "fan_out"}, "normal has no mode"),
        ({"type": "normal", "sparsity": 0.1}, "normal has no sparsity"),
        ({"type": "he_normal", "mode": "fan"}, "mode"),
        ({"type": "orthogonal", "numpy_legacy": 1}, "numpy.random has no orthogonal"),
        ({"type": "trunc_normal", "low": 2, "high": 1}, "trunc_normal from 2 to 1"),
        ({"type": "lecun_norm"}, "lecun_normal"),
    ],
)
def test_bad_input(initializer: Any, said: str) -> None:
    assert said in refused(initializer)
