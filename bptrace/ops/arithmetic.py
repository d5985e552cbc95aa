"""Element-by-element arithmetic: copy, negate, scale, add, subtract, multiply, divide, power."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from bptrace.formula.expr import ONE, Expr, Index, Negation, Number, Product, Quotient, Sum, ln, number
from bptrace.graph.node import Node, Shape
from bptrace.graph.op import Call, Emit, Op, Operand, Read, Sample, Scratch, Term
from bptrace.ops.lazy import np
from bptrace.ops.leaves import Fill
from bptrace.ops.stacks import runs

if TYPE_CHECKING:
    from bptrace.graph.op import Array


def random_array(rng: random.Random, *shape: int, low: float = -2.0, high: float = 2.0) -> list[object] | float:
    """Nested lists of random numbers with few digits, for the universal tests."""
    if not shape:
        return round(rng.uniform(low, high), 3)
    return [random_array(rng, *shape[1:], low=low, high=high) for _ in range(shape[0])]


class Pointwise(Op):
    """Base of the ops that treat each element alike: the formula is one of scalars (`value`)."""

    elementwise = True

    def shape(self, *shapes: Shape) -> Shape:
        if any(shape != shapes[0] for shape in shapes):
            raise ValueError(f"the operands differ in shape: {', '.join(map(str, shapes))}")
        return shapes[0]

    def value(self, *operands: Expr) -> Expr:
        """The formula of one element."""
        raise NotImplementedError

    def formula(self, at: Index, *operands: Operand) -> Expr:
        return self.value(*(operand[at] for operand in operands))


class Copy(Pointwise):
    """The same value under another name."""

    name = "copy"

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        return [(np.copyto, (out, arrays[0]))]

    def compute(self, *arrays: Array) -> Array:
        return arrays[0].copy()

    def value(self, *operands: Expr) -> Expr:
        return operands[0]

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return copy_of(cotangent)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return copy_of(tangent)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 2, 2),))]


@dataclass(frozen=True)
class Scale(Pointwise):
    """A constant times the operand: -x, x/4, 3·x."""

    name = "scale"
    factor: Fraction = Fraction(-1)
    text: str = ""

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        if self.factor == -1:
            return [(np.negative, (arrays[0], out))]
        if self.factor.numerator == 1:
            return [(np.divide, (arrays[0], np.array(float(self.factor.denominator)), out))]
        return [(np.multiply, (arrays[0], np.array(float(self.factor)), out))]

    def compute(self, *arrays: Array) -> Array:
        return arrays[0] * float(self.factor)

    def value(self, *operands: Expr) -> Expr:
        if self.text:
            return Product((number(float(self.text)), operands[0]))
        if self.factor == -1:
            return negated(operands[0])
        if self.factor.numerator == 1:
            return Quotient(operands[0], number(self.factor.denominator))
        return Product((number(self.factor), operands[0]))

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return scaled(emit, self.factor, copy_of(cotangent))

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return scaled(emit, self.factor, copy_of(tangent))

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(Fraction(*ratio)), (random_array(rng, 3),)) for ratio in ((-1, 1), (1, 4), (2, 3), (3, 1))]


class Add(Pointwise):
    """The sum of any number of operands."""

    name = "add"

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        if len(arrays) == 1:
            return [(np.copyto, (out, arrays[0]))]
        if len(arrays) > 2:
            (together, *apart) = runs([(array,) for array in arrays])
            if not apart and together.stacked[0] and out.ndim:
                return [(np.add.reduce, (together.columns[0], 0, None, out))]
        later = [(np.add, (out, array, out)) for array in arrays[2:]]
        return [(np.add, (arrays[0], arrays[1], out)), *later]

    def compute(self, *arrays: Array) -> Array:
        total = arrays[0].copy()
        for array in arrays[1:]:
            total += array
        return total

    def value(self, *operands: Expr) -> Expr:
        return operands[0] if len(operands) == 1 else Sum(operands)

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return copy_of(cotangent)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return copy_of(tangent)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), tuple(random_array(rng, 2, 2) for _ in range(count))) for count in (1, 2, 3)]


class Subtract(Pointwise):
    name = "subtract"

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        return [(np.subtract, (*arrays, out))]

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(arrays[0] - arrays[1])

    def value(self, *operands: Expr) -> Expr:
        return operands[0] - operands[1]

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return copy_of(cotangent) if k == 0 else scaled(emit, Fraction(-1), copy_of(cotangent))

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return copy_of(tangent) if k == 0 else scaled(emit, Fraction(-1), copy_of(tangent))

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 2, 2), random_array(rng, 2, 2)))]


class Multiply(Pointwise):
    """The product of two operands, element by element."""

    name = "multiply"

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        return [(np.multiply, (*arrays, out))]

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(arrays[0] * arrays[1])

    def value(self, *operands: Expr) -> Expr:
        return operands[0] * operands[1]

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return times(cotangent, read(node.inputs[1 - k]))

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return times(tangent, node.inputs[1 - k])

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 2, 2), random_array(rng, 2, 2))), (cls(), (3.0, -0.5))]


class Divide(Pointwise):
    name = "divide"

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        return [(np.divide, (*arrays, out))]

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(arrays[0] / arrays[1])

    def value(self, *operands: Expr) -> Expr:
        return operands[0] / operands[1]

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        top, bottom = map(read, node.inputs)
        if k == 0:
            return Divide(), (cotangent, bottom)
        return times(cotangent, emit(QuotientSlope(), top, bottom, inline=False))

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return self.vjp(emit, node, k, tangent, lambda operand: operand)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 2, 2), random_array(rng, 2, 2, low=0.5))), (cls(), (3.0, -0.5))]


class QuotientSlope(Pointwise):
    """The derivative of a/b by b: -a/b²."""

    name = "quotient_slope"

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(-arrays[0] / (arrays[1] * arrays[1]))

    def value(self, *operands: Expr) -> Expr:
        return -(operands[0] / operands[1] ** 2)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 2, 2), random_array(rng, 2, 2, low=0.5)))]


class Power(Pointwise):
    """base ** exponent."""

    name = "power"

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(np.power(*arrays))

    def value(self, *operands: Expr) -> Expr:
        return operands[0] ** operands[1]

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        base, exponent = map(read, node.inputs)
        if k == 0:
            return times(cotangent, emit(PowerSlope(), base, exponent, inline=False))
        return times(cotangent, emit(ExponentSlope(), base, node, inline=False))

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return self.vjp(emit, node, k, tangent, lambda operand: operand)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [
            (cls(), (random_array(rng, 3, low=0.5), random_array(rng, 3))),
            (cls(), ([-2.0, 0.5, 3.0], [3.0, 3.0, 3.0])),
        ]


class PowerSlope(Pointwise):
    """The derivative of b**n by b: n·b**(n-1), written `2·b` for a literal n of 2."""

    name = "power_slope"

    def compute(self, *arrays: Array) -> Array:
        base, exponent = arrays
        return np.asarray(exponent * np.power(base, exponent - 1))

    def value(self, *operands: Expr) -> Expr:
        base, exponent = operands
        if not isinstance(exponent, Number):
            return exponent * base ** (exponent - ONE)
        if exponent.value == 1:
            return ONE
        lower = exponent.value - 1
        return exponent * (
            base if lower == 1 else base ** number(float(lower) if lower.denominator > 1 else int(lower))
        )

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 3, low=0.5), random_array(rng, 3)))]


class ExponentSlope(Pointwise):
    """The derivative of b**n by n, from the result y = b**n: y·ln(b)."""

    name = "exponent_slope"

    def compute(self, *arrays: Array) -> Array:
        base, result = arrays
        return np.asarray(result * np.log(base))

    def value(self, *operands: Expr) -> Expr:
        base, result = operands
        return result * ln(base)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 3, low=0.5), random_array(rng, 3, low=0.5)))]


def negated(expr: Expr) -> Expr:
    """-expr, with a difference turned round: -(y - t) is t - y."""
    match expr:
        case Negation(of):
            return of
        case Sum((first, Negation(second)), ""):
            return second - first
        case Product((Sum() as first, *rest)) if len(first.terms) == 2:
            return Product((negated(first), *rest))
        case _:
            return -expr


def split(node: Node) -> tuple[Fraction, Node]:
    """An inline constant multiple as its factor and what is multiplied."""
    if node.inline and isinstance(node.op, Scale):
        return node.op.factor, node.inputs[0]
    return Fraction(1), node


def constant_of(node: Node) -> Fraction | None:
    """The constant that fills a node, if one does."""
    return node.op.value if isinstance(node.op, Fill) else None


def copy_of(node: Node) -> Term:
    """The node itself, as an operation."""
    return (Fill(node.op.value, node.shape, node.op.text), ()) if isinstance(node.op, Fill) else (Copy(), (node,))


def times(cotangent: Node, x: Node) -> Term:
    """cotangent · x; x itself for a cotangent of 1, so that no page shows `1·x`."""
    constant = constant_of(cotangent)
    if constant is None:
        return (Scale(x.op.value), (cotangent,)) if isinstance(x.op, Fill) else (Multiply(), (cotangent, x))
    if isinstance(x.op, Fill):
        return Fill(constant * x.op.value, x.shape), ()
    return copy_of(x) if constant == 1 else (Scale(constant), (x,))


def scaled(emit: Emit, factor: Fraction, term: Term) -> Term:
    """factor · term, where the constants of both are made one."""
    op, inputs = term
    if factor == 1:
        return term
    if isinstance(op, Fill):
        return Fill(op.value * factor, op.extents), ()
    if isinstance(op, Scale):
        return scaled(emit, factor * op.factor, copy_of(inputs[0]))
    if isinstance(op, Copy):
        return Scale(factor), inputs
    return Scale(factor), (emit(op, *inputs),)


__all__ = [
    "Add", "Copy", "Divide", "ExponentSlope", "Multiply", "Pointwise", "Power", "PowerSlope", "QuotientSlope",
    "Scale", "Subtract", "constant_of", "copy_of", "negated", "random_array", "scaled", "split", "times",
]  # fmt: skip
