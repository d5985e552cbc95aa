"""Activation functions, and the elementary functions of graph expressions.

Each is a kernel, a formula and one derivative line, which serves both modes. The derivative may
read the argument z, the result a, or both; `derivative_from` chooses where both are customary.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from bptrace.formula.expr import ONE, ZERO, Expr, Function, choose, exp, ln, number, sqrt, tanh
from bptrace.graph.node import Node
from bptrace.graph.op import Call, Emit, Op, Read, Sample, Scratch, Term
from bptrace.ops.arithmetic import Pointwise, copy_of, random_array, times
from bptrace.ops.lazy import np

if TYPE_CHECKING:
    from bptrace.graph.op import Array

EDGES = [-3.0, -1.0, -0.25, 0.0, 0.25, 1.0, 3.0]


@dataclass(frozen=True)
class Unary(Pointwise):
    """A function of one argument, with its derivative."""

    reads: ClassVar[str] = "a"
    """What the derivative reads: the argument `z`, the result `a`, or both, `za`."""
    sign: ClassVar[str] = ""
    whole_slope: ClassVar[bool] = False
    """Whether the derivative is a whole number everywhere."""

    def slope(self, z: Expr, a: Expr) -> Expr:
        """The derivative at one element."""
        raise NotImplementedError

    def slope_kernel(self, z: Array, a: Array) -> Array:
        raise NotImplementedError

    def bind_slope(self, out: Array, z: Array, a: Array, scratch: Scratch) -> Iterable[Call]:
        return [(_copy_slope, (self, z, a, out))]

    def symbol(self) -> str:
        return self.sign

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return times(cotangent, self.local(emit, node))

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return times(tangent, self.local(emit, node))

    def local(self, emit: Emit, node: Node) -> Node:
        """The node of the local derivative."""
        argument = node.inputs[0]
        operands = {"z": (argument,), "a": (node,), "za": (argument, node)}[self.reads]
        return emit(Slope(self), *operands, inline=False)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 2, 3),)), (cls(), (EDGES,))]


def _copy_slope(function: Unary, z: Array, a: Array, out: Array) -> None:
    out[...] = function.slope_kernel(z, a)


@dataclass(frozen=True)
class Slope(Pointwise):
    """The local derivative of a function: σ'(z)."""

    name = "slope"
    function: Unary

    def counts(self) -> bool:
        return self.function.whole_slope

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        return self.function.bind_slope(out, arrays[0], arrays[-1], scratch)

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(self.function.slope_kernel(arrays[0], arrays[-1]))

    def value(self, *operands: Expr) -> Expr:
        return self.function.slope(operands[0], operands[-1])

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        found: list[Sample] = []
        for function in unary_functions():
            for op, (argument,) in function.samples(rng):
                assert isinstance(op, Unary)
                z = np.array(argument)
                a = op.compute(z)
                found.append((cls(op), {"z": (z,), "a": (a,), "za": (z, a)}[op.reads]))
        return found


class Identity(Unary):
    name = "identity"
    sign = "id"

    def compute(self, *arrays: Array) -> Array:
        return arrays[0].copy()

    def value(self, *operands: Expr) -> Expr:
        return operands[0]

    def slope(self, z: Expr, a: Expr) -> Expr:
        return ONE

    def slope_kernel(self, z: Array, a: Array) -> Array:
        return np.ones_like(a)

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return copy_of(cotangent)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return copy_of(tangent)


def logistic(z: Expr) -> Expr:
    """1/(1 + exp(-z))"""
    return ONE / (ONE + exp(-z))


class Sigmoid(Unary):
    name = "sigmoid"
    sign = "σ"

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        one = np.array(1.0)
        return [
            (np.negative, (arrays[0], out)),
            (np.exp, (out, out)),
            (np.add, (out, one, out)),
            (np.divide, (one, out, out)),
        ]

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(1.0 / (1.0 + np.exp(-arrays[0])))

    def value(self, *operands: Expr) -> Expr:
        return logistic(operands[0])

    def slope(self, z: Expr, a: Expr) -> Expr:
        return a * (ONE - a)

    def slope_kernel(self, z: Array, a: Array) -> Array:
        return np.asarray(a * (1.0 - a))

    def bind_slope(self, out: Array, z: Array, a: Array, scratch: Scratch) -> Iterable[Call]:
        return [(np.subtract, (np.array(1.0), a, out)), (np.multiply, (a, out, out))]


class SigmoidFromArgument(Sigmoid):
    """Sigmoid whose derivative is written from z: σ(z)·(1 - σ(z))."""

    name = "sigmoid_from_argument"
    reads = "z"

    def slope(self, z: Expr, a: Expr) -> Expr:
        return logistic(z) * (ONE - logistic(z))

    def slope_kernel(self, z: Array, a: Array) -> Array:
        s = 1.0 / (1.0 + np.exp(-z))
        return np.asarray(s * (1.0 - s))

    def bind_slope(self, out: Array, z: Array, a: Array, scratch: Scratch) -> Iterable[Call]:
        return Unary.bind_slope(self, out, z, a, scratch)


class BipolarSigmoid(Unary):
    """2/(1 + exp(-z)) - 1, which is tanh(z/2)."""

    name = "bipolar_sigmoid"
    sign = "f"

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(2.0 / (1.0 + np.exp(-arrays[0])) - 1.0)

    def value(self, *operands: Expr) -> Expr:
        return number(2) / (ONE + exp(-operands[0])) - ONE

    def slope(self, z: Expr, a: Expr) -> Expr:
        return number(Fraction(1, 2)) * (ONE + a) * (ONE - a)

    def slope_kernel(self, z: Array, a: Array) -> Array:
        return np.asarray(0.5 * (1.0 + a) * (1.0 - a))


class Tanh(Unary):
    name = "tanh"
    sign = "tanh"

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        return [(np.tanh, (arrays[0], out))]

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(np.tanh(arrays[0]))

    def value(self, *operands: Expr) -> Expr:
        return tanh(operands[0])

    def slope(self, z: Expr, a: Expr) -> Expr:
        return ONE - a**2

    def slope_kernel(self, z: Array, a: Array) -> Array:
        return np.asarray(1.0 - a * a)

    def bind_slope(self, out: Array, z: Array, a: Array, scratch: Scratch) -> Iterable[Call]:
        return [(np.multiply, (a, a, out)), (np.subtract, (np.array(1.0), out, out))]


class TanhFromArgument(Tanh):
    """tanh whose derivative is written from z: 1 - tanh(z)²."""

    name = "tanh_from_argument"
    reads = "z"

    def slope(self, z: Expr, a: Expr) -> Expr:
        return ONE - tanh(z) ** 2

    def slope_kernel(self, z: Array, a: Array) -> Array:
        return np.asarray(1.0 - np.tanh(z) ** 2)

    def bind_slope(self, out: Array, z: Array, a: Array, scratch: Scratch) -> Iterable[Call]:
        return Unary.bind_slope(self, out, z, a, scratch)


@dataclass(frozen=True)
class ScaledTanh(Unary):
    """scale·tanh(slope·z), after LeCun's Efficient BackProp."""

    name = "scaled_tanh"
    sign = "f"
    scale: float = 1.7159
    steepness: float = 2 / 3

    def _steepness(self) -> Expr:
        return number(Fraction(2, 3)) if self.steepness == 2 / 3 else number(self.steepness)

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(self.scale * np.tanh(self.steepness * arrays[0]))

    def value(self, *operands: Expr) -> Expr:
        return number(self.scale) * tanh(self._steepness() * operands[0])

    def slope(self, z: Expr, a: Expr) -> Expr:
        scale = number(self.scale)
        return self._steepness() * (scale - a**2 / scale)

    def slope_kernel(self, z: Array, a: Array) -> Array:
        return np.asarray(self.steepness * (self.scale - a * a / self.scale))


class Relu(Unary):
    name = "relu"
    sign = "relu"
    reads = "z"
    whole_slope = True

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        # NumPy 2.4 deprecates a positional `out` of maximum
        return [(partial(np.maximum, out=out), (np.array(0.0), arrays[0]))]

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(np.maximum(0.0, arrays[0]))

    def value(self, *operands: Expr) -> Expr:
        return Function("max", (ZERO, operands[0]))

    def slope(self, z: Expr, a: Expr) -> Expr:
        return choose(z, ">", ZERO, 1, 0)

    def slope_kernel(self, z: Array, a: Array) -> Array:
        return np.asarray(z > 0.0, dtype=np.float64)

    def bind_slope(self, out: Array, z: Array, a: Array, scratch: Scratch) -> Iterable[Call]:
        return [(np.greater, (z, np.array(0.0), out))]


@dataclass(frozen=True)
class LeakyRelu(Unary):
    name = "leaky_relu"
    sign = "f"
    reads = "z"
    negative_slope: float = 0.01

    def compute(self, *arrays: Array) -> Array:
        return np.where(arrays[0] > 0.0, arrays[0], self.negative_slope * arrays[0])

    def value(self, *operands: Expr) -> Expr:
        (z,) = operands
        return choose(z, ">", ZERO, z, number(self.negative_slope) * z)

    def slope(self, z: Expr, a: Expr) -> Expr:
        return choose(z, ">", ZERO, 1, self.negative_slope)

    def slope_kernel(self, z: Array, a: Array) -> Array:
        return np.where(z > 0.0, 1.0, self.negative_slope)


@dataclass(frozen=True)
class Elu(Unary):
    name = "elu"
    sign = "f"
    reads = "z"
    alpha: float = 1.0

    def compute(self, *arrays: Array) -> Array:
        return np.where(arrays[0] > 0.0, arrays[0], self.alpha * np.expm1(np.minimum(arrays[0], 0.0)))

    def value(self, *operands: Expr) -> Expr:
        (z,) = operands
        below = exp(z) - ONE
        return choose(z, ">", ZERO, z, below if self.alpha == 1 else number(self.alpha) * below)

    def slope(self, z: Expr, a: Expr) -> Expr:
        return choose(z, ">", ZERO, 1, exp(z) if self.alpha == 1 else number(self.alpha) * exp(z))

    def slope_kernel(self, z: Array, a: Array) -> Array:
        return np.where(z > 0.0, 1.0, self.alpha * np.exp(np.minimum(z, 0.0)))


@dataclass(frozen=True)
class Selu(Unary):
    name = "selu"
    sign = "f"
    reads = "z"
    alpha: float = 1.6732632423543772848170429916717
    scale: float = 1.0507009873554804934193349852946

    def compute(self, *arrays: Array) -> Array:
        below = self.alpha * np.expm1(np.minimum(arrays[0], 0.0))
        return np.asarray(self.scale * np.where(arrays[0] > 0.0, arrays[0], below))

    def value(self, *operands: Expr) -> Expr:
        (z,) = operands
        scale = number(self.scale)
        return choose(z, ">", ZERO, scale * z, scale * number(self.alpha) * (exp(z) - ONE))

    def slope(self, z: Expr, a: Expr) -> Expr:
        scale = number(self.scale)
        return choose(z, ">", ZERO, scale, scale * number(self.alpha) * exp(z))

    def slope_kernel(self, z: Array, a: Array) -> Array:
        return np.asarray(self.scale * np.where(z > 0.0, 1.0, self.alpha * np.exp(np.minimum(z, 0.0))))


class Softplus(Unary):
    """ln(1 + exp(z))."""

    name = "softplus"
    sign = "softplus"
    reads = "z"

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(np.logaddexp(0.0, arrays[0]))

    def value(self, *operands: Expr) -> Expr:
        return ln(ONE + exp(operands[0]))

    def slope(self, z: Expr, a: Expr) -> Expr:
        return logistic(z)

    def slope_kernel(self, z: Array, a: Array) -> Array:
        return np.asarray(1.0 / (1.0 + np.exp(-z)))


class Softsign(Unary):
    """z/(1 + |z|)."""

    name = "softsign"
    sign = "softsign"
    reads = "z"

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(arrays[0] / (1.0 + np.abs(arrays[0])))

    def value(self, *operands: Expr) -> Expr:
        return operands[0] / (ONE + Function("abs", operands))

    def slope(self, z: Expr, a: Expr) -> Expr:
        return ONE / (ONE + Function("abs", (z,))) ** 2

    def slope_kernel(self, z: Array, a: Array) -> Array:
        return np.asarray(1.0 / (1.0 + np.abs(z)) ** 2)


def _erf(x: Array) -> Array:
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x), dtype=np.float64)


PI = number(math.pi)


class Gelu(Unary):
    """z·Φ(z), Φ the normal distribution function: z/2·(1 + erf(z/√2))."""

    name = "gelu"
    sign = "gelu"
    reads = "z"

    def compute(self, *arrays: Array) -> Array:
        z = arrays[0]
        return np.asarray(0.5 * z * (1.0 + _erf(z / math.sqrt(2.0))))

    def value(self, *operands: Expr) -> Expr:
        (z,) = operands
        return z / number(2) * (ONE + Function("erf", (z / sqrt(number(2)),)))

    def slope(self, z: Expr, a: Expr) -> Expr:
        half = number(Fraction(1, 2))
        normal = half * (ONE + Function("erf", (z / sqrt(number(2)),)))
        return normal + z * exp(-(z**2) / number(2)) / sqrt(number(2) * PI)

    def slope_kernel(self, z: Array, a: Array) -> Array:
        density = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
        return np.asarray(0.5 * (1.0 + _erf(z / math.sqrt(2.0))) + z * density)


class GeluTanh(Unary):
    """The tanh approximation of gelu: z/2·(1 + tanh(√(2/π)·(z + 0.044715·z³)))."""

    name = "gelu_tanh"
    sign = "gelu"
    reads = "z"

    @staticmethod
    def _inner(z: Expr) -> Expr:
        return tanh(sqrt(number(2) / PI) * (z + number(0.044715) * z**3))

    def compute(self, *arrays: Array) -> Array:
        z = arrays[0]
        return np.asarray(0.5 * z * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (z + 0.044715 * z**3))))

    def value(self, *operands: Expr) -> Expr:
        (z,) = operands
        return z / number(2) * (ONE + self._inner(z))

    def slope(self, z: Expr, a: Expr) -> Expr:
        inner, half = self._inner(z), number(Fraction(1, 2))
        chain = sqrt(number(2) / PI) * (ONE + number(0.134145) * z**2)
        return half * (ONE + inner) + z / number(2) * (ONE - inner**2) * chain

    def slope_kernel(self, z: Array, a: Array) -> Array:
        root = math.sqrt(2.0 / math.pi)
        t = np.tanh(root * (z + 0.044715 * z**3))
        return np.asarray(0.5 * (1.0 + t) + 0.5 * z * (1.0 - t * t) * root * (1.0 + 3 * 0.044715 * z * z))


class Swish(Unary):
    """z·σ(z), also called SiLU."""

    name = "swish"
    sign = "swish"
    reads = "z"

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(arrays[0] / (1.0 + np.exp(-arrays[0])))

    def value(self, *operands: Expr) -> Expr:
        return operands[0] / (ONE + exp(-operands[0]))

    def slope(self, z: Expr, a: Expr) -> Expr:
        s = logistic(z)
        return s * (ONE + z * (ONE - s))

    def slope_kernel(self, z: Array, a: Array) -> Array:
        s = 1.0 / (1.0 + np.exp(-z))
        return np.asarray(s * (1.0 + z * (1.0 - s)))


class HardSigmoid(Unary):
    """min(max(z/6 + 1/2, 0), 1), PyTorch's."""

    name = "hard_sigmoid"
    sign = "f"
    reads = "z"

    def compute(self, *arrays: Array) -> Array:
        return np.clip(arrays[0] / 6.0 + 0.5, 0.0, 1.0)

    def value(self, *operands: Expr) -> Expr:
        line = operands[0] / number(6) + number(Fraction(1, 2))
        return Function("min", (ONE, Function("max", (ZERO, line))))

    def slope(self, z: Expr, a: Expr) -> Expr:
        return choose(Function("abs", (z,)), "<", 3, number(Fraction(1, 6)), 0)

    def slope_kernel(self, z: Array, a: Array) -> Array:
        return np.where(np.abs(z) < 3.0, 1.0 / 6.0, 0.0)


class HardTanh(Unary):
    """min(max(z, -1), 1)."""

    name = "hard_tanh"
    sign = "f"
    reads = "z"
    whole_slope = True

    def compute(self, *arrays: Array) -> Array:
        return np.clip(arrays[0], -1.0, 1.0)

    def value(self, *operands: Expr) -> Expr:
        return Function("min", (ONE, Function("max", (number(-1), operands[0]))))

    def slope(self, z: Expr, a: Expr) -> Expr:
        return choose(Function("abs", (z,)), "<", 1, 1, 0)

    def slope_kernel(self, z: Array, a: Array) -> Array:
        return np.where(np.abs(z) < 1.0, 1.0, 0.0)


class Step(Unary):
    """1 for z >= 0, else 0; its derivative is 0."""

    name = "step"
    sign = "step"
    reads = "z"
    whole_slope = True

    def compute(self, *arrays: Array) -> Array:
        return np.where(arrays[0] >= 0.0, 1.0, 0.0)

    def value(self, *operands: Expr) -> Expr:
        return choose(operands[0], ">=", ZERO, 1, 0)

    def slope(self, z: Expr, a: Expr) -> Expr:
        return ZERO

    def slope_kernel(self, z: Array, a: Array) -> Array:
        return np.zeros_like(a)


class Exp(Unary):
    name = "exp"
    sign = "exp"

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(np.exp(arrays[0]))

    def value(self, *operands: Expr) -> Expr:
        return exp(operands[0])

    def slope(self, z: Expr, a: Expr) -> Expr:
        return a

    def slope_kernel(self, z: Array, a: Array) -> Array:
        return a.copy()

    def local(self, emit: Emit, node: Node) -> Node:
        return node  # exp is its own derivative: no second name for the same number


class Log(Unary):
    """The natural logarithm."""

    name = "log"
    sign = "ln"
    reads = "z"

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(np.log(arrays[0]))

    def value(self, *operands: Expr) -> Expr:
        return ln(operands[0])

    def slope(self, z: Expr, a: Expr) -> Expr:
        return ONE / z

    def slope_kernel(self, z: Array, a: Array) -> Array:
        return np.asarray(1.0 / z)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 2, 3, low=0.1),))]


class Sqrt(Unary):
    name = "sqrt"
    sign = "√"

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(np.sqrt(arrays[0]))

    def value(self, *operands: Expr) -> Expr:
        return sqrt(operands[0])

    def slope(self, z: Expr, a: Expr) -> Expr:
        return ONE / (number(2) * a)

    def slope_kernel(self, z: Array, a: Array) -> Array:
        return np.asarray(0.5 / a)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 2, 3, low=0.1),))]


class Abs(Unary):
    """|z|; the derivative at 0 is 0, as PyTorch's."""

    name = "abs"
    sign = "abs"
    reads = "z"
    whole_slope = True

    def compute(self, *arrays: Array) -> Array:
        return np.abs(arrays[0])

    def value(self, *operands: Expr) -> Expr:
        return Function("abs", operands)

    def slope(self, z: Expr, a: Expr) -> Expr:
        return choose(z, ">", ZERO, 1, choose(z, "<", ZERO, -1, 0))

    def slope_kernel(self, z: Array, a: Array) -> Array:
        return np.sign(z)


class Sin(Unary):
    name = "sin"
    sign = "sin"
    reads = "z"

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(np.sin(arrays[0]))

    def value(self, *operands: Expr) -> Expr:
        return Function("sin", operands)

    def slope(self, z: Expr, a: Expr) -> Expr:
        return Function("cos", (z,))

    def slope_kernel(self, z: Array, a: Array) -> Array:
        return np.asarray(np.cos(z))


class Cos(Unary):
    name = "cos"
    sign = "cos"
    reads = "z"

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(np.cos(arrays[0]))

    def value(self, *operands: Expr) -> Expr:
        return Function("cos", operands)

    def slope(self, z: Expr, a: Expr) -> Expr:
        return -Function("sin", (z,))

    def slope_kernel(self, z: Array, a: Array) -> Array:
        return np.asarray(-np.sin(z))


def unary_functions() -> list[type[Unary]]:
    """Every function of this module, in order of name."""

    def below(cls: type[Unary]) -> set[type[Unary]]:
        return {cls}.union(*(below(sub) for sub in cls.__subclasses__()))

    return sorted((op for op in below(Unary) if op.name), key=lambda op: op.name)


FROM_ARGUMENT: dict[type[Op], type[Unary]] = {Sigmoid: SigmoidFromArgument, Tanh: TanhFromArgument}
"""The functions whose derivative is customarily written from a or from z."""
