"""Convolution: one trilinear form, read in three directions.

    form = Σ W[o,c,u]·x[n,c,r]·z[n,o,i]   over all r = i·stride + u·dilation - before

Leaving out one of the three factors gives an op: the forward pass (z from x and W), its gradient by
the input (x from z and W, which run forward is the transposed convolution) and its gradient by the
weights (W from z and x). So the rules of each are the other two.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bptrace.formula.expr import ZERO, Expr, Index
from bptrace.graph.node import Node, Shape
from bptrace.graph.op import Call, Emit, Op, Operand, Read, Sample, Scratch, Term
from bptrace.ops.arithmetic import random_array
from bptrace.ops.columns import (
    add_windows,
    columns_shape,
    flat,
    long_product,
    matrix_product,
    packed,
    samples_last,
    windows_of,
)
from bptrace.ops.lazy import np
from bptrace.ops.reduction import Total
from bptrace.ops.shaping import Expand
from bptrace.ops.windows import TAP_LETTERS, WINDOW_LETTERS, Grid, fresh, linear, nested, product

if TYPE_CHECKING:
    from bptrace.graph.op import Array


ONE_PLACE = Grid((1,), (1,), (1,), (1,), (1,), (0,))


@dataclass(frozen=True)
class Trilinear(Op):
    """Base of the three: x: (N, in, *source), z: (N, out, *count), W: (out, in/groups, *kernel).

    With `last` the channels of x and z come last. `swapped` writes the second factor first.
    """

    grid: Grid = ONE_PLACE
    groups: int = 1
    last: bool = False
    swapped: bool = False

    # shapes

    def data_shape(self, samples: int, channels: int, extents: Shape) -> Shape:
        return (samples, *extents, channels) if self.last else (samples, channels, *extents)

    def split(self, shape: Shape, extents: Shape, what: str) -> tuple[int, int]:
        """Samples and channels of x or z, whose extents must be these."""
        found = shape[1:-1] if self.last else shape[2:]
        if len(shape) != len(extents) + 2 or found != extents:
            raise ValueError(f"{what} has the shape {shape} where (N, C, *{extents}) is expected")
        return shape[0], shape[-1 if self.last else 1]

    def check_weights(self, weights: Shape, inputs: int, outputs: int) -> None:
        if inputs % self.groups or outputs % self.groups:
            raise ValueError(f"{self.groups} groups do not divide {inputs} and {outputs} channels")
        if weights != (outputs, inputs // self.groups, *self.grid.kernel):
            raise ValueError(f"weights of shape {weights} for {inputs} and {outputs} channels in {self.groups} groups")

    # views

    def view_of(self, data: Array) -> Array:
        """x or z as (groups, channels, N, ...), without copying."""
        first = np.moveaxis(data, -1, 1) if self.last else data
        parts = first.reshape(first.shape[0], self.groups, -1, *first.shape[2:])
        return np.moveaxis(parts, 0, 2)

    def split_weights(self, weights: Array) -> Array:
        """W as (groups, out, in, ...)."""
        return weights.reshape(self.groups, -1, *weights.shape[1:])

    # formulas

    def at_channel(self, n: Any, channel: Any, places: Sequence[Any]) -> Index:
        return (n, *places, channel) if self.last else (n, channel, *places)

    def parts(self, at: Index) -> tuple[Any, Any, tuple[Any, ...]]:
        """Sample, channel and places of an element of x or z."""
        return (at[0], at[-1], at[1:-1]) if self.last else (at[0], at[1], at[2:])

    def joined(self, channel: Any, beside: Any, mine: int, others: int) -> Any:
        """The channel of the whole for `beside`, counted within the group of `channel`."""
        if self.groups == 1:
            return beside
        if isinstance(channel, int):
            return channel // mine * others + beside if isinstance(beside, int) else beside
        return channel if mine == others == 1 else beside


def _summed_for_bias(op: Trilinear, cotangent: Node) -> Term:
    """The gradient of a bias: what comes back to its channel, added up."""
    rank = len(cotangent.shape)
    axes = tuple(k for k in range(rank) if k != (rank - 1 if op.last else 1))
    return Total(axes, ("sample", *op.grid.words)), (cotangent,)


@dataclass(frozen=True)
class Convolution(Trilinear):
    """z[n,o,i] = Σ W[o,c,u]·x[n,c,r] (+ b[o]): cross-correlation of x and W."""

    name = "convolution"
    swapped: bool = True

    def shape(self, *shapes: Shape) -> Shape:
        samples, inputs = self.split(shapes[0], self.grid.source, "the input")
        outputs = shapes[1][0]
        self.check_weights(shapes[1], inputs, outputs)
        if shapes[2:] and shapes[2] != (outputs,):
            raise ValueError(f"a bias of shape {shapes[2]} for {outputs} channels")
        return self.data_shape(samples, outputs, self.grid.count)

    def compute(self, *arrays: Array) -> Array:
        x, weights = self.view_of(arrays[0]), self.split_weights(arrays[1])
        out = np.zeros(self.shape(*(array.shape for array in arrays)))
        z = self.view_of(out)
        for tap in self.grid.taps():
            read = x[tap.places]
            z[tap.windows] += np.einsum("gcn...,goc->gon...", read, weights[tap.weight])
        if arrays[2:]:
            z += _per_channel(arrays[2], z)
        return out

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        z = samples_last(self.view_of(out))
        columns = windows_of(self.grid, arrays[0], self.view_of(arrays[0]), scratch)
        weights = yield from packed(self.split_weights(arrays[1]), 2, scratch)
        made = z if z.flags.c_contiguous else scratch(z.shape)
        yield matrix_product(weights, columns, flat(made, 2))
        if arrays[2:]:
            yield np.add, (made, _per_channel(arrays[2], z), z)
        elif made is not z:
            yield np.copyto, (z, made)

    def formula(self, at: Index, *operands: Operand) -> Expr:
        x, weights = operands[:2]
        n, o, windows = self.parts(at)
        inputs, outputs = weights.shape[1], weights.shape[0] // self.groups
        channel, *letters = fresh("c" + TAP_LETTERS[self.grid.rank], at)
        levels: list[tuple[str, str, list[Any]]] = [("channel", channel, list(range(inputs)))]
        for axis, (word, letter) in enumerate(zip(self.grid.words, letters, strict=True)):
            levels.append((word, letter, list(self.grid.taps_of(axis, windows[axis]))))

        def term(chosen: tuple[Any, ...]) -> Expr:
            c, *taps = chosen
            places = [self.grid.place(axis, windows[axis], tap) for axis, tap in enumerate(taps)]
            read = x[self.at_channel(n, self.joined(o, c, outputs, inputs), places)]
            return product(read, weights[(o, c, *taps)], self.swapped)

        return _with_bias(nested(levels, term), operands[2:], o)

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        if k == 2:
            return _summed_for_bias(self, cotangent)
        if k == 0:
            return ConvolutionInput(self.grid, self.groups, self.last), (cotangent, read(node.inputs[1]))
        return ConvolutionWeights(self.grid, self.groups, self.last), (cotangent, read(node.inputs[0]))

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return _tangent(self, node, k, tangent)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        found: list[Sample] = []
        for grid, groups, last in _cases():
            x, weights, _ = _operands(rng, grid, groups, last)
            found.append((cls(grid, groups, last), (x, weights)))
        grid = Grid((3, 3), (2, 2), (2, 2), (1, 1), (1, 1), (0, 0))
        x, weights, _ = _operands(rng, grid, 1, False)
        found.append((cls(grid), (x, weights, random_array(rng, 3))))
        return found


@dataclass(frozen=True)
class ConvolutionInput(Trilinear):
    """x[n,c,r] = Σ z[n,o,i]·W[o,c,u] (+ b[c]): what each place of the input fed.

    The gradient of a convolution by its input; forward it is the transposed convolution.
    """

    name = "convolution_input"

    def shape(self, *shapes: Shape) -> Shape:
        samples, outputs = self.split(shapes[0], self.grid.count, "the error")
        inputs = shapes[1][1] * self.groups
        self.check_weights(shapes[1], inputs, outputs)
        if shapes[2:] and shapes[2] != (inputs,):
            raise ValueError(f"a bias of shape {shapes[2]} for {inputs} channels")
        return self.data_shape(samples, inputs, self.grid.source)

    def compute(self, *arrays: Array) -> Array:
        z, weights = self.view_of(arrays[0]), self.split_weights(arrays[1])
        out = np.zeros(self.shape(*(array.shape for array in arrays)))
        x = self.view_of(out)
        for tap in self.grid.taps():
            back = np.einsum("gon...,goc->gcn...", z[tap.windows], weights[tap.weight])
            x[tap.places] += back
        if arrays[2:]:
            x += _per_channel(arrays[2], x)
        return out

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        x = self.view_of(out)
        errors = yield from packed(samples_last(self.view_of(arrays[0])), 2, scratch)
        weights = yield from packed(self.split_weights(arrays[1]), 2, scratch)
        columns = scratch(columns_shape(self.grid, x))
        yield matrix_product(weights.transpose(0, 2, 1), errors, columns)
        yield from add_windows(self.grid, columns, x, scratch)
        if arrays[2:]:
            yield np.add, (x, _per_channel(arrays[2], x), x)

    def formula(self, at: Index, *operands: Operand) -> Expr:
        z, weights = operands[:2]
        n, channel, places = self.parts(at)
        inputs, outputs = weights.shape[1], weights.shape[0] // self.groups
        out, *letters = fresh("o" + WINDOW_LETTERS[self.grid.rank], at)
        levels: list[tuple[str, str, list[Any]]] = [("channel", out, list(range(outputs)))]
        for axis, (word, letter) in enumerate(zip(self.grid.words, letters, strict=True)):
            levels.append((word, letter, windows_reading(self.grid, axis, places[axis])))

        def term(chosen: tuple[Any, ...]) -> Expr:
            o, *windows = chosen
            taps = [self.grid.tap(axis, window, places[axis]) for axis, window in enumerate(windows)]
            whole = self.joined(channel, o, inputs, outputs)
            within = channel % inputs if isinstance(channel, int) else channel
            return product(z[self.at_channel(n, whole, windows)], weights[(whole, within, *taps)], self.swapped)

        return _with_bias(nested(levels, term), operands[2:], channel)

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        if k == 2:
            return _summed_for_bias(self, cotangent)
        if k == 0:
            forward = Convolution(self.grid, self.groups, self.last, swapped=False)
            return forward, (cotangent, read(node.inputs[1]))
        weights = ConvolutionWeights(self.grid, self.groups, self.last, swapped=True)
        return weights, (read(node.inputs[0]), cotangent)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return _tangent(self, node, k, tangent)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        found: list[Sample] = []
        for grid, groups, last in _cases():
            _, weights, z = _operands(rng, grid, groups, last)
            found.append((cls(grid, groups, last), (z, weights)))
        # a transposed convolution with a place more than its windows reach
        grid = Grid((6,), (2,), (3,), (2,), (1,), (1,))
        _, weights, z = _operands(rng, grid, 1, False)
        found.append((cls(grid, swapped=True), (z, weights, random_array(rng, 2))))
        return found


@dataclass(frozen=True)
class ConvolutionWeights(Trilinear):
    """W[o,c,u] = Σ z[n,o,i]·x[n,c,r]: for each weight the error laid over the input."""

    name = "convolution_weights"

    def shape(self, *shapes: Shape) -> Shape:
        samples, outputs = self.split(shapes[0], self.grid.count, "the error")
        others, inputs = self.split(shapes[1], self.grid.source, "the input")
        if samples != others:
            raise ValueError(f"{samples} and {others} samples")
        weights = (outputs, inputs // self.groups, *self.grid.kernel)
        self.check_weights(weights, inputs, outputs)
        return weights

    def compute(self, *arrays: Array) -> Array:
        z, x = self.view_of(arrays[0]), self.view_of(arrays[1])
        out = np.zeros(self.shape(*(array.shape for array in arrays)))
        weights = self.split_weights(out)
        for tap in self.grid.taps():
            errors, read = z[tap.windows], x[tap.places]
            errors, read = errors.reshape(*errors.shape[:2], -1), read.reshape(*read.shape[:2], -1)
            weights[tap.weight] = np.einsum("gop,gcp->goc", errors, read)
        return out

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        errors = yield from packed(samples_last(self.view_of(arrays[0])), 2, scratch)
        columns = windows_of(self.grid, arrays[1], self.view_of(arrays[1]), scratch)
        made = out if out.flags.c_contiguous else scratch(out.shape)
        yield from long_product(errors, columns, flat(self.split_weights(made), 2), scratch)
        if made is not out:
            yield np.copyto, (out, made)

    def formula(self, at: Index, *operands: Operand) -> Expr:
        z, x = operands
        o, c, *taps = at
        outputs, inputs = z.shape[-1 if self.last else 1], x.shape[-1 if self.last else 1]
        whole = self.joined(o, c, outputs // self.groups, inputs // self.groups)
        sample, *letters = fresh("n" + WINDOW_LETTERS[self.grid.rank], at)
        levels: list[tuple[str, str, list[Any]]] = [("sample", sample, list(range(z.shape[0])))]
        for axis, (word, letter) in enumerate(zip(self.grid.words, letters, strict=True)):
            tap = taps[axis]
            windows = self.grid.windows_of(axis, tap) if isinstance(tap, int) else range(self.grid.count[axis])
            levels.append((word, letter, list(windows)))

        def term(chosen: tuple[Any, ...]) -> Expr:
            n, *windows = chosen
            places = [self.grid.place(axis, window, taps[axis]) for axis, window in enumerate(windows)]
            return product(z[self.at_channel(n, o, windows)], x[self.at_channel(n, whole, places)], self.swapped)

        return nested(levels, term)

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        other = read(node.inputs[1 - k])
        if k == 0:
            return Convolution(self.grid, self.groups, self.last, swapped=True), (other, cotangent)
        return ConvolutionInput(self.grid, self.groups, self.last, swapped=True), (other, cotangent)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return _tangent(self, node, k, tangent)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        found: list[Sample] = []
        for grid, groups, last in _cases():
            x, _, z = _operands(rng, grid, groups, last)
            found.append((cls(grid, groups, last), (z, x)))
        return found


def windows_reading(grid: Grid, axis: int, place: Any) -> list[Any]:
    """The windows that read a place; of any place, as many as there may be."""
    if isinstance(place, int):
        return [window for window, _ in grid.readers(axis, place)]
    if grid.kernel[axis] == grid.stride[axis] == 1:
        return [linear((1, place), grid.before[axis])]
    return list(range(max(2, grid.count[axis])))


def _tangent(op: Trilinear, node: Node, k: int, tangent: Node) -> Term:
    """The form is linear in each factor; a bias spreads over the places of its channel."""
    if k == 2:
        rank = len(node.shape)
        return Expand(node.shape, (rank - 1 if op.last else 1,)), (tangent,)
    operands = list(node.inputs[:2])
    operands[k] = tangent
    return op, tuple(operands)


def _with_bias(total: Expr, bias: Sequence[Operand], channel: Any) -> Expr:
    if not bias:
        return total
    return bias[0][channel] if total == ZERO else total + bias[0][channel]


def _per_channel(bias: Array, data: Array) -> Array:
    """A view of the bias that broadcasts against (groups, channels, N, ...)."""
    return bias.reshape(*data.shape[:2], *(1 for _ in data.shape[2:]))


# samples


def _cases() -> list[tuple[Grid, int, bool]]:
    return [
        (Grid((4,), (2,), (3,), (1,), (1,), (0,)), 1, False),
        (Grid((3, 4), (2, 3), (2, 2), (2, 1), (1, 1), (1, 0)), 1, False),
        (Grid((3, 4), (2, 2), (2, 2), (2, 2), (1, 1), (0, 1)), 1, True),
        (Grid((5,), (2,), (5,), (1,), (3,), (2,)), 1, False),
        (Grid((4, 3), (2, 2), (3, 2), (1, 1), (1, 1), (0, 0), True), 2, False),
        (Grid((2, 2, 2), (1, 2, 2), (2, 2, 1), (1, 1, 1), (1, 1, 1), (0, 1, 0)), 1, False),
        (Grid((3,), (2,), (6,), (1,), (1,), (3,)), 1, False),  # the outer windows are all padding
    ]


def _operands(rng: random.Random, grid: Grid, groups: int, last: bool) -> tuple[Any, Any, Any]:
    """x, W and z of two samples; two channels in, three out (a group)."""
    inputs, outputs = 2 * groups, 3 * groups
    x = (2, *grid.source, inputs) if last else (2, inputs, *grid.source)
    z = (2, *grid.count, outputs) if last else (2, outputs, *grid.count)
    return random_array(rng, *x), random_array(rng, outputs, 2, *grid.kernel), random_array(rng, *z)
