"""Layers within layers: every layer of a network, depth first.

A block (`residual`, `concat`, ...) holds its branch under `layers`. Whoever goes through all layers of
a network goes through these, since names, penalties and conventions hold at any depth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bptrace.layers.base import LayerSpec

__all__ = ["DEEPEST_NESTING", "Path", "named_layers", "walk_layers"]

Path = tuple[str | int, ...]

DEEPEST_NESTING = 12
"""Blocks within blocks beyond which a file is refused."""


def walk_layers(layers: Sequence[LayerSpec], path: Path = ("layers",)) -> Iterator[tuple[Path, LayerSpec]]:
    """Every layer with its place in the YAML; a block comes before the layers of its branch."""
    for k, layer in enumerate(layers):
        yield (*path, k), layer
        yield from walk_layers(getattr(layer, "layers", None) or (), (*path, k, "layers"))


def named_layers(layers: Sequence[LayerSpec]) -> Iterator[tuple[str, Path, LayerSpec]]:
    """Every layer with its name: given, or its type and its number among all layers of that type."""
    counts: dict[str, int] = {}
    for path, layer in walk_layers(layers):
        counts[layer.type] = counts.get(layer.type, 0) + 1
        yield layer.name or f"{layer.type}{counts[layer.type]}", path, layer
