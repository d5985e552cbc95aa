"""The user's names for the parts of a layer (`names:`), checked against the shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bptrace.graph.node import Shape


class LayerNames:
    """`names` of one layer; `complain(part, message, expected)` reports what does not fit."""

    def __init__(self, given: dict[str, Any], complain: Callable[[str, str, str], None]) -> None:
        self.given = given
        self.complain = complain

    def symbol(self, part: str, default: str) -> str:
        """The symbol of a quantity: `net` for `z: net`."""
        given = self.given.get(part)
        return given if isinstance(given, str) else default

    def flat(self, part: str, shape: Shape) -> tuple[str, ...]:
        """The names of all elements of a part, row by row; one name for all repeats."""
        given = self.given.get(part)
        size = 1
        for extent in shape:
            size *= extent
        if given is None:
            return ()
        if isinstance(given, str):
            return (given,) * size
        names = tuple(_leaves(given))
        if (_shape(given) != shape and len(names) != size) or len(names) != size:
            self.complain(part, f"{len(names)} names for {size} elements", f"names in the shape {list(shape)}")
            return ()
        return names

    def elements(self, part: str, default: str, units: tuple[str, ...]) -> tuple[str, ...]:
        """The names of a quantity's elements: given, or its symbol with the unit's name."""
        given = self.given.get(part)
        if isinstance(given, list):
            return tuple(_leaves(given))
        return tuple(f"{self.symbol(part, default)}_{unit}" for unit in units)


def common_prefix(names: Sequence[str], default: str) -> str:
    """What stands for any of the names: `w` for w1, w2; the default where they share nothing."""
    stems = {name.rstrip("0123456789'") for name in names}
    stem = stems.pop() if len(stems) == 1 else ""
    return stem.rstrip("_") or default


def _leaves(value: Any) -> list[str]:
    return [name for item in value for name in _leaves(item)] if isinstance(value, list) else [value]


def _shape(value: Any) -> Shape:
    return (len(value), *_shape(value[0])) if isinstance(value, list) and value else ()
