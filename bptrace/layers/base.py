"""What all layers have: the common YAML fields, and how a layer gets into the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field

from bptrace.layers.functions import Activation
from bptrace.spec.base import Check, Name, Strict, checked_name, describe, refuse
from bptrace.spec.models import Initializer, Penalty

if TYPE_CHECKING:
    from bptrace.build.builder import Builder
    from bptrace.graph.node import Node

Path = tuple[str | int, ...]


def _element_names(value: object) -> Any:
    """A name, or names nested as the elements are."""
    if isinstance(value, str):
        return checked_name(value)
    if isinstance(value, list):
        return [_element_names(item) for item in value]
    raise refuse(f"not a name: {describe(value)}", "a name, or a list of names")


def _names(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise refuse(f"not a mapping: {describe(value)}", "part: names, such as units: [h1, h2]")
    return {str(part): _element_names(names) for part, names in value.items()}


def _trainable(value: object) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, dict) and all(isinstance(item, bool) for item in value.values()):
        return value
    raise refuse(f"cannot be {describe(value)}", "true, false, or {part: true or false}")


Names: TypeAlias = Annotated[dict[str, Any], Check(_names, {"type": "object"})]
Trainable: TypeAlias = Annotated[
    bool | dict[str, bool],
    Check(
        _trainable, {"anyOf": [{"type": "boolean"}, {"type": "object", "additionalProperties": {"type": "boolean"}}]}
    ),
]


class LayerSpec(Strict):
    """The fields of every layer; `build` turns them into nodes."""

    type: str
    name: Name | None = None
    input: str | list[str] | None = None
    activation: Activation | None = None
    names: Names = Field(default_factory=dict)
    trainable: Trainable = True
    initializer: Initializer | None = None
    share: Name | None = None
    penalty: Penalty | None = None
    derivative_from: Literal["activation", "pre_activation"] | None = None
    weight_layout: Literal["out_in", "in_out"] | None = None
    ties: Literal["first", "all"] | None = None

    def build(self, builder: Builder, name: str, path: Path, source: Node) -> Node:
        """Add this layer's nodes to the graph and return its output."""
        raise NotImplementedError

    def title(self, builder: Builder, name: str) -> dict[str, Any]:
        """What the layer's heading says: type, inputs, units, activation."""
        raise NotImplementedError
