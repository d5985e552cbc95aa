"""Names on the page: the user's where there are any, else ids as they are typed in commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bptrace.formula.expr import Index, Ref
from bptrace.graph.node import Applied, Derivative, Node, Of, Own, Updated


class Notation:
    """Turns nodes and elements into text, as seen from a block of `layer`.

    A symbol of another layer carries that layer's name; the block's own do not. With one sample its
    index is left out; with `hide_sample` also with several, where a row or heading gives it.
    `parameter` stands for any parameter in the captions of an update, which hold for all of them.
    """

    def __init__(self, layer: str = "", hide_sample: bool = False, parameter: str = "") -> None:
        self.layer = layer
        self.hide_sample = hide_sample
        self.parameter = parameter

    def array(self, node: Node) -> str:
        """The symbol of a whole quantity: `W`, `out_h`, `∂E/∂out`."""
        match node.symbol:
            case Own(array, _):
                return array + self._suffix(node)
            case Derivative(top, of, _):
                return f"∂{self.array(top) if top is not node else top.id}/∂{_bracketed(self.array(of))}"
            case Updated(of):
                return f"new {self.array(of)}"
            case Applied(function, of):
                return f"{function}({self.array(of)})"
            case Of(symbol, of):
                return f"{symbol}({self.array(of)})"

    def one(self, node: Node) -> str:
        """The symbol of any one element: `w`, `∂E/∂w`."""
        match node.symbol:
            case Own(array, element):
                if self.parameter and node.phase == "parameter":
                    return self.parameter
                return (element or array) + self._suffix(node)
            case Derivative(top, of, _):
                return f"∂{self.one(top)}/∂{_bracketed(self.one(of))}"
            case Updated(of):
                return f"new {self.one(of)}"
            case Applied(function, of):
                return f"{function}({self.one(of)})"
            case Of(symbol, of):
                return symbol if self.parameter else f"{symbol}({self.one(of)})"

    def _suffix(self, node: Node) -> str:
        foreign = node.layer and node.layer != self.layer and node.phase in ("parameter", "forward", "backward")
        return f"_{node.layer}" if foreign else ""

    def element(self, ref: Ref) -> str:
        """The name of one element: `w5`, `∂E/∂out_h1`, `h.W[1,2]`."""
        return self._element(ref.node, ref.index)

    def _element(self, node: Node, index: Index) -> str:
        match node.symbol:
            case Derivative(top, of, through):
                if node.shape == top.shape != of.shape:  # of each element of the result, by what they share
                    name = f"∂{self._element(top, index)}/∂{_bracketed(self.one(of))}"
                else:
                    name = f"∂{self.one(top)}/∂{_bracketed(self._element(of, index))}"
                return f"{name} via {through}" if through else name
            case Updated(of):
                return f"new {self._element(of, index)}"
            case Applied(function, of):
                return f"{function}({self._element(of, index)})"
            case Of(symbol, of):
                return f"{symbol}({self._element(of, index)})"
            case Own(array, _):
                return self._own(node, array, index)

    def _own(self, node: Node, array: str, index: Index) -> str:
        shown, flat = self._places(node, index)
        if node.names and flat is not None and flat < len(node.names):
            sample = self._sample(node, index)
            return node.names[flat] + (f"[{sample}]" if sample else "")
        own = node.layer in ("", self.layer) or node.phase == "loss"
        named = node.layer or node.phase == "loss" or (node.phase == "update" and node.id.startswith("setting."))
        base = array if own and named else node.id
        return f"{base}[{','.join(shown)}]" if shown else base

    def _sample(self, node: Node, index: Index) -> str:
        if self.hide_sample or "sample" not in node.axes:
            return ""
        axis = node.axes.index("sample")
        return "" if node.shape[axis] == 1 else _place(index[axis])

    def _places(self, node: Node, index: Index) -> tuple[list[str], int | None]:
        """The index as shown, and the flat index over the axes other than the sample's."""
        shown: list[str] = []
        flat: int | None = 0
        for k, place in enumerate(index):
            sample = k < len(node.axes) and node.axes[k] == "sample"
            if not sample:
                flat = None if flat is None or not isinstance(place, int) else flat * node.shape[k] + place
            if not (sample and (node.shape[k] == 1 or self.hide_sample)):
                shown.append(_place(place))
        return shown, flat


def _place(place: Any) -> str:
    """An index as people count: from 1. This is the only place where that is done for pages."""
    return str(place + 1) if isinstance(place, int) else str(place)


def _bracketed(symbol: str) -> str:
    return f"({symbol})" if " " in symbol else symbol


def indices(shape: Sequence[int]) -> list[tuple[int, ...]]:
    """All index tuples of a shape, row by row."""
    found: list[tuple[int, ...]] = [()]
    for extent in shape:
        found = [(*index, place) for index in found for place in range(extent)]
    return found


def unflat(place: int, shape: Sequence[int]) -> tuple[int, ...]:
    index: list[int] = []
    for extent in reversed(shape):
        place, position = divmod(place, extent)
        index.append(position)
    return tuple(reversed(index))


def shape_text(node: Node, transposed: bool = False) -> str:
    """A shape as a caption writes it: `(2×2)`, `(2)`; the only sample is left out."""
    extents = [
        str(extent)
        for k, extent in enumerate(node.shape)
        if not (extent == 1 and k < len(node.axes) and node.axes[k] == "sample")
    ]
    if transposed:
        extents.reverse()
    return f"({'×'.join(extents)})" if extents else "(1)" if node.shape else "()"
