"""Published worked examples of attention, digit by digit, and two published modules against PyTorch."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bptrace
from bptrace.network import load

NETWORKS = Path(__file__).parent.parent / "networks"


@cache
def traced(name: str) -> Any:
    return bptrace.load(NETWORKS / f"{name}.yaml").run()


def near(found: Any, printed: Any, within: float) -> None:
    found, printed = np.array(found, dtype=float), np.array(printed, dtype=float)
    assert found.shape == printed.shape
    assert np.max(np.abs(found - printed)) <= within, f"{found} is printed as {printed}"


KARIM = "karim-illustrated-self-attention"
YEH = "yeh-self-attention-small"
COLUMNS_OF_A = [  # the workbook's weights: a row a key, a column a query
    [0.25768992519603773, 0.2526379583741795, 0.37584028966758737, 0.07652050458229058],
    [0.45902620089740415, 0.4500270708944241, 0.21099069277691304, 0.7704384862531284],
    [0.025593948710520373, 0.04469701235721694, 0.03732872788791222, 0.07652050458229058],
    [0.25768992519603773, 0.2526379583741795, 0.37584028966758737, 0.07652050458229058],
]
COLUMNS_OF_Z = [
    [10.307597007841508, 10.105518334967181, 15.033611586703495, 3.0608201832916233],
    [2.832838739065581, 2.9733497073139645, 4.131690175554996, 1.5304100916458117],
    [4.590262008974041, 4.5002707089442415, 2.1099069277691305, 7.704384862531284],
]

PRINTED: list[tuple[str, str, Any, float]] = [
    (KARIM, "att.Q", [[1, 0, 2], [2, 2, 2], [2, 1, 3]], 0),
    (KARIM, "att.K", [[0, 1, 1], [4, 4, 0], [2, 3, 1]], 0),
    (KARIM, "att.V", [[1, 2, 3], [2, 8, 0], [2, 6, 3]], 0),
    (KARIM, "att.scores", [[2, 4, 4], [4, 16, 12], [4, 12, 10]], 0),
    # printed with five significant digits, small numbers with more decimals
    (KARIM, "att.weights[1,1,1]", 0.063379, 5e-7),
    (KARIM, "att.weights[1,1,2]", 0.46831, 5e-6),
    (KARIM, "att.weights[1,1,3]", 0.46831, 5e-6),
    (KARIM, "att.weights[1,2,1]", 6.0337e-06, 5e-11),
    (KARIM, "att.weights[1,2,2]", 0.98201, 5e-6),
    (KARIM, "att.weights[1,2,3]", 0.017986, 5e-7),
    (KARIM, "att.weights[1,3,1]", 0.00029539, 5e-9),
    (KARIM, "att.weights[1,3,2]", 0.88054, 5e-6),
    (KARIM, "att.weights[1,3,3]", 0.11917, 5e-6),
    (KARIM, "att.y", [[1.9366, 6.6831, 1.5951], [2.0, 7.9640, 0.0540], [1.9997, 7.7599, 0.3584]], 5.0001e-5),
    ("keras-attention-dot", "att.weights", [[0.269, 0.731], [0.731, 0.269]], 5.0001e-4),
    ("keras-attention-dot", "att.y", [[2.462, 3.462], [1.538, 2.538]], 5.0001e-4),
    # cut, not rounded: 0.6363 and 0.3637, 1.7275 and 2.2725
    ("keras-attention-additive", "att.weights", [[0.636, 0.363], [0.363, 0.636]], 1e-3),
    ("keras-attention-additive", "att.y", [[1.727, 2.727], [2.272, 3.272]], 1e-3),
    # the workbook has a column a token
    (YEH, "att.Q", np.transpose([[2, 1, 0, 2], [0, 1, 1, 1], [3, 2, 2, 1]]), 0),
    (YEH, "att.K", np.transpose([[0, 2, 1, 0], [0, 1, 0, 0], [1, 0, -1, 1]]), 0),
    (YEH, "att.V", np.transpose([[20, 0, 0, 20], [0, 0, 10, 10], [0, 10, 0, 0]]), 0),
    (YEH, "att.raw_scores", np.transpose([[3, 2, 2, 1], [4, 3, 1, 5], [-1, -1, -2, 1], [3, 2, 2, 1]]), 0),
    (YEH, "att.weights", np.transpose(COLUMNS_OF_A), 1e-14),
    (YEH, "att.y", np.transpose(COLUMNS_OF_Z), 1e-13),
    ("softmax-123-and-alammar", "p", [0.09003057, 0.24472847, 0.66524096], 5.0001e-9),
    ("softmax-123-and-alammar", "w", [0.88, 0.12], 5.0001e-3),
    ("softmax-123-and-alammar", "tangent.z[1].p", [0.08192506906, -0.02203304452, -0.05989202454], 5.0001e-11),
    ("softmax-123-and-alammar", "tangent.z[2].p", [-0.02203304452, 0.1848364465, -0.162803402], 5.0001e-11),
    ("softmax-123-and-alammar", "tangent.z[3].p", [-0.05989202454, -0.162803402, 0.2226954265], 5.0001e-11),
]


@pytest.mark.parametrize(
    ("name", "where", "printed", "within"), PRINTED, ids=[f"{name}-{where}" for name, where, *_ in PRINTED]
)
def test_printed_number(name: str, where: str, printed: Any, within: float) -> None:
    found = traced(name)[where]
    near(found[0] if np.ndim(found) > np.ndim(printed) else found, printed, within + 1e-15)


def test_karims_rounding_by_hand() -> None:
    """Weights of one decimal give the article's rows 2 and 3; its row 1 has 0.0 where 0.063 rounds to 0.1."""
    weights = np.round(np.array(traced(KARIM)["att.weights"][0]), 1)
    values = np.array(traced(KARIM)["att.V"][0])
    near((weights @ values)[1:], [[2, 8, 0], [2, 7.8, 0.3]], 1e-12)
    assert weights[0].tolist() == [0.1, 0.5, 0.5]
    near(np.array([0.0, 0.5, 0.5]) @ values, [2, 7, 1.5], 1e-12)


def test_keras_additive_digits_are_cut() -> None:
    found = traced("keras-attention-additive")
    for where, printed in (
        ("att.weights", [[0.636, 0.363], [0.363, 0.636]]),
        ("att.y", [[1.727, 2.727], [2.272, 3.272]]),
    ):
        near(np.floor(np.array(found[where][0]) * 1000) / 1000, printed, 1e-12)


def test_keras_identity_heads() -> None:
    """Published in float16: three decimals that are off by up to a unit in 2^-9."""
    trace = traced("keras-mha-identity-kernels")
    weights = np.array(trace["att.weights"][0])
    assert weights.shape == (8, 8, 8)
    for head in weights:
        near(head[0], [0.1691] + 7 * [0.1187], 1e-4)
        np.testing.assert_allclose(np.diag(head), head[0, 0], rtol=1e-12)
    near(trace["o.y"][0], np.transpose(8 * [[2.406, 2.44, 2.473, 2.504, 2.535, 2.568, 2.602, 2.633]]), 2e-3)


def test_softmax_jacobian_is_symmetric_and_rows_add_up_to_zero() -> None:
    trace = traced("softmax-123-and-alammar")
    jacobian = np.array([trace[f"tangent.z[{k}].p"] for k in (1, 2, 3)])
    p = np.array(trace["p"])
    near(jacobian, np.diag(p) - np.outer(p, p), 1e-15)
    near(trace["grad.z"], p - [0, 0, 1], 1e-15)
    near(trace["grad.scores"], (np.array(trace["w"]) - [1, 0]) / 8, 1e-15)


def test_positional_encoding_is_that_of_the_paper() -> None:
    table = np.array(traced("positional-encoding")["pos.P"])
    count, units = table.shape
    for position in range(count):
        for pair in range(units // 2):
            angle = position / 10000 ** (2 * pair / units)
            near(table[position, 2 * pair : 2 * pair + 2], [math.sin(angle), math.cos(angle)], 1e-15)


# Modules of the papers, with PyTorch's own layers


def leaves(torch: Any, trace: Any, names: str) -> dict[str, Any]:
    return {
        name: torch.tensor(trace[name], dtype=torch.float64, requires_grad=True) for name in names.split()
    }  # fmt: skip


def compare_gradients(trace: Any, tensors: dict[str, Any]) -> None:
    for name, tensor in tensors.items():
        near(trace[f"grad.{name}"], tensor.grad.numpy(), 1e-12)


def test_polarized_attention_is_that_of_its_convolutions() -> None:
    torch = pytest.importorskip("torch")
    conv = torch.nn.functional.conv2d
    trace = traced("polarized-self-attention")
    p = leaves(torch, trace, "X W_q W_v W_z U_q U_v")
    image = p["X"].reshape(1, 4, 2, 2)
    q = conv(image, p["W_q"][:, :, None, None]).reshape(1, 4, 1).softmax(1)
    v = conv(image, p["W_v"][:, :, None, None]).reshape(1, 2, 4)
    channel = conv((v @ q).unsqueeze(-1), p["W_z"][:, :, None, None]).sigmoid()
    pooled = torch.nn.functional.adaptive_avg_pool2d(conv(image, p["U_q"][:, :, None, None]), 1)
    spatial = (pooled.reshape(1, 1, 2).softmax(-1) @ conv(image, p["U_v"][:, :, None, None]).reshape(1, 2, 4)).sigmoid()
    z = channel * image + spatial.reshape(1, 1, 2, 2) * image
    loss = (z**2).sum() / 2
    loss.backward()
    near(trace["Z"], z.detach().numpy().reshape(4, 4), 1e-13)
    near(trace["E"], loss.item(), 1e-13)
    compare_gradients(trace, p)


def test_triplet_attention_is_that_of_its_rotations() -> None:
    torch = pytest.importorskip("torch")
    trace = traced("triplet-attention")
    p = leaves(torch, trace, "X a_w b_w a_h b_h a_c b_c")
    image = p["X"].unsqueeze(0)

    def gated(x: Any, axis: str) -> Any:
        pooled = torch.stack([x.amax(1), x.mean(1)], 1)
        kernel = torch.stack([p[f"a_{axis}"], p[f"b_{axis}"]]).reshape(1, 2, 1, 1)
        return x * torch.nn.functional.conv2d(pooled, kernel).sigmoid()

    turned = {"c": (0, 1, 2, 3), "h": (0, 2, 1, 3), "w": (0, 3, 2, 1)}  # each is its own way back
    y = sum(gated(image.permute(order), axis).permute(order) for axis, order in turned.items()) / 3
    loss = (y**2).sum() / 2
    loss.backward()
    near(trace["Y"], y.detach().numpy()[0], 1e-13)
    near(trace["E"], loss.item(), 1e-13)
    compare_gradients(trace, p)


def test_bundled_attention_trains() -> None:
    path = str(NETWORKS / "positional-encoding.yaml")
    trace = load(path).run(iterations=100)
    assert trace.losses[-1] < 0.5 * trace.losses[0]
