"""Ops against PyTorch in float64, values and gradients."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason='PyTorch is not installed: pip install "bptrace[torch]"')

import torch.nn.functional as F  # noqa: E402 - after the skip
from support.derivatives import pulled_back  # noqa: E402
from support.ops import Case, all_cases, differentiable, every_op  # noqa: E402
from support.scratch import bound  # noqa: E402
from support.torch_network import ACTIVATIONS, LOSSES  # noqa: E402

from bptrace.ops.contract import Contract  # noqa: E402
from bptrace.ops.log_sum_exp import LogSumExp  # noqa: E402
from bptrace.ops.reduction import Extreme, Mean, Total  # noqa: E402
from bptrace.ops.softmax import LogSoftmax, Softmax  # noqa: E402


def _contract(op: Any, left: Any, right: Any, bias: Any = None) -> Any:
    result = torch.einsum(f"{op.left},{op.right}->{op.out}", left, right)
    if bias is None:
        return result
    for axis, label in enumerate(op.out):
        if label not in op.bias:
            bias = bias.unsqueeze(axis) if op.bias else bias
    return result - bias if op.minus else result + bias


def _expand(op: Any, x: Any) -> Any:
    shape = [1] * len(op.extents)
    for place, extent in zip(op.places, x.shape, strict=True):
        shape[place] = extent
    return x.reshape(shape).expand(op.extents)


def _pad(op: Any, x: Any) -> Any:
    after = op.extent - op.start - x.shape[op.axis]
    return F.pad(x, [0, 0] * (x.dim() - 1 - op.axis) + [op.start, after])


def _products(op: Any, *operands: Any) -> Any:
    """A sum of einsums over the letters that all terms share; single operands are repeated."""
    extents = op.extents(*(operand.shape for operand in operands))
    total, rest = torch.zeros([extents[c] for c in op.out], dtype=torch.float64), list(operands)
    for labels in op.terms:
        letters = labels.split(",")
        taken, rest = rest[: len(letters)], rest[len(letters) :]
        lacking = [c for c in op.out if c not in labels]
        ones = [torch.ones(extents[c], dtype=torch.float64) for c in lacking]
        total = total + torch.einsum(",".join([*letters, *lacking]) + f"->{op.out}", *taken, *ones)
    return total


def _reached(op: Any, x: Any, outside: float = 0.0) -> Any:
    """What the windows reach, channels first: padded before and after, or cut off."""
    grid, widths = op.grid, []
    for k in reversed(range(grid.rank)):
        reach = (grid.count[k] - 1) * grid.stride[k] + (grid.kernel[k] - 1) * grid.dilation[k] + 1
        widths += [grid.before[k], reach - grid.before[k] - grid.source[k]]
    return F.pad(x.movedim(-1, 1) if op.last else x, widths, value=outside)


def _convolved(op: Any, x: Any, weights: Any, bias: Any = None) -> Any:
    """F.conv1d, 2d or 3d of what the windows reach."""
    grid = op.grid
    weights = weights.flip(tuple(range(2, 2 + grid.rank))) if grid.flip else weights
    function = (F.conv1d, F.conv2d, F.conv3d)[grid.rank - 1]
    z = function(_reached(op, x), weights, bias, stride=grid.stride, dilation=grid.dilation, groups=op.groups)
    return z.movedim(1, -1) if op.last else z


def _max_pool(op: Any, x: Any) -> Any:
    """PyTorch's gradient goes to the first of the largest; the samples have no ties."""
    grid = op.grid
    function = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[grid.rank - 1]
    y = function(_reached(op, x, -torch.inf), grid.kernel, grid.stride, dilation=grid.dilation)
    return y.movedim(1, -1) if op.last else y


def _average_pool(op: Any, x: Any) -> Any:
    """The sum of each window of a channel (F.avg_pool2d has no dilation) over what it counts."""
    grid = op.grid
    found = _reached(op, x)
    ones = torch.ones((found.shape[1], 1, *grid.kernel), dtype=torch.float64)
    function = (F.conv1d, F.conv2d, F.conv3d)[grid.rank - 1]
    y = function(found, ones, stride=grid.stride, dilation=grid.dilation, groups=found.shape[1])
    counted = torch.ones(grid.count, dtype=torch.float64)
    for axis, counts in enumerate(op.divisors):
        shape = [-1 if k == axis else 1 for k in range(grid.rank)]
        counted = counted * torch.tensor(counts, dtype=torch.float64).reshape(shape)
    y = y / counted
    return y.movedim(1, -1) if op.last else y


def _adaptive_average(op: Any, x: Any) -> Any:
    function = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[len(op.count) - 1]
    y = function(x.movedim(-1, 1) if op.last else x, op.count)
    return y.movedim(1, -1) if op.last else y


def _back_of(function: Any) -> Any:
    """What autograd passes back through a linear function."""

    def back(op: Any, y: Any) -> Any:
        x = torch.zeros(op.shape(y.shape), dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(function(op, x), x, y, create_graph=True)
        return gradient

    return back


def _ahead(op: Any, w: Any, v: Any, momentum: Any, *rate: Any) -> Any:
    """Where w will come by its momentum, a function of w alone."""
    step = momentum * v if op.rate_inside else -rate[0] * momentum * v
    return w + step.detach()


def _pulled_back(op: Any, x: Any, weights: Any, z: Any, k: int) -> Any:
    (gradient,) = torch.autograd.grad(_convolved(op, x, weights), (x, weights)[k], z, create_graph=True)
    return gradient


def _convolution_input(op: Any, z: Any, weights: Any, bias: Any = None) -> Any:
    shape = op.shape(z.shape, weights.shape)
    x = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    found = _pulled_back(op, x, weights, z, 0)
    if bias is None:
        return found
    return found + (bias if op.last else bias.reshape(-1, *(1,) * op.grid.rank))


def _convolution_weights(op: Any, z: Any, x: Any) -> Any:
    weights = torch.zeros(op.shape(z.shape, x.shape), dtype=torch.float64, requires_grad=True)
    return _pulled_back(op, x, weights, z, 1)


def _place(op: Any, x: Any) -> Any:
    rows = [torch.zeros_like(x)] * op.extent
    rows[op.place] = x
    return torch.stack(rows, op.axis)


def _shared(op: Any, x: Any) -> Any:
    """What shares a statistic along axes of its own."""
    sharing = op.sharing
    return x.unflatten(sharing.channel, (sharing.groups, -1)) if sharing.groups else x


def _alongside(op: Any, statistic: Any) -> Any:
    for axis in sorted(op.sharing.summed):
        statistic = statistic.unsqueeze(axis)
    return statistic


def _variance(op: Any, x: Any, mean: Any) -> Any:
    away = _shared(op, x) - _alongside(op, mean)
    biased = (away**2).mean(op.sharing.summed)
    count = x.numel() / biased.numel()
    return biased * count / (count - 1) if op.unbiased else biased


def _standardized(op: Any, x: Any, mean: Any, variance: Any, epsilon: Any) -> Any:
    deviation = torch.sqrt(_alongside(op, variance) + epsilon)
    return ((_shared(op, x) - _alongside(op, mean)) / deviation).reshape(x.shape)


def _penalty(op: Any, w: Any, *weights: Any) -> Any:
    left = [*weights]
    square, absolute = (left.pop(0) if factor and left else 1.0 for factor in (op.square, op.absolute))
    return float(op.square) * square * (w**2).sum() + float(op.absolute) * absolute * w.abs().sum()


def _put_back(op: Any, x: Any) -> Any:
    shape = [*x.shape]
    shape[op.axis] = op.extent
    return torch.zeros(shape, dtype=torch.float64).index_add(op.axis, torch.tensor(op.places), x)


def _sinusoid(op: Any, positions: Any) -> Any:
    """Sines and cosines of the angles side by side, taken in turn."""
    pairs = (op.units + 1) // 2
    frequencies = torch.exp(-math.log(10_000) / op.units * 2 * torch.arange(pairs, dtype=torch.float64))
    angles = torch.outer(positions.detach(), frequencies)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[:, : op.units]


def _drawn(op: Any, iteration: torch.Tensor) -> torch.Tensor:
    stream = random.Random(f"{op.stream}:{int(iteration)}")
    numbers = [stream.random() for _ in range(math.prod(op.extents))]
    return torch.tensor(numbers, dtype=torch.float64).reshape(op.extents)


COUNTERPARTS: dict[str, Any] = {
    "copy": lambda op, x: x.clone(),
    "scale": lambda op, x: x * float(op.factor),
    "add": lambda op, *xs: sum(xs),
    "subtract": lambda op, a, b: torch.sub(a, b),
    "multiply": lambda op, a, b: torch.mul(a, b),
    "divide": lambda op, a, b: torch.div(a, b),
    "power": lambda op, a, b: torch.pow(a, b),
    "contract": _contract,
    "sum": lambda op, x: torch.sum(x, op.axes),
    "mean": lambda op, x: torch.mean(x, op.axes),
    "extreme": lambda op, x: (torch.amin if op.least else torch.amax)(x, op.axes),
    "larger": lambda op, a, b: (torch.minimum if op.least else torch.maximum)(a, b),
    "where": lambda op, c, a, b: torch.where(c != 0, a, b),
    "take": lambda op, x: torch.index_select(x, op.axis, torch.tensor(op.places)),
    "put_back": _put_back,
    "expand": _expand,
    "reshape": lambda op, x: x.reshape(op.extents),
    "transpose": lambda op, x: x.permute(op.order),
    "concat": lambda op, *xs: torch.cat(xs, op.axis),
    "slice": lambda op, x: x.narrow(op.axis, op.start, op.stop - op.start),
    "pad": _pad,
    "pick": lambda op, x: x.select(op.axis, op.place),
    "place": _place,
    "stack": lambda op, *xs: torch.stack(xs, op.axis),
    "hold": lambda op, x: x.detach(),
    "drawn": _drawn,
    "at_least": lambda op, u: (u.detach() >= op.threshold).double(),
    "dropped": lambda op, *xs: math.prod(xs[1:], start=xs[0]) / float(op.keep),
    "blend": lambda op, z, a, b: torch.lerp(a, b, z),
    "products": _products,
    "convolution": _convolved,
    "convolution_input": _convolution_input,
    "convolution_weights": _convolution_weights,
    "max_pool": _max_pool,
    "average_pool": _average_pool,
    "average_spread": _back_of(_average_pool),
    "adaptive_average": _adaptive_average,
    "adaptive_spread": _back_of(_adaptive_average),
    "ahead": _ahead,
    "shared_mean": lambda op, x: _shared(op, x).mean(op.sharing.summed),
    "shared_variance": _variance,
    "standardized": _standardized,
    "root_mean_square": lambda op, x, epsilon: torch.sqrt((_shared(op, x) ** 2).mean(op.sharing.summed) + epsilon),
    "over_rms": lambda op, x, rms: (_shared(op, x) / _alongside(op, rms)).reshape(x.shape),
    "embed": lambda op, x, w: F.embedding(x.detach().long(), w),
    "softmax": lambda op, x: torch.softmax(x, op.axis),
    "over_root": lambda op, x: x * op.width**-0.5,
    "masked": lambda op, mask, x: x.masked_fill(mask.detach() == 0, -torch.inf),
    "sinusoid": _sinusoid,
    "log_softmax": lambda op, x: torch.log_softmax(x, op.axis),
    "log_sum_exp": lambda op, x: torch.logsumexp(x, op.axes),
    "penalty": _penalty,
    "sigmoid_from_argument": lambda op, x: torch.sigmoid(x),
    "tanh_from_argument": lambda op, x: torch.tanh(x),
    "gelu_tanh": lambda op, x: F.gelu(x, approximate="tanh"),
    "log": lambda op, x: torch.log(x),
    "sqrt": lambda op, x: torch.sqrt(x),
    "abs": lambda op, x: torch.abs(x),
    "sin": lambda op, x: torch.sin(x),
    "cos": lambda op, x: torch.cos(x),
    "scaled_tanh": lambda op, x: op.scale * torch.tanh(op.steepness * x),
    "leaky_relu": lambda op, x: F.leaky_relu(x, op.negative_slope),
    "elu": lambda op, x: F.elu(x, op.alpha),
    "cross_entropy_with_logits": lambda op, t, z: -t * torch.log_softmax(z, op.axis),
    "huber": lambda op, t, y: F.huber_loss(y, t, reduction="none", delta=op.threshold),
}
"""What PyTorch calls each op; of the others see `support.torch_network`."""


def counterpart(op: Any) -> Any:
    if op.name in COUNTERPARTS:
        return lambda *tensors: COUNTERPARTS[op.name](op, *tensors)
    if op.name in LOSSES:
        return lambda t, y: LOSSES[op.name](y, t)
    return ACTIVATIONS.get(op.name)


def compare(op: Any, arrays: tuple[Any, ...], function: Any) -> None:
    """Value, and the gradient by each operand for a random cotangent."""
    tensors = [torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in arrays]
    result = function(*tensors)
    with np.errstate(all="ignore"):
        value = np.asarray(op.compute(*arrays))
    np.testing.assert_allclose(value, result.detach().numpy(), rtol=1e-12, atol=1e-12)
    cotangent = np.random.default_rng(0).uniform(-2, 2, value.shape)
    if result.requires_grad:
        result.backward(torch.tensor(cotangent))
    else:
        assert pulled_back(op, arrays, cotangent) == [None] * len(arrays)
    for gradient, tensor in zip(pulled_back(op, arrays, cotangent), tensors, strict=True):
        if gradient is not None:
            expected = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
            np.testing.assert_allclose(gradient, expected.numpy(), rtol=1e-11, atol=1e-12)


def test_every_op_that_carries_a_derivative_has_a_counterpart() -> None:
    missing = [op.name for op in every_op() if differentiable(op) and counterpart(op) is None]
    assert not missing, "name what they are in PyTorch in COUNTERPARTS"


CASES = [case for case in all_cases(differentiable) if counterpart(case[1])]  # the others: see above


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_op_is_pytorchs(case: Case) -> None:
    _, op, arrays = case
    compare(op, arrays, counterpart(op))


@pytest.mark.parametrize("axis", range(-3, 3))
@pytest.mark.parametrize("op", [Softmax, LogSoftmax])
def test_softmax_along_every_axis(op: Any, axis: int) -> None:
    x = np.random.default_rng(1).uniform(-3, 3, (2, 3, 4))
    compare(op(axis), (x,), lambda x: (torch.softmax if op is Softmax else torch.log_softmax)(x, axis))


LABELS = [
    "nk,jk->nj", "nk,kj->nj", "kn,jk->jn", "kn,kj->jn", "nj,jk->nk", "nj,nk->jk", "nj,nk->kj", "jn,kn->jk",
    "ntk,jk->ntj", "ntj,ntk->jk", "nqd,nkd->nqk", "nqk,nkd->nqd", "nhqd,nhkd->nhqk", "hqk,hkd->hqd",
    "k,k->", "i,j->ij", "ik,k->i", "k,kj->j", ",k->k", ",->", "ij,ij->ij", "ij,ij->", "ij,i->ij",
]  # fmt: skip


@pytest.mark.parametrize("labels", LABELS)
def test_contraction_is_einsum(labels: str) -> None:
    operands, out = labels.split("->")
    left, right = operands.split(",")
    extents = dict(zip("nkjtqdhi", (2, 3, 4, 5, 3, 2, 2, 3), strict=True))
    rng = np.random.default_rng(2)
    a, b = (rng.uniform(-2, 2, [extents[c] for c in word]) for word in (left, right))
    op = Contract(left, right, out)
    compare(op, (a, b), lambda a, b: torch.einsum(labels, a, b))
    result = np.full(op.shape(a.shape, b.shape), np.nan)
    for function, arguments in bound(op, result, (a, b)):
        function(*arguments)
    np.testing.assert_allclose(result, np.einsum(labels, a, b), rtol=1e-13, atol=1e-14)
    for bias in sorted({out, out[-1:], out[:1], ""}):
        shape = [extents[c] for c in bias]
        biased = Contract(left, right, out, bias)
        value = rng.uniform(-2, 2, shape)
        compare(biased, (a, b, value), lambda a, b, c, bias=bias: torch.einsum(labels, a, b) + torch.einsum(
            f"{bias},{out}->{out}", c, torch.ones([extents[o] for o in out], dtype=torch.float64)
        ))  # fmt: skip


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_reductions_over_all_axes(axes: tuple[int, ...]) -> None:
    x = np.random.default_rng(3).uniform(-2, 2, (2, 3, 4))
    words = ("place",) * len(axes)
    compare(Total(axes, words), (x,), lambda x: torch.sum(x, axes))
    compare(Mean(axes, words), (x,), lambda x: torch.mean(x, axes))
    compare(LogSumExp(axes, words), (x,), lambda x: torch.logsumexp(x, axes))
    compare(LogSumExp(axes, words), (500 * x,), lambda x: torch.logsumexp(x, axes))
    compare(Extreme(axes, words), (x,), lambda x: torch.amax(x, axes))
    compare(Extreme(axes, words, True), (x,), lambda x: torch.amin(x, axes))


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
@pytest.mark.parametrize("z", [-40.0, -6.0, -3.0, -1.0, 0.0, 1.0, 3.0, 6.0, 40.0])
def test_activation_at_its_edges(name: str, z: float) -> None:
    from bptrace.layers.functions import FUNCTIONS

    if name in ("softmax", "log_softmax"):
        compare(FUNCTIONS[name](axis=0), (np.array([z, 1.0]),), lambda x: ACTIVATIONS[name](x, axis=0))
    else:
        compare(FUNCTIONS[name](), (np.array([z]),), ACTIVATIONS[name])


def test_constants_of_activations() -> None:
    from bptrace.ops.activations import Elu, LeakyRelu, ScaledTanh

    rng = random.Random(4)
    z = np.array([rng.uniform(-3, 3) for _ in range(9)])
    compare(Elu(0.3), (z,), lambda x: F.elu(x, 0.3))
    compare(LeakyRelu(0.2), (z,), lambda x: F.leaky_relu(x, 0.2))
    compare(ScaledTanh(1.2, 0.7), (z,), lambda x: 1.2 * torch.tanh(0.7 * x))
