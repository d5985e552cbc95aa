"""Convolution layers: z = W ⋆ x + b by channels, and the transposed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from bptrace.graph.node import DeltaName, Node, Own, Shape
from bptrace.layers.base import Path
from bptrace.layers.extents import Image, Margins, Windowed, each_axis, image, lay, margins, spans, times
from bptrace.ops.convolution import Convolution, ConvolutionInput, Trilinear
from bptrace.ops.windows import Grid
from bptrace.spec.base import Array, Count

if TYPE_CHECKING:
    from bptrace.build.builder import Builder


class Convolutional(Windowed):
    """What all have: `channels` out of the layer, weights with the kernel's axes last, b: (channels)."""

    channels: Count
    groups: Count = 1
    weights: Array | None = None
    bias: Array | Literal[False] | None = None
    flip_kernel: bool = False

    @property
    def rank(self) -> int:
        return int(self.type[-2])

    def build(self, builder: Builder, name: str, path: Path, source: Node) -> Node:
        read = image(builder, self, path, source, self.rank)
        if read is None:
            return source
        if read.channels % self.groups or self.channels % self.groups:
            builder.problem(
                (*path, "groups"), f"{self.groups} groups do not divide {read.channels} channels of the input "
                f"and {self.channels} of the output", "a number that divides both",
            )  # fmt: skip
            return source
        grid = self.grid(builder, path, read)
        if grid is None:
            return source
        names = builder.names(self, path, ("channels", "weights", "bias", "z", "a"))
        names.flat("channels", (self.channels,))  # for headings; what does not fit is complained of
        shape = self.weights_shape(read, grid)
        fan = _fan(shape)
        axes = ("channel", "input", *grid.words) if not self.transposed else ("input", "channel", *grid.words)
        operands = [source, builder.parameter(self, name, "weights", "W", shape, axes, path, fan=fan)]
        if self.bias is not False:
            operands.append(builder.parameter(self, name, "bias", "b", (self.channels,), ("channel",), path, fan=fan))
        z = builder.graph.add(
            f"{name}.z", self.op(grid, read), *operands,
            phase="forward", symbol=Own(names.symbol("z", "z")), axes=read.axes, names=names.elements("z", "z", ()),
            layer=name, word="pre_activation", delta=DeltaName(f"{name}.delta", (), builder.delta_factor),
        )  # fmt: skip
        builder.graph.name_elements(z)
        return builder.activate(self, name, z, names, ())

    @property
    def transposed(self) -> bool:
        return False

    def grid(self, builder: Builder, path: Path, read: Image) -> Grid | None:
        """How the kernel lies over the input; None after a problem."""
        laid = lay(builder, self, path, read, self.stride or 1, flip=self.flip_kernel)
        return None if laid is None else laid.grid

    def weights_shape(self, read: Image, grid: Grid) -> Shape:
        return (self.channels, read.channels // self.groups, *grid.kernel)

    def op(self, grid: Grid, read: Image) -> Trilinear:
        return Convolution(grid, self.groups, read.last, swapped=True)

    def title(self, builder: Builder, name: str) -> dict[str, Any]:
        return {
            "type": self.type,
            "units": self.channels,
            "channel_names": self.names.get("channels"),
            "kernel": self.kernel,
            "stride": self.stride or 1,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
            "flip_kernel": self.flip_kernel,
        }


class Conv(Convolutional):
    """x: (N, in, ...), W: (channels, in/groups, *kernel); each output is a window times its kernel."""

    type: Literal["conv1d", "conv2d", "conv3d"]


class ConvTranspose(Convolutional):
    """x: (N, in, ...), W: (in, channels/groups, *kernel); each input is spread over a window.

    `padding` takes places off the output's edges, `output_padding` adds some behind.
    """

    type: Literal["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]
    output_padding: Margins = 0

    @property
    def transposed(self) -> bool:
        return True

    def weights_shape(self, read: Image, grid: Grid) -> Shape:
        return (read.channels, self.channels // self.groups, *grid.kernel)

    def op(self, grid: Grid, read: Image) -> Trilinear:
        return ConvolutionInput(grid, self.groups, read.last, swapped=True)

    def grid(self, builder: Builder, path: Path, read: Image) -> Grid | None:
        problems = len(builder.problems)
        kernel = each_axis(builder, path, "kernel", self.kernel, self.rank)
        stride = each_axis(builder, path, "stride", self.stride or 1, self.rank)
        dilation = each_axis(builder, path, "dilation", self.dilation, self.rank)
        extra = each_axis(builder, path, "output_padding", self.output_padding, self.rank)
        span = spans(kernel, dilation)
        if isinstance(self.padding, str) and self.padding != "valid":
            wide = Image(1, 1, tuple(n * step for n, step in zip(read.extents, stride, strict=True)), read.last)
            padding = margins(builder, path, self.padding, wide, span, stride)
            made = tuple(n + more for n, more in zip(wide.extents, extra, strict=True))
        else:
            padding = margins(builder, path, self.padding, read, span, stride)
            made = tuple(
                (n - 1) * step - sum(pair) + reach + more
                for n, step, pair, reach, more in zip(read.extents, stride, padding, span, extra, strict=True)
            )
        if any(more >= max(step, gap) for more, step, gap in zip(extra, stride, dilation, strict=True)):
            builder.problem(
                (*path, "output_padding"), f"{times(extra)} is not smaller than the stride or the dilation",
                f"less than {times(tuple(map(max, stride, dilation)))}",
            )  # fmt: skip
        if any(n < 1 for n in made):
            builder.problem((*path, "padding"), f"nothing is left of the output: {times(made)}", "less padding")
        if len(builder.problems) > problems:
            return None
        before = tuple(pair[0] for pair in padding)
        return Grid(made, kernel, read.extents, stride, dilation, before, self.flip_kernel)


def _fan(shape: Shape) -> tuple[int, int]:
    """Inputs and outputs of a unit, as PyTorch counts them."""
    places = 1
    for extent in shape[2:]:
        places *= extent
    return shape[1] * places, shape[0] * places


__all__ = ["Conv", "ConvTranspose"]
