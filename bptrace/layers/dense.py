"""Dense (fully connected) layers: z = W·x + b, a = f(z)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import model_validator

from bptrace.graph.node import DeltaName, Node, Own, Shape
from bptrace.layers.base import LayerSpec, Path
from bptrace.ops.contract import Contract
from bptrace.spec.base import Array, Count, refuse

if TYPE_CHECKING:
    from bptrace.build.builder import Builder


class Dense(LayerSpec):
    """W: (units, in), b: (units); z = x·Wᵀ + b over the last axis of x.

    With `shared_bias` b is one number; with `threshold` it is subtracted.
    """

    type: Literal["dense"]
    units: Count
    weights: Array | None = None
    bias: Array | Literal[False] | None = None
    shared_bias: bool = False
    threshold: Array | None = None

    @model_validator(mode="after")
    def _one_bias(self) -> Dense:
        if self.threshold is not None and self.bias is not None:
            raise refuse("'bias' and 'threshold' are both given", "one of them: a threshold is subtracted instead",
                         at=["bias"], at_key=True)  # fmt: skip
        if self.shared_bias and self.bias is False:
            raise refuse("a shared bias, and no bias", "one of them", at=["shared_bias"], at_key=True)
        return self

    def build(self, builder: Builder, name: str, path: Path, source: Node) -> Node:
        feature = 0 if builder.columns else -1
        inputs, units = source.shape[feature], self.units
        names = builder.names(self, path, ("units", "weights", "bias", "threshold", "z", "a"))
        unit_names = names.flat("units", (units,))
        flipped = builder.convention("weight_layout", self) == "in_out"
        fan = (inputs, units)
        shape: Shape = (inputs, units) if flipped else (units, inputs)
        axes: tuple[str, ...] = ("input", "unit") if flipped else ("unit", "input")
        weights = builder.parameter(self, name, "weights", "W", shape, axes, path, fan=fan)
        operands = [source, weights]
        if self.threshold is not None or self.bias is not False:
            part = "threshold" if self.threshold is not None else "bias"
            shape, axes = ((), ()) if self.shared_bias else ((units,), ("unit",))
            operands.append(builder.parameter(self, name, part, "b", shape, axes, path, fan=fan))
        batch = "nt"[: len(source.shape) - 1]
        op = Contract(
            left=f"k{batch}" if builder.columns else f"{batch}k",
            right="kj" if flipped else "jk",
            out=f"j{batch}" if builder.columns else f"{batch}j",
            bias=None if len(operands) == 2 else "" if self.shared_bias else "j",
            minus=self.threshold is not None,
            swapped=True,
            words=(("n", "sample"), ("t", "time"), ("j", "unit"), ("k", "input")),
        )
        z = builder.graph.add(
            f"{name}.z", op, *operands,
            phase="forward", symbol=Own(names.symbol("z", "z")),
            axes=("unit", *source.axes[1:]) if builder.columns else (*source.axes[:-1], "unit"),
            names=names.elements("z", "z", unit_names), layer=name, word="pre_activation",
            delta=DeltaName(f"{name}.delta", tuple(f"δ_{unit}" for unit in unit_names), builder.delta_factor),
        )  # fmt: skip
        builder.graph.name_elements(z)
        builder.unit_names[name] = unit_names
        return builder.activate(self, name, z, names, unit_names)

    def title(self, builder: Builder, name: str) -> dict[str, Any]:
        return {"type": "dense", "units": self.units}
