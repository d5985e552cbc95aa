"""Fields of layers that move windows over an image, and the grids that they describe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from bptrace.graph.node import Node, Shape
from bptrace.layers.base import LayerSpec, Path
from bptrace.ops.shaping import Reshape
from bptrace.ops.windows import WORDS, Grid
from bptrace.spec.base import LARGEST_INTEGER, Check, describe, refuse

if TYPE_CHECKING:
    from bptrace.build.builder import Builder

PADDINGS = ("valid", "same", "same_lower")
EXTENT_NAMES = {1: "L", 2: "H, W", 3: "D, H, W"}


def whole_number(value: object, least: int, *at: int) -> int:
    """A whole number from `least`, or a refusal at its place in a list."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST_INTEGER:
        raise refuse(f"cannot be {describe(value)}", f"a whole number from {least}", at=list(at))
    return value


def _extents(value: object, least: int) -> int | tuple[int, ...]:
    if not isinstance(value, list):
        return whole_number(value, least)
    if not 1 <= len(value) <= 3:
        raise refuse(f"a list of {len(value)}", "a number, or a list with one an axis")
    return tuple(whole_number(item, least, k) for k, item in enumerate(value))


def _from_one(value: object) -> int | tuple[int, ...]:
    return _extents(value, 1)


def _from_zero(value: object) -> int | tuple[int, ...]:
    return _extents(value, 0)


def _padding(value: object) -> Any:
    if isinstance(value, str):
        if value not in PADDINGS:
            raise refuse(f"unknown padding '{value}'", "a number, or one of the words", known=PADDINGS, got=value)
        return value
    if not (isinstance(value, list) and any(isinstance(item, list) for item in value)):
        return _extents(value, 0)
    pairs: list[tuple[int, int]] = []
    for k, pair in enumerate(value):
        if not isinstance(pair, list) or len(pair) != 2:
            raise refuse(f"cannot be {describe(pair)}", "[before, after]", at=[k])
        pairs.append((whole_number(pair[0], 0, k, 0), whole_number(pair[1], 0, k, 1)))
    return tuple(pairs)


def _schema(least: int) -> dict[str, Any]:
    number = {"type": "integer", "minimum": least}
    return {"anyOf": [number, {"type": "array", "items": number, "minItems": 1, "maxItems": 3}]}


_PAIR = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 2, "maxItems": 2}

Extents: TypeAlias = Annotated[int | tuple[int, ...], Check(_from_one, _schema(1))]
"""A number from 1 for every axis, or a list with one an axis."""

Margins: TypeAlias = Annotated[int | tuple[int, ...], Check(_from_zero, _schema(0))]
"""A number from 0 for every axis, or a list with one an axis."""

Padding: TypeAlias = Annotated[
    str | int | tuple[Any, ...],
    Check(_padding, {"anyOf": [{"enum": list(PADDINGS)}, *_schema(0)["anyOf"], {"type": "array", "items": _PAIR}]}),
]
"""Extents, pairs of before and after, `valid`, `same` (odd cell after) or `same_lower`."""


class Windowed(LayerSpec):
    """The fields of convolution and pooling; None stands for the type's own default."""

    kernel: Extents
    stride: Extents | None = None
    padding: Padding = 0
    dilation: Extents = 1
    channel_order: Literal["first", "last"] | None = None


@dataclass(frozen=True)
class Image:
    """An input as such a layer reads it: (N, channels, *extents), or with `last` channels last."""

    samples: int
    channels: int
    extents: Shape
    last: bool

    @property
    def axes(self) -> tuple[str, ...]:
        words = WORDS[len(self.extents)]
        return ("sample", *words, "channel") if self.last else ("sample", "channel", *words)


def image(builder: Builder, layer: LayerSpec, path: Path, source: Node, rank: int | None = None) -> Image | None:
    """The input of a layer as an image; None after a problem. Without `rank` 1 to 3 axes will do."""
    found = len(source.shape) - 2
    last = builder.convention("channel_order", layer) == "last"
    names = EXTENT_NAMES.get(rank or max(1, min(found, 3)), "")
    wanted = f"(N, {names}, C)" if last else f"(N, C, {names})"
    if builder.columns:
        columns = ("conventions", "sample_axis")
        builder.problem(columns, f"{layer.type} reads {wanted}, samples first", "sample_axis: rows")
        return None
    if found != rank if rank else not 1 <= found <= 3:
        at: Path = ("data", "inputs") if source.phase == "data" and source.id == "x" else (*path, "type")
        remedy = wanted
        if rank and found == rank - 1:
            one = (*source.shape, 1) if last else (source.shape[0], 1, *source.shape[1:])
            remedy = f"{wanted}: the axis of the channels is missing, {list(one)} for one channel"
        builder.problem(at, f"{layer.type} cannot read {source.id} of the shape {list(source.shape)}", remedy)
        return None
    extents = source.shape[1:-1] if last else source.shape[2:]
    read = Image(source.shape[0], source.shape[-1 if last else 1], extents, last)
    if source.phase == "data" or isinstance(source.op, Reshape):
        source.axes = read.axes  # what the axes count is known from what reads them
    return read


def each_axis(builder: Builder, path: Path, part: str, value: Any, rank: int) -> tuple[Any, ...]:
    """A field with one value an axis."""
    if not isinstance(value, tuple):
        return (value,) * rank
    if len(value) != rank:
        builder.problem((*path, part), f"{len(value)} values for {rank} axes", f"one number, or {rank}")
        return (value[0],) * rank
    return value


def margins(
    builder: Builder, path: Path, padding: Any, image: Image, span: Shape, stride: Shape
) -> list[tuple[int, int]]:
    """The padding before and after, axis by axis; `span` is what a dilated kernel covers."""
    if padding == "valid":
        padding = 0
    if isinstance(padding, str):
        found: list[tuple[int, int]] = []
        for extent, reach, step in zip(image.extents, span, stride, strict=True):
            whole = max(0, (-(-extent // step) - 1) * step + reach - extent)
            less, more = whole // 2, whole - whole // 2
            found.append((less, more) if padding == "same" else (more, less))
        return found
    each = each_axis(builder, path, "padding", padding, len(span))
    return [pair if isinstance(pair, tuple) else (pair, pair) for pair in each]


def spans(kernel: Shape, dilation: Shape) -> Shape:
    """What a dilated kernel covers."""
    return tuple((size - 1) * step + 1 for size, step in zip(kernel, dilation, strict=True))


def times(extents: Shape) -> str:
    return "×".join(map(str, extents))


@dataclass(frozen=True)
class Laid:
    """A grid and the padding behind it."""

    grid: Grid
    after: Shape


def lay(
    builder: Builder, layer: Windowed, path: Path, image: Image, stride: Any, *, flip: bool = False, ceil: bool = False
) -> Laid | None:
    """The windows of a layer over its input; None after a problem."""
    rank, before = len(image.extents), len(builder.problems)
    kernel = each_axis(builder, path, "kernel", layer.kernel, rank)
    steps = each_axis(builder, path, "stride", stride, rank)
    dilation = each_axis(builder, path, "dilation", layer.dilation, rank)
    span = spans(kernel, dilation)
    padding = margins(builder, path, layer.padding, image, span, steps)
    if len(builder.problems) > before:
        return None
    padded = tuple(extent + sum(pair) for extent, pair in zip(image.extents, padding, strict=True))
    if any(reach > extent for reach, extent in zip(span, padded, strict=True)):
        what = f"the kernel {times(kernel)}" + (f" spans {times(span)} and" if span != kernel else "")
        around = "its padded input" if padded != image.extents else "its input"
        builder.problem(
            (*path, "kernel"), f"{what} is larger than {around} {times(padded)}",
            f"a kernel of at most {times(padded)}, or more padding",
        )  # fmt: skip
        return None
    count: list[int] = []
    for extent, whole, pair, reach, step in zip(image.extents, padded, padding, span, steps, strict=True):
        windows = (whole - reach + (step - 1 if ceil else 0)) // step + 1
        # a last window that would begin behind the input is left out
        count.append(windows - 1 if ceil and (windows - 1) * step >= extent + pair[0] else windows)
    ahead = tuple(pair[0] for pair in padding)
    grid = Grid(image.extents, kernel, tuple(count), steps, dilation, ahead, flip)
    return Laid(grid, tuple(pair[1] for pair in padding))
