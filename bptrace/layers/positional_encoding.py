"""Positional encoding: what is added to a sequence so that attention can tell its positions apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import model_validator

from bptrace.graph.node import DeltaName, Node, Own
from bptrace.layers.base import LayerSpec, Path
from bptrace.ops.arithmetic import Add
from bptrace.ops.positions import Sinusoid
from bptrace.ops.shaping import Expand
from bptrace.spec.base import Array, refuse

if TYPE_CHECKING:
    from bptrace.build.builder import Builder


class PositionalEncoding(LayerSpec):
    """z = x + P, x: (N, T, units); P: (T, units) of sinusoids, or a parameter W."""

    type: Literal["positional_encoding"]
    kind: Literal["sinusoidal", "learned"] = "sinusoidal"
    weights: Array | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.weights is not None and self.kind == "sinusoidal":
            said = "sinusoids have no weights"
            raise refuse(said, "kind: learned, or no weights", at=["weights"], at_key=True)
        return self

    def title(self, builder: Builder, name: str) -> dict[str, Any]:
        function = self.activation.name if self.activation is not None else "identity"
        return {"type": self.type, "units": 0, "activation": function}

    def build(self, builder: Builder, name: str, path: Path, source: Node) -> Node:
        names = builder.names(self, path, ("units", "weights", "z", "a"))
        if builder.columns:
            said = "positional_encoding does not take samples as columns"
            builder.problem(path, said, "sequences (N, T, features) and sample_axis: rows")
            return source
        if len(source.shape) != 3:
            said = f"positional_encoding reads sequences, but {source.id} has the shape {list(source.shape)}"
            hint = "(samples, positions, features): one sample in one more list, one feature as [[[0.1], [0.2]]]"
            builder.problem(path, said, hint)
            return source
        _, count, units = source.shape
        unit_names = names.flat("units", (units,))
        if self.kind == "learned":
            table = builder.parameter(
                self, name, "weights", "W", (count, units), ("time", "unit"), path, fan=(count, units)
            )
        else:
            table = self._sinusoids(builder, name, count, units)
        spread = builder.graph.add(
            f"{name}.spread", Expand(source.shape, (1, 2)), table,
            phase="forward", symbol=table.symbol, axes=source.axes, layer=name, inline=True, quiet=True,
        )  # fmt: skip
        z = builder.graph.add(
            f"{name}.z", Add(), source, spread,
            phase="forward", symbol=Own(names.symbol("z", "z")), axes=("sample", "time", "unit"), layer=name,
            word="positional_encoding", delta=DeltaName(f"{name}.delta", (), builder.delta_factor),
        )  # fmt: skip
        builder.unit_names[name] = unit_names
        return builder.activate(self, name, z, names, unit_names)

    def _sinusoids(self, builder: Builder, name: str, count: int, units: int) -> Node:
        positions = builder.graph.leaf(
            f"{name}.positions", (count,), [float(t) for t in range(count)],
            phase="data", symbol=Own("p"), axes=("time",), layer=name, word="positions",
        )  # fmt: skip
        return builder.graph.add(
            f"{name}.P", Sinusoid(units), positions,
            phase="forward", symbol=Own("P"), axes=("time", "unit"), layer=name, word="sinusoids",
        )  # fmt: skip
