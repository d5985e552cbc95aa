"""Normalisation: what Keras prints, digit by digit, and the bundled networks by hand and by PyTorch."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from bptrace.network import load, locate

FIVE = 0.51e-5
ALIKE: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-13}


@cache
def trace_of(name: str) -> Any:
    return load(locate(name)).run()


def tensor(values: Any) -> Any:
    torch = pytest.importorskip("torch")
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def agree(trace: Any, expected: dict[str, Any], iteration: int | None = None) -> None:
    for id, value in expected.items():
        found = trace.value(id, iteration=iteration)
        np.testing.assert_allclose(found, value.detach().numpy(), **ALIKE, err_msg=id)


def test_keras_layer_norm() -> None:
    y = trace_of("keras-layernorm-output").value("ln.y")
    np.testing.assert_allclose(y, [[-0.41386, 0.29307, 1, 1.70693, 2.41386]], rtol=0, atol=FIVE)


def test_keras_rms_scaling_divides_by_the_deviation() -> None:
    """What is printed are quotients by √(σ² + ε); those by the root mean square are others."""
    from support.conv import document, traced

    printed = [0, 0.70693, 1.41386, 2.12079, 2.82772]
    trace = trace_of("keras-layernorm-rms-scaling")
    np.testing.assert_allclose(trace.value("y"), printed, rtol=0, atol=FIVE)
    x = trace.value("x")
    rms = traced(document(np.array([x]), {"type": "rms_norm", "name": "n", "epsilon": 1e-3})).value("n.y")[0]
    np.testing.assert_allclose(rms, np.array(x) / np.sqrt(6 + 1e-3), **ALIKE)
    assert abs(rms[1] - printed[1]) > 0.29


# made so that the first iteration goes by hand: μ = 8 and 4, σ = 5 and 3
FIRST: dict[str, Any] = {
    "h.z": [[15, 9], [9, 1], [7, 3], [1, 3]],
    "bn.mean": [8, 4],
    "bn.var": [25, 9],
    "bn.normalized": [[1.4, 5 / 3], [0.2, -1], [-0.2, -1 / 3], [-1.4, -1 / 3]],
    "bn.y": [[1.4, 13 / 3], [0.2, -1], [-0.2, 1 / 3], [-1.4, 1 / 3]],
    "o.z": [[-44 / 30], [0.6], [-8 / 30], [-26 / 30]],
    "loss": 1.1,
    "grad.bn.gamma": [-7 / 30, 0.5],
    "grad.bn.beta": [-0.5, 0.5],
    "grad.bn.mean/bn.var": [0, 0],
    "grad.bn.mean": [0.1, -1 / 3],
    "grad.bn.var": [0.0046666666666667, -1 / 18],
    "grad.h.W": [[-31 / 300, 31 / 300], [-1 / 6, -1 / 6]],
    "new.bn.running_mean": [0.8, 0.4],
    "new.bn.running_var": [0.9 + 0.1 * 100 / 3, 0.9 + 0.1 * 36 / 3],
}


@pytest.mark.parametrize("id", FIRST)
def test_batch_norm_by_hand(id: str) -> None:
    found = trace_of("batch-norm-by-hand").value(id, iteration=1)
    np.testing.assert_allclose(found, FIRST[id], rtol=1e-12, atol=1e-13)


def test_batch_norm_by_hand_in_pytorch() -> None:
    torch = pytest.importorskip("torch")
    trace = trace_of("batch-norm-by-hand")
    x, t = tensor(trace.value("x")), tensor([[1], [0], [1], [0]])
    given = {"h.W": [[1, 1], [1, -1]], "bn.gamma": [1, 2], "bn.beta": [0, 1], "o.W": [[0.5, -0.5]], "o.b": [0]}
    tensors = {id: tensor(value) for id, value in given.items()}
    mean, var = torch.zeros(2).double(), torch.ones(2).double()
    for iteration in (1, 2):
        agree(trace, {"bn.running_mean": mean, "bn.running_var": var}, iteration)
        h = x @ tensors["h.W"].T
        # PyTorch wants an ε above 0; this one is lost beside any variance
        y = torch.nn.functional.batch_norm(h, mean, var, tensors["bn.gamma"], tensors["bn.beta"], True, 0.1, 1e-300)
        loss = 0.5 * ((t - torch.nn.functional.linear(y, tensors["o.W"], tensors["o.b"])) ** 2).sum(1).mean()
        loss.backward()
        agree(trace, {f"grad.{id}": value.grad for id, value in tensors.items()} | {"loss": loss}, iteration)
        agree(trace, {"new.bn.running_mean": mean, "new.bn.running_var": var}, iteration)
        for value in tensors.values():
            with torch.no_grad():
                value -= 0.1 * value.grad
            value.grad = None


def test_larger_weights_change_nothing_behind_a_batch_norm() -> None:
    """What the network's notes say: Σ w·∂E/∂w is 0 for each unit."""
    for iteration in (1, 2):
        trace = trace_of("batch-norm-by-hand")
        weights, gradient = (np.array(trace.value(id, iteration=iteration)) for id in ("h.W", "grad.h.W"))
        np.testing.assert_allclose((weights * gradient).sum(1), [0, 0], atol=1e-15)


def test_inference() -> None:
    torch = pytest.importorskip("torch")
    trace = trace_of("batch-norm-inference")
    assert trace.value("bn.normalized") == [[1, 2]]
    assert trace.value("bn.y") == [[2.5, 5]]
    assert trace.value("grad.x") == [[0.4, -2]]
    x, gamma, beta = tensor([[13, 10]]), tensor([2, 3]), tensor([0.5, -1])
    mean, var = torch.tensor([8, 4]).double(), torch.tensor([25, 9]).double()
    y = torch.nn.functional.batch_norm(x, mean, var, gamma, beta, False, 0.1, 0.0)
    y.backward(tensor([[1, -2]]))
    agree(trace, {"bn.y": y, "grad.x": x.grad, "grad.bn.gamma": gamma.grad, "grad.bn.beta": beta.grad})


def test_channel_attention() -> None:
    """NAM by a batch norm of PyTorch's; the weights are functions of γ, as in the paper."""
    torch = pytest.importorskip("torch")
    trace = trace_of("nam-channel-attention")
    x, gamma, beta = (tensor(trace.value(id)) for id in ("x", "gamma", "beta"))
    normed = torch.nn.functional.batch_norm(x, None, None, gamma, beta, True, 0.1, 1e-5)
    weights = gamma / gamma.sum()
    y = torch.sigmoid(weights.view(1, 2, 1, 1) * normed) * x
    y.backward(tensor(trace.value("upstream.y")))
    assert trace.value("w") == [0.75, 0.25]
    agree(trace, {"bn": normed, "y": y, "grad.x": x.grad, "grad.gamma": gamma.grad, "grad.beta": beta.grad})


def test_what_is_broadcast_is_called_by_its_name() -> None:
    """The gradient by γ is one sum over what it was spread to; no inner id stands on the page."""
    trace = trace_of("nam-channel-attention")
    assert not [node.id for node in trace.assembly(1).graph.stored() if "~" in node.id]
    assert "~" not in trace.text("text", [1])
    assert "∂E/∂w = Σ Σ ∂E/∂m.1 · bn" in trace.text("text", [1])
