"""Nodes: everything that is computed, shown, exported or explained is one of these.

A node is known before any number exists: what computes it (`op`), from which nodes (`inputs`), its
shape, and what a reader needs to find and name it. It holds no values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bptrace.graph.op import Op

Shape = tuple[int, ...]
Phase = Literal["data", "setting", "parameter", "forward", "loss", "backward", "update", "tangent", "rule", "check"]


@dataclass(frozen=True, slots=True)
class Own:
    """A symbol of its own: `W` for the array, `w` for one of its elements."""

    array: str
    element: str = ""


@dataclass(frozen=True, slots=True)
class Derivative:
    """∂top/∂of; of a contribution also through which node it came."""

    top: Node
    of: Node
    through: str = ""


@dataclass(frozen=True, slots=True)
class Updated:
    """The value of `of` after the update: new w."""

    of: Node


@dataclass(frozen=True, slots=True)
class Applied:
    """A function of another node's symbol: σ'(net)."""

    function: str
    of: Node


@dataclass(frozen=True, slots=True)
class Of:
    """A quantity that belongs to another node: the moment m of w5."""

    symbol: str
    of: Node


Symbol = Own | Derivative | Updated | Applied | Of


@dataclass(eq=False, slots=True)
class Node:
    """One quantity of the graph.

    `axes` has a word an axis (`sample unit input ...`): row headings, and the index that is left
    out with one sample. `names` are the user's names of the elements, over the axes other than the
    sample's. `block` is the id of the block in which the page shows the node. An inline node (a
    view, a constant factor) has an id and values, but a reference to it is replaced by its formula.
    The gradient by a `quiet` node is inline. `delta` says under which name and sign the gradient by
    a pre-activation is shown. `step` is the time step that a node of a recurrent layer belongs to:
    its place in the input from 1, 0 for the initial state.
    """

    id: str
    op: Op
    inputs: tuple[Node, ...]
    shape: Shape
    phase: Phase
    layer: str = ""
    symbol: Symbol = Own("")
    axes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    block: str = ""
    word: str = ""
    inline: bool = False
    aliases: list[str] = field(default_factory=list)
    delta: DeltaName | None = None
    quiet: bool = False
    step: int | None = None

    def __repr__(self) -> str:
        return f"<Node {self.id} {list(self.shape)}>"

    @property
    def size(self) -> int:
        """The number of elements."""
        size = 1
        for extent in self.shape:
            size *= extent
        return size


@dataclass(frozen=True, slots=True)
class DeltaName:
    """How the gradient by a pre-activation is called: `h.delta`, δ_h1; and its sign and scale."""

    id: str
    names: tuple[str, ...] = ()
    factor: int = 1
    symbol: str = "δ"
