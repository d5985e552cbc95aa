"""Pooling layers: the largest or the average of each window; the average of all places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from bptrace.graph.node import DeltaName, Node, Own
from bptrace.graph.op import Op
from bptrace.layers.base import LayerSpec, Path
from bptrace.layers.extents import Extents, Image, Laid, Windowed, each_axis, image, lay, spans, times
from bptrace.ops.average_pooling import AdaptiveAverage, AveragePool
from bptrace.ops.pooling import MaxPool
from bptrace.ops.reduction import Mean
from bptrace.ops.windows import WORDS, Grid

if TYPE_CHECKING:
    from bptrace.build.builder import Builder


class Pool(Windowed):
    """What max_pool and avg_pool have; the rank is the data's."""

    ceil_mode: bool = False

    def build(self, builder: Builder, name: str, path: Path, source: Node) -> Node:
        read = image(builder, self, path, source)
        if read is None:
            return source
        laid = lay(builder, self, path, read, self.stride or self.kernel, ceil=self.ceil_mode)
        if laid is None or not self._reads_something(builder, path, laid):
            return source
        return finish(builder, self, name, path, source, self.op(builder, laid, read), read.axes)

    def _reads_something(self, builder: Builder, path: Path, laid: Laid) -> bool:
        """Whether every window covers at least one element of the input."""
        grid = laid.grid
        for reach, *pads in zip(spans(grid.kernel, grid.dilation), grid.before, laid.after, strict=True):
            if max(pads) >= reach:
                break
        else:
            if all(grid.taps_of(axis, i) for axis, n in enumerate(grid.count) for i in range(n)):
                return True
        builder.problem(
            (*path, "padding"), "a window would cover nothing but padding",
            f"at most half of the kernel {times(grid.kernel)}",
        )  # fmt: skip
        return False

    def op(self, builder: Builder, laid: Laid, read: Image) -> Op:
        raise NotImplementedError

    def title(self, builder: Builder, name: str) -> dict[str, Any]:
        return {
            "type": self.type,
            "units": 0,
            "kernel": self.kernel,
            "stride": self.stride or self.kernel,
            "padding": self.padding,
            "dilation": self.dilation,
            "channel_names": self.names.get("channels"),
        }


class MaxPooling(Pool):
    """y[n,c,i] = the largest of window i; `pool.argmax` is 1 where each window found it."""

    type: Literal["max_pool"]

    def op(self, builder: Builder, laid: Laid, read: Image) -> Op:
        return MaxPool(laid.grid, read.last, builder.convention("ties", self))


class AveragePooling(Pool):
    """y[n,c,i] = the average of window i; padding counts as zeros unless `count_padding` is false."""

    type: Literal["avg_pool"]
    count_padding: bool = True

    def op(self, builder: Builder, laid: Laid, read: Image) -> Op:
        return AveragePool(laid.grid, read.last, self._divisors(laid))

    def _divisors(self, laid: Laid) -> tuple[tuple[int, ...], ...]:
        grid = laid.grid
        found: list[tuple[int, ...]] = []
        for axis, count in enumerate(grid.count):
            if not self.count_padding:
                found.append(tuple(len(grid.taps_of(axis, window)) for window in range(count)))
                continue
            # behind the padding nothing counts: a last window that was rounded up is smaller
            end = grid.source[axis] + laid.after[axis]
            reads = [[int(grid.place(axis, i, u)) for u in range(grid.kernel[axis])] for i in range(count)]
            found.append(tuple(sum(place < end for place in places) for places in reads))
        return tuple(found)


class GlobalAveragePooling(LayerSpec):
    """(N, C, ...) becomes (N, C): the average of each channel."""

    type: Literal["global_avg_pool"]
    channel_order: Literal["first", "last"] | None = None

    def build(self, builder: Builder, name: str, path: Path, source: Node) -> Node:
        read = image(builder, self, path, source)
        if read is None:
            return source
        rank = len(read.extents)
        axes = tuple(range(1, rank + 1)) if read.last else tuple(range(2, rank + 2))
        return finish(builder, self, name, path, source, Mean(axes, WORDS[rank]), ("sample", "channel"))

    def title(self, builder: Builder, name: str) -> dict[str, Any]:
        return {"type": self.type, "units": 0, "channel_names": self.names.get("channels")}


class AdaptiveAveragePooling(LayerSpec):
    """`size` windows an axis, as even as they can be: window i is from ⌊i·n/size⌋ to before ⌈(i+1)·n/size⌉."""

    type: Literal["adaptive_avg_pool"]
    size: Extents
    channel_order: Literal["first", "last"] | None = None

    def build(self, builder: Builder, name: str, path: Path, source: Node) -> Node:
        read, problems = image(builder, self, path, source), len(builder.problems)
        if read is None:
            return source
        size = each_axis(builder, path, "size", self.size, len(read.extents))
        if len(builder.problems) > problems:
            return source
        op: Op = AdaptiveAverage(read.extents, size, read.last)
        if all(extent % count == 0 for extent, count in zip(read.extents, size, strict=True)):
            kernel = tuple(extent // count for extent, count in zip(read.extents, size, strict=True))
            ones, zeros = (1,) * len(size), (0,) * len(size)
            divisors = tuple((reach,) * count for reach, count in zip(kernel, size, strict=True))
            op = AveragePool(Grid(read.extents, kernel, size, kernel, ones, zeros), read.last, divisors)
        return finish(builder, self, name, path, source, op, read.axes)

    def title(self, builder: Builder, name: str) -> dict[str, Any]:
        return {"type": self.type, "units": 0, "channel_names": self.names.get("channels")}


def finish(
    builder: Builder, layer: LayerSpec, name: str, path: Path, source: Node, op: Op, axes: tuple[str, ...]
) -> Node:
    """The node of a pooling layer, and its activation where it has one."""
    names = builder.names(layer, path, ("channels", "y", "z", "a"))
    plain = layer.activation is None
    part = "y" if plain else "z"
    made = builder.graph.add(
        f"{name}.{part}", op, source,
        phase="forward", symbol=Own(names.symbol(part, part)), axes=axes, names=names.elements(part, part, ()),
        layer=name, word="pooled", delta=None if plain else DeltaName(f"{name}.delta", (), builder.delta_factor),
    )  # fmt: skip
    if "channel" in axes:
        names.flat("channels", (made.shape[axes.index("channel")],))  # for headings
    builder.graph.name_elements(made)
    if isinstance(op, MaxPool):
        choice = op.chosen()
        words = op.grid.words

        def add_choice() -> None:
            builder.graph.add(
                f"{name}.argmax", choice, source, made,
                phase="backward", symbol=Own("argmax"), axes=(*axes, *words), layer=name, word="argmax",
                aliases=[f"local.{made.id}"],
            )  # fmt: skip

        builder.branches.append(add_choice)
    return made if plain else builder.activate(layer, name, made, names, ())
