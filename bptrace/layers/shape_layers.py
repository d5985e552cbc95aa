"""Layers that only change the shape: flatten, reshape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from bptrace.graph.node import DeltaName, Node, Own, Shape
from bptrace.layers.base import LayerSpec, Path
from bptrace.ops.shaping import Reshape
from bptrace.spec.base import Check, describe, refuse

if TYPE_CHECKING:
    from bptrace.build.builder import Builder

AXES = {1: ("unit",), 2: ("row", "column"), 3: ("channel", "row", "column"), 4: ("channel", "depth", "row", "column")}


def _shape(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= 4:
        raise refuse(f"cannot be {describe(value)}", "a list of 1 to 4 extents, without the samples")
    for k, extent in enumerate(value):
        if isinstance(extent, bool) or not isinstance(extent, int) or (extent < 1 and extent != -1):
            raise refuse(f"cannot be {describe(extent)}", "a whole number from 1, or -1 for what is left", at=[k])
    if value.count(-1) > 1:
        raise refuse("-1 stands twice", "at most one -1")
    return tuple(value)


Extent: TypeAlias = Annotated[
    tuple[int, ...],
    Check(_shape, {"type": "array", "items": {"type": "integer", "minimum": -1}, "minItems": 1, "maxItems": 4}),
]


class Shaping(LayerSpec):
    """The same numbers, row by row, in another shape; they keep their names."""

    def build(self, builder: Builder, name: str, path: Path, source: Node) -> Node:
        if builder.columns:
            builder.problem(("conventions", "sample_axis"), f"{self.type} reads samples first", "sample_axis: rows")
            return source
        extents = self.extents(source.shape[1:])
        size = 1
        for extent in extents:
            size *= extent
        if size * source.shape[0] != source.size:
            builder.problem(
                (*path, "shape"), f"{size} places for the {source.size // source.shape[0]} numbers of a sample",
                f"extents whose product is {source.size // source.shape[0]}",
            )  # fmt: skip
            return source
        names = builder.names(self, path, ("a",))
        plain = self.activation is None
        made = builder.graph.add(
            f"{name}.y" if plain else f"{name}.z", Reshape((source.shape[0], *extents)), source,
            phase="forward", symbol=Own("y"), axes=("sample", *AXES[len(extents)]), names=source.names, layer=name,
            inline=True, delta=None if plain else DeltaName(f"{name}.delta", (), builder.delta_factor),
        )  # fmt: skip
        return made if plain else builder.activate(self, name, made, names, ())

    def extents(self, shape: Shape) -> Shape:
        """The shape of a sample after the layer."""
        raise NotImplementedError

    def title(self, builder: Builder, name: str) -> dict[str, Any]:
        return {"type": self.type, "units": 0}


class Flatten(Shaping):
    """(N, ...) as (N, features)."""

    type: Literal["flatten"]

    def extents(self, shape: Shape) -> Shape:
        size = 1
        for extent in shape:
            size *= extent
        return (size,)


class ReshapeLayer(Shaping):
    """(N, ...) as (N, *shape); -1 stands for what is left."""

    type: Literal["reshape"]
    shape: Extent

    def extents(self, shape: Shape) -> Shape:
        whole, known = 1, 1
        for extent in shape:
            whole *= extent
        for extent in self.shape:
            known *= extent if extent > 0 else 1
        return tuple(extent if extent > 0 else max(1, whole // known) for extent in self.shape)
