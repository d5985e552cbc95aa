"""Starting values of parameters that the YAML does not give.

They are drawn from `random.Random(f"{seed}:{id}")`, of which only `.random()` is used, row by row, so
that they never change with a library's version or with other layers. `numpy_legacy` repeats courses
that use `np.random.seed` instead. Names and defaults are those of `torch.nn.init`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from statistics import NormalDist

from bptrace.graph.node import Shape
from bptrace.spec.models import Initializer

Fan = tuple[int, int]

SAME = {
    "kaiming_uniform": "he_uniform", "kaiming_normal": "he_normal",
    "glorot_uniform": "xavier_uniform", "glorot_normal": "xavier_normal",
}  # fmt: skip
"""Types that have two names."""


class Drawer:
    """Draws starting values for one network."""

    def __init__(self, seed: int, default: Initializer | None) -> None:
        self.seed = seed
        self.default = default or Initializer()
        self._legacy: dict[int, object] = {}

    def draw(self, id: str, shape: Shape, fan: Fan, bias: bool, initializer: Initializer | None) -> list[float]:
        """The values of the parameter `id`, whose unit has `fan` inputs and outputs, row by row.

        Raises ValueError for a type that a parameter of this shape cannot have.
        """
        given, count = initializer or self.default, math.prod(shape)
        if bias and given.type not in ("uniform", "constant", "zeros", "ones"):
            return [0.0] * count
        if given.numpy_legacy is not None:
            return self._numpy(given, count, fan)
        stream = random.Random(f"{self.seed}:{id}").random
        match given.type:
            case "orthogonal":
                return _orthogonal(shape, given.gain if given.gain is not None else 1.0, stream)
            case "eye":
                rows, columns = _matrix(shape, "eye")
                return [float(i == j) for i in range(rows) for j in range(columns)]
            case "dirac":
                return _dirac(shape)
            case "sparse":
                return _sparse(shape, given, stream)
        return [_value(given, fan, stream) for _ in range(count)]

    def _numpy(self, given: Initializer, count: int, fan: Fan) -> list[float]:
        import numpy as np

        seed = given.numpy_legacy or 0
        # one stream a seed for the whole network, as in a script that seeds once
        stream = self._legacy.setdefault(seed, np.random.RandomState(seed))
        assert isinstance(stream, np.random.RandomState)
        low, high, mean, std = _bounds(given, fan)
        if "normal" in given.type:
            return [float(v) for v in mean + std * stream.randn(count)]
        return [float(v) for v in low + (high - low) * stream.random_sample(count)]


def _bounds(given: Initializer, fan: Fan) -> tuple[float, float, float, float]:
    """Low and high end, mean and standard deviation of a distribution."""
    inputs, outputs = fan
    chosen = outputs if given.mode == "fan_out" else inputs
    gain = given.gain if given.gain is not None else 1.0
    he = math.sqrt(2 / chosen) if given.gain is None else gain / math.sqrt(chosen)
    std = {
        "xavier_uniform": gain * math.sqrt(2 / (inputs + outputs)),
        "xavier_normal": gain * math.sqrt(2 / (inputs + outputs)),
        "he_uniform": he,
        "he_normal": he,
        "lecun_uniform": 1 / math.sqrt(inputs),
        "lecun_normal": 1 / math.sqrt(inputs),
    }.get(SAME.get(given.type, given.type), 1.0)
    std = given.std if given.std is not None else std
    bound = 1 / math.sqrt(inputs) if given.type == "uniform" else std * math.sqrt(3)
    low = given.low if given.low is not None else -bound
    high = given.high if given.high is not None else bound
    return low, high, given.mean or 0.0, std


def _value(given: Initializer, fan: Fan, stream: Callable[[], float]) -> float:
    low, high, mean, std = _bounds(given, fan)
    match SAME.get(given.type, given.type):
        case "zeros":
            return 0.0
        case "ones":
            return 1.0
        case "constant":
            return given.value or 0.0
        case "normal" | "xavier_normal" | "he_normal" | "lecun_normal":
            return mean + std * _normal(stream)
        case "trunc_normal":
            return _truncated(given, stream)
        case _:
            return low + (high - low) * stream()


def _normal(stream: Callable[[], float]) -> float:
    """A number of the standard normal distribution (Box and Muller)."""
    radius = math.sqrt(-2 * math.log(1 - stream()))
    return radius * math.cos(2 * math.pi * stream())


def _truncated(given: Initializer, stream: Callable[[], float]) -> float:
    """A normal number between `low` and `high`, -2 and 2 unless given, from the inverse of its distribution."""
    mean, std = given.mean or 0.0, given.std if given.std is not None else 1.0
    low = given.low if given.low is not None else -2.0
    high = given.high if given.high is not None else 2.0
    if not std or low >= high:
        raise ValueError(f"trunc_normal from {low:g} to {high:g} with the standard deviation {std:g}")
    normal = NormalDist(mean, std)
    least, most = normal.cdf(low), normal.cdf(high)
    share = least + (most - least) * stream()
    return min(max(normal.inv_cdf(share), low), high) if 0 < share < 1 else low


def _matrix(shape: Shape, type: str) -> tuple[int, int]:
    if len(shape) != 2:
        raise ValueError(f"{type} is for a matrix, not for a parameter of shape {list(shape)}")
    return shape[0], shape[1]


def _orthogonal(shape: Shape, gain: float, stream: Callable[[], float]) -> list[float]:
    """Rows (or, where there are fewer of them, columns) at right angles to each other, all of length `gain`.

    Axes after the first count as one. The vectors are normal numbers, made orthogonal one after the
    other (Gram and Schmidt, twice against rounding).
    """
    if len(shape) < 2:
        raise ValueError(f"orthogonal is for two axes or more, not for a parameter of shape {list(shape)}")
    rows, columns = shape[0], math.prod(shape[1:])
    count, length = min(rows, columns), max(rows, columns)
    made: list[list[float]] = []
    for _ in range(count):
        vector = [_normal(stream) for _ in range(length)]
        for other in [*made, *made]:
            along = math.fsum(a * b for a, b in zip(vector, other, strict=True))
            vector = [a - along * b for a, b in zip(vector, other, strict=True)]
        size = math.sqrt(math.fsum(a * a for a in vector))
        made.append([a / size for a in vector])
    across = made if rows <= columns else zip(*made, strict=True)
    return [gain * number for row in across for number in row]


def _dirac(shape: Shape) -> list[float]:
    """A convolution that passes each channel on: 1 in the middle of the kernel of output c and input c."""
    if len(shape) < 3:
        raise ValueError(f"dirac is for convolutions, not for a parameter of shape {list(shape)}")
    outputs, inputs, *kernel = shape
    places = math.prod(kernel)
    middle = 0
    for extent in kernel:
        middle = middle * extent + extent // 2
    return [float(o == i and k == middle) for o in range(outputs) for i in range(inputs) for k in range(places)]


def _sparse(shape: Shape, given: Initializer, stream: Callable[[], float]) -> list[float]:
    """Normal numbers, of which in each column the share `sparsity` is 0."""
    rows, columns = _matrix(shape, "sparse")
    mean, std = given.mean or 0.0, given.std if given.std is not None else 0.01
    values = [[mean + std * _normal(stream) for _ in range(columns)] for _ in range(rows)]
    zeros = math.ceil(rows * (given.sparsity if given.sparsity is not None else 0.0))
    for column in range(columns):
        left = list(range(rows))
        for _ in range(zeros):
            values[left.pop(int(stream() * len(left)))][column] = 0.0
    return [number for row in values for number in row]
