"""Small matrices: what a window is laid over, and quantities that have two sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from bptrace.formula.expr import Index, Ref
from bptrace.graph.node import Node
from bptrace.report.blocks import Matrix, Picture
from bptrace.report.notation import Notation
from bptrace.report.places import SPATIAL, spatial

ChannelNames = Mapping[str, Sequence[str]]
"""The names of the channels of a layer, by the layer."""
LARGEST = 8
"""Rows and columns up to which a matrix is shown whole; of a larger one the first and last are."""
SEQUENCES = ("time", "query")
"""What the rows of a quantity with two sides count."""
ENDS = 3
"""Rows and columns shown at each end of a larger one."""


def convolution(
    node: Node, notation: Notation, most: int, names: ChannelNames | None = None
) -> tuple[list[Picture], int]:
    """x ⋆ W = z for each channel of z, as sums over the channels of x; and how many were left out."""
    x, weights = node.inputs[:2]
    parts = (x, weights, node)
    if not all(spatial(o) and max(o.shape[k] for k in spatial(o)) <= LARGEST for o in parts):
        return [], 0
    sign = "⋆ᵀ" if node.op.name == "convolution_input" else "∗" if node.op.grid.flip else "⋆"  # type: ignore[attr-defined]
    into = node.op.groups if hasattr(node.op, "groups") else 1
    channels = _axis(node, "channel")
    pictures: list[Picture] = []
    used = left = 0
    for outer in _outer(node):
        made: list[tuple[str, Matrix]] = []
        for c in _channels_read(node, outer[channels], into):
            joint = "+" if made else ""
            read = _at(x, sample=outer[0], channel=c)
            made.append((joint, matrix(x, read, notation, names)))
            made.append((sign, matrix(weights, _weights_at(node, weights, outer[channels], c), notation, names)))
        made.append(("=", matrix(node, outer, notation, names)))
        if used + len(made) > most and pictures:
            left += 1
            continue
        used += len(made)
        pictures.append(Picture(made))
    return pictures, left


def _channels_read(node: Node, channel: int, groups: int) -> range:
    """The channels of the input that a channel of the result reads."""
    count = node.inputs[0].shape[_axis(node.inputs[0], "channel")]
    each = count // groups
    group = channel // (node.shape[_axis(node, "channel")] // groups)
    return range(group * each, (group + 1) * each)


def _weights_at(node: Node, weights: Node, channel: int, read: int) -> Index:
    """The kernel that lies between a channel of the input and one of the result."""
    transposed = node.op.name == "convolution_input"
    first, second = (read, channel) if transposed else (channel, read)
    return (first, second % weights.shape[1], *(0 for _ in weights.shape[2:]))


def _axis(node: Node, word: str) -> int:
    """Where an axis stands; data may have no words for their axes but places, channels first or last."""
    if word in node.axes:
        return node.axes.index(word)
    return next(k for k in range(1, len(node.shape)) if k not in spatial(node))


def _at(node: Node, sample: int, channel: int) -> Index:
    index = [0] * len(node.shape)
    index[0], index[_axis(node, "channel")] = sample, channel
    return tuple(index)


def _outer(node: Node) -> list[Index]:
    """The places of a node with the first row and column of each matrix."""
    inside = spatial(node)[-2:]
    return list(product(*(range(1 if k in inside else extent) for k, extent in enumerate(node.shape))))


def matrices(node: Node, notation: Notation, most: int, names: ChannelNames | None = None) -> tuple[list[Matrix], int]:
    """A node with rows and columns as one matrix a channel and sample; and how many were left out."""
    outer = _outer(node)
    return [matrix(node, place, notation, names) for place in outer[:most]], max(0, len(outer) - most)


def sided(node: Node) -> bool:
    """Whether what a layer makes of a sample has two sides: a sequence, the scores of attention."""
    inner = [word for word in node.axes if word not in ("sample", "head")]
    return (
        node.phase == "forward"
        and len(node.axes) == len(node.shape)
        and len(inner) == 2
        and inner[0] in SEQUENCES
        and not node.inline
        and min(node.shape[-2:]) > 1
    )


def tables(node: Node, notation: Notation, words: Any, most: int) -> tuple[list[Matrix], int]:
    """A quantity with two sides as a matrix a sample and head, with the names of rows and columns."""
    rows, columns = len(node.shape) - 2, len(node.shape) - 1
    outer = list(product(*(range(extent) for extent in node.shape[:rows])))
    made = []
    for place in outer[:most]:
        shown = [str(k + 1) for k, extent in zip(place, node.shape, strict=False) if extent > 1]
        title = notation.array(node) + (f"[{','.join(shown)}]" if shown else "")
        listed = _listed(node.shape[rows]), _listed(node.shape[columns])
        cells = [[None if i is None or j is None else Ref(node, (*place, i, j)) for j in listed[1]] for i in listed[0]]
        made.append(
            Matrix(
                f"{title} ({node.shape[rows]}×{node.shape[columns]})", cells,
                _names_of(node, rows, listed[0], words), _names_of(node, columns, listed[1], words),
            )
        )  # fmt: skip
    return made, max(0, len(outer) - most)


def _names_of(node: Node, axis: int, listed: Sequence[int | None], words: Any) -> list[str]:
    """What a side of a matrix counts: `query1`, a unit's name, or its number."""
    word = node.axes[axis]
    units = words.units.get(node.layer, ()) if word == "unit" else ()
    named = f"{words(word)}" if word in ("query", "key") else ""
    return ["…" if k is None else units[k] if len(units) == node.shape[axis] else f"{named}{k + 1}" for k in listed]


def channel_name(node: Node, axis: int, place: int, names: ChannelNames) -> str:
    """A channel by its name where it has one, else any place by its number."""
    own = names.get(node.layer, ()) if node.axes[axis : axis + 1] == ("channel",) else ()
    return own[place] if len(own) == node.shape[axis] else str(place + 1)


def matrix(node: Node, outer: Index, notation: Notation, names: ChannelNames | None = None) -> Matrix:
    """One matrix of a node: its last two axes of places, at one place of the others."""
    inside = spatial(node)[-2:]
    rows = inside[0] if len(inside) > 1 else None
    columns = inside[-1]
    shown = [
        channel_name(node, k, place, names or {})
        for k, (place, extent) in enumerate(zip(outer, node.shape, strict=True))
        if k not in inside and extent > 1
    ]
    height = node.shape[rows] if rows is not None else 1
    title = notation.array(node) + (f"[{','.join(shown)}]" if shown else "")

    def ref(row: int, column: int) -> Ref:
        index = list(outer)
        index[columns] = column
        if rows is not None:
            index[rows] = row
        return Ref(node, tuple(index))

    listed = _listed(height), _listed(node.shape[columns])
    cells = [[None if i is None or j is None else ref(i, j) for j in listed[1]] for i in listed[0]]
    return Matrix(f"{title} ({height}×{node.shape[columns]})", cells)


def _listed(extent: int) -> Sequence[int | None]:
    if extent <= LARGEST:
        return range(extent)
    return [*range(ENDS), None, *range(extent - ENDS, extent)]


__all__ = ["SPATIAL", "convolution", "matrices", "matrix"]
