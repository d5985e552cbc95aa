"""Blocks: layers that join several outputs, one of which may come out of a branch of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from bptrace.graph.node import DeltaName, Node, Own
from bptrace.layers.base import LayerSpec, Path
from bptrace.ops.arithmetic import Add, Multiply
from bptrace.ops.shaping import Concat
from bptrace.spec.base import AnyName, refuse
from bptrace.spec.registry import Layers

if TYPE_CHECKING:
    from bptrace.build.builder import Builder


class Block(LayerSpec):
    """What all blocks have: with `layers`, a branch, they join their own input with what the branch makes
    of it; with `inputs` the outputs of layers above."""

    layers: Layers = ()
    inputs: list[AnyName] = Field(default_factory=list)

    fewest: ClassVar[int] = 2
    """How many `inputs` there must be; one alone is joined with the layer's own input."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Block:
        either, named = "layers: [...] (a branch), or inputs: [names]", "inputs" in self.model_fields_set
        if self.layers and named:
            raise refuse("layers and inputs are both given", either, at=["inputs"], at_key=True)
        if not self.layers and not named:
            raise refuse(f"{self.type} has nothing to join", either, at=["type"])
        if named and len(self.inputs) < self.fewest:
            raise refuse(f"{len(self.inputs)} to join", f"at least {self.fewest}", at=["inputs"])
        if len(self.inputs) > 1 and self.input is not None:
            said = f"{self.type} joins its inputs and reads no other input"
            raise refuse(said, "input or inputs", at=["input"], at_key=True)
        return self

    def build(self, builder: Builder, name: str, path: Path, source: Node) -> Node:
        joined = self._joined(builder, path, source)
        if not joined:
            return source
        names = builder.names(self, path, ("units", "y", "z", "a"))
        features, plain = builder.features(image_of(joined)), self.activation is None
        part = "y" if plain else "z"
        image = image_of(joined).axes
        axes = image if "channel" in image else next((node.axes for node in joined if "unit" in node.axes), image)
        made = self.join(
            builder.graph.add, f"{name}.{part}", joined, features,
            phase="forward", symbol=Own(names.symbol(part, part)), axes=axes, layer=name, word=self.type,
        )  # fmt: skip
        unit_names = names.flat("units", (made.shape[features],))
        builder.unit_names[name] = unit_names
        made.names = names.elements(part, part, unit_names)
        builder.graph.name_elements(made)
        if plain:
            return made
        made.delta = DeltaName(f"{name}.delta", tuple(f"δ_{unit}" for unit in unit_names), builder.delta_factor)
        return builder.activate(self, name, made, names, unit_names)

    def _joined(self, builder: Builder, path: Path, source: Node) -> list[Node]:
        """The nodes to be joined, or none after a mistake."""
        if self.layers:
            end = builder.stack(self.layers, (*path, "layers"), source)
            if end is None:
                return []
            if self.fits([source, end], builder.features(image_of([source, end]))):
                return [source, end]
            made, wanted = list(end.shape), list(source.shape)
            builder.problem(
                (*path, "layers"), f"the branch makes {made} of {wanted}, which do not fit together",
                self.remedy(wanted),
            )  # fmt: skip
            return []
        found = [builder.named(wanted, (*path, "inputs", k)) for k, wanted in enumerate(self.inputs)]
        joined = [node for node in found if node is not None]
        if len(joined) < len(found):
            return []
        joined += [source] if len(joined) == 1 else []
        if self.fits(joined, builder.features(image_of(joined))):
            return joined
        names = (*self.inputs, "its input")[: len(joined)]
        shapes = ", ".join(f"{name} {list(node.shape)}" for name, node in zip(names, joined, strict=True))
        builder.problem((*path, "inputs"), f"the shapes do not fit together: {shapes}", self.remedy([]))
        return []

    def fits(self, joined: Sequence[Node], features: int) -> bool:
        """Whether nodes of these shapes can be joined."""
        return all(node.shape == joined[0].shape for node in joined)

    def remedy(self, wanted: list[int]) -> str:
        """What would fit."""
        return f"a branch that ends with the shape {wanted}" if wanted else "outputs of one shape"

    def join(self, add: Any, id: str, joined: list[Node], features: int, **rest: Any) -> Node:
        """Add the node that joins the others."""
        raise NotImplementedError

    def title(self, builder: Builder, name: str) -> dict[str, Any]:
        return {"type": self.type, "units": 0}


def image_of(joined: Sequence[Node]) -> Node:
    """One of those of which it is known where the channels are (of data only what reads them knows), else the first."""
    return next((node for node in joined if "channel" in node.axes), joined[0])


class Addition(Block):
    """y = the sum of what is joined, element by element."""

    type: Literal["add"]

    def join(self, add: Any, id: str, joined: list[Node], features: int, **rest: Any) -> Node:
        return add(id, Add(), *joined, **rest)  # type: ignore[no-any-return]


class Residual(Addition):
    """y = x + branch(x). With one name in `inputs`: y = that layer's output + x."""

    type: Literal["residual"]  # type: ignore[assignment]
    fewest = 1


class Multiplication(Block):
    """y = the product of what is joined, element by element; of three or more, two at a time."""

    type: Literal["multiply"]

    def join(self, add: Any, id: str, joined: list[Node], features: int, **rest: Any) -> Node:
        name, product = id.rpartition(".")[0], joined[0]
        for k, factor in enumerate(joined[1:], 1):
            last = k == len(joined) - 1
            own = rest if last else {**rest, "symbol": Own(f"{rest['symbol'].array}{k}")}
            product = add(id if last else f"{name}.{k}", Multiply(), product, factor, **own)
        return product


class Concatenation(Block):
    """y = what is joined, one after the other along the features (channels of images)."""

    type: Literal["concat"]

    def fits(self, joined: Sequence[Node], features: int) -> bool:
        rest = {(*node.shape[:features], *node.shape[features + 1 :]) for node in joined}
        return len(rest) == 1

    def remedy(self, wanted: list[int]) -> str:
        return "shapes that differ in the features only"

    def join(self, add: Any, id: str, joined: list[Node], features: int, **rest: Any) -> Node:
        return add(id, Concat(features), *joined, **rest)  # type: ignore[no-any-return]
