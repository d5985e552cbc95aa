"""An activation function as a layer of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from bptrace.graph.node import Node
from bptrace.layers.base import LayerSpec, Path
from bptrace.layers.functions import Activation

if TYPE_CHECKING:
    from bptrace.build.builder import Builder


class ActivationLayer(LayerSpec):
    """a = f(x), element by element (softmax: along the last axis)."""

    type: Literal["activation"]
    function: Activation

    def build(self, builder: Builder, name: str, path: Path, source: Node) -> Node:
        names = builder.names(self, path, ("units", "a"))
        unit_names = names.flat("units", (source.shape[-1],))
        builder.unit_names[name] = unit_names
        return builder.activate(self, name, source, names, unit_names)

    def title(self, builder: Builder, name: str) -> dict[str, Any]:
        return {"type": "activation", "units": 0}
