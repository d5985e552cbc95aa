"""Embedding: whole numbers become rows of a table that is learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from bptrace.graph.node import DeltaName, Node, Own
from bptrace.layers.base import LayerSpec, Path
from bptrace.ops.embedding import Embed
from bptrace.ops.leaves import Leaf
from bptrace.spec.base import Array, Count

if TYPE_CHECKING:
    from bptrace.build.builder import Builder


class Embedding(LayerSpec):
    """x: (N, T) whole numbers from 0, W: (vocabulary, units); z = W[x], (N, T, units)."""

    type: Literal["embedding"]
    vocabulary: Count
    units: Count
    weights: Array | None = None

    def build(self, builder: Builder, name: str, path: Path, source: Node) -> Node:
        names = builder.names(self, path, ("units", "weights", "z", "a"))
        unit_names = names.flat("units", (self.units,))
        if not self._accepts(builder, path, source):
            return source
        weights = builder.parameter(
            self, name, "weights", "W", (self.vocabulary, self.units), ("class", "unit"), path,
            fan=(self.vocabulary, self.units),
        )  # fmt: skip
        axes = ("sample", "time", "unit") if len(source.shape) == 2 else (*source.axes, "unit")
        z = builder.graph.add(
            f"{name}.z", Embed(), source, weights,
            phase="forward", symbol=Own(names.symbol("z", "z")), axes=axes, layer=name, word="embedding",
            delta=DeltaName(f"{name}.delta", (), builder.delta_factor),
        )  # fmt: skip
        builder.unit_names[name] = unit_names
        return builder.activate(self, name, z, names, unit_names)

    def _accepts(self, builder: Builder, path: Path, source: Node) -> bool:
        """Whether the layer reads whole numbers of its vocabulary; each other one is reported."""
        table = builder.tables.get(source.id)
        if table is None or not isinstance(source.op, Leaf):
            builder.problem(path, f"an embedding reads whole numbers, but {source.id} is computed", "an input of data")
            return False
        if builder.columns:
            builder.problem(path, "an embedding does not take samples as columns", "sample_axis: rows")
            return False
        given = builder.network.data.inputs if builder.network.data else None
        at: Path = ("data", "inputs", source.id) if isinstance(given, dict) else ("data", "inputs")
        good = True
        for n, row in enumerate(table.rows):
            for k, number in enumerate(row):
                if number == int(number) and 0 <= number < self.vocabulary:
                    continue
                good = False
                place = _place(k, table.shape)
                expected = f"whole numbers from 0 to {self.vocabulary - 1} (vocabulary: {self.vocabulary})"
                builder.problem((*at, n, *place), f"{number:g} is no row of the embedding", expected)
        return good

    def title(self, builder: Builder, name: str) -> dict[str, Any]:
        return {"type": "embedding", "units": self.units}


def _place(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    index: list[int] = []
    for extent in reversed(shape):
        flat, place = divmod(flat, extent)
        index.append(place)
    return tuple(reversed(index))
