"""Dropout: in training some elements are 0, and the others grow so that the expectation stays."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from bptrace.graph.node import DeltaName, Node, Own
from bptrace.graph.op import Op
from bptrace.layers.base import LayerSpec, Path
from bptrace.ops.arithmetic import Multiply, Scale
from bptrace.ops.drawn import AtLeast, Drawn
from bptrace.ops.dropout import Dropped
from bptrace.spec.base import Array, NestedFloats, Number, refuse

if TYPE_CHECKING:
    from bptrace.build.builder import Builder


class Dropout(LayerSpec):
    """y = x·m/(1 - rate); with `scale: none` y = x·m. After training y = x, or x·(1 - rate).

    The mask m (0 or 1) is given, or drawn anew in every iteration: 1 where a uniform number is at least `rate`.
    """

    type: Literal["dropout"]
    rate: Annotated[Number, Field(ge=0, lt=1)] = 0.5
    mask: Array | None = None
    seed: Annotated[int, Field(ge=0, le=2**53)] | None = None
    scale: Literal["inverted", "none"] = "inverted"

    @model_validator(mode="after")
    def _one_mask(self) -> Dropout:
        if self.mask is not None and self.seed is not None:
            raise refuse("a given mask is not drawn", "mask or seed", at=["seed"], at_key=True)
        return self

    @property
    def kept(self) -> str:
        """1 - rate, as it is spelled."""
        return str(1 - Decimal(repr(self.rate)))

    def build(self, builder: Builder, name: str, path: Path, source: Node) -> Node:
        names = builder.names(self, path, ("units", "mask", "y", "z", "a"))
        unit_names = names.flat("units", (source.shape[builder.features(source)],))
        builder.unit_names[name] = unit_names
        plain, op = self.activation is None, self._op(builder)
        if op is None and plain:
            builder.graph.alias(f"{name}.y", source)
        if op is None:
            return source if plain else builder.activate(self, name, source, names, unit_names)
        part = "y" if plain else "z"
        mask = [] if builder.inference else [self._mask(builder, name, path, source)]
        made = builder.graph.add(
            f"{name}.{part}", op, source, *mask,
            phase="forward", symbol=Own(names.symbol(part, part)), axes=source.axes, layer=name, word="dropout",
            names=names.elements(part, part, unit_names),
            delta=None if plain else DeltaName(f"{name}.delta", (), builder.delta_factor),
        )  # fmt: skip
        builder.graph.name_elements(made)
        return made if plain else builder.activate(self, name, made, names, unit_names)

    def _op(self, builder: Builder) -> Op | None:
        """What makes the output of input and mask, or after training of the input; None if nothing does."""
        keep = Fraction(self.kept)
        if builder.inference:
            return Scale(keep, self.kept) if self.scale == "none" and keep != 1 else None
        return Dropped(keep, self.kept) if self.scale == "inverted" and keep != 1 else Multiply()

    def _mask(self, builder: Builder, name: str, path: Path, source: Node) -> Node:
        id = f"{name}.mask"
        about: dict[str, Any] = {"symbol": Own("m"), "layer": name, "word": "mask"}
        if self.mask is not None:
            for at, number in _numbers(self.mask, (*path, "mask")):
                if number not in (0.0, 1.0):
                    builder.problem(at, f"cannot be {number:g}", "0 (dropped) or 1 (kept)")
            return builder.like(id, source, self.mask, (*path, "mask"), **about)
        seed = builder.network.seed if self.seed is None else self.seed
        numbers = builder.graph.add(
            f"{name}.u", Drawn(f"{seed}:{id}", source.shape), builder.iteration(),
            phase="forward", symbol=Own("u"), axes=source.axes, layer=name, word="drawn_numbers",
        )  # fmt: skip
        return builder.graph.add(id, AtLeast(self.rate), numbers, phase="forward", axes=source.axes, **about)

    def title(self, builder: Builder, name: str) -> dict[str, Any]:
        """The heading, and what the page says about the layer's conventions: in training, and after it."""
        inverted = self.scale == "inverted"
        training = f"y = x·m/{self.kept}" if inverted else "y = x·m"
        masks = "mask_given" if self.mask is not None else "mask_drawn"
        after = "y = x" if inverted else f"y = x·{self.kept}"
        said = [(after, "after_training")] if builder.inference else [(training, masks), (after, "after_training")]
        return {"type": "dropout", "units": 0, "rate": self.rate, "conventions": said}


def _numbers(value: NestedFloats, path: Path) -> list[tuple[Path, float]]:
    """Every number of an array with its place."""
    if isinstance(value, list):
        return [found for k, item in enumerate(value) for found in _numbers(item, (*path, k))]
    return [(path, value)]
