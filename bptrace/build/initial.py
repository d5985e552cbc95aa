"""Starting values of parameters that the YAML does not give.

They are drawn from `random.Random(f"{seed}:{id}")`, of which only `.random()` is used, row by row, so
that they never change with a library's version or with other layers. `numpy_legacy` repeats courses
that use `np.random.seed` instead.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from bptrace.spec.models import Initializer

Fan = tuple[int, int]


class Drawer:
    """Draws starting values for one network."""

    def __init__(self, seed: int, default: Initializer | None) -> None:
        self.seed = seed
        self.default = default or Initializer()
        self._legacy: dict[int, object] = {}

    def draw(self, id: str, count: int, fan: Fan, bias: bool, initializer: Initializer | None) -> list[float]:
        """`count` values for the parameter `id`, whose unit has `fan` inputs and outputs."""
        given = initializer or self.default
        if bias and given.type not in ("uniform", "constant", "zeros", "ones"):
            return [0.0] * count
        if given.numpy_legacy is not None:
            return self._numpy(given, count, fan)
        stream = random.Random(f"{self.seed}:{id}").random
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
    gain = given.gain if given.gain is not None else 1.0
    std = {
        "xavier_uniform": gain * math.sqrt(2 / (inputs + outputs)),
        "xavier_normal": gain * math.sqrt(2 / (inputs + outputs)),
        "he_uniform": math.sqrt(2 / inputs),
        "he_normal": math.sqrt(2 / inputs),
    }.get(given.type, 1.0)
    std = given.std if given.std is not None else std
    bound = 1 / math.sqrt(inputs) if given.type == "uniform" else std * math.sqrt(3)
    low = given.low if given.low is not None else -bound
    high = given.high if given.high is not None else bound
    return low, high, given.mean or 0.0, std


def _value(given: Initializer, fan: Fan, stream: Callable[[], float]) -> float:
    low, high, mean, std = _bounds(given, fan)
    match given.type:
        case "zeros":
            return 0.0
        case "ones":
            return 1.0
        case "constant":
            return given.value or 0.0
        case "normal" | "xavier_normal" | "he_normal":
            radius = math.sqrt(-2 * math.log(1 - stream()))
            return mean + std * radius * math.cos(2 * math.pi * stream())
        case _:
            return low + (high - low) * stream()
