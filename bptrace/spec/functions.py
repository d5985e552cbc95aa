"""The functions that a graph expression may call."""

from __future__ import annotations

from dataclasses import dataclass

from bptrace.spec.words import ACTIVATIONS

__all__ = ["FUNCTIONS", "REQUIRED", "Signature"]


@dataclass(frozen=True)
class Signature:
    """How many expressions a function takes, and its options in the order of their places."""

    least: int
    most: int
    options: tuple[str, ...] | None = ()
    """None: any option (the constants of an activation, which know themselves)."""


_AXIS = ("axis",)
FUNCTIONS: dict[str, Signature] = {
    **{name: Signature(1, 1, None) for name in ACTIVATIONS},
    **{name: Signature(1, 1) for name in ("exp", "log", "sqrt", "abs", "sin", "cos")},
    "sum": Signature(1, 1, _AXIS),
    "mean": Signature(1, 1, _AXIS),
    "logsumexp": Signature(1, 1, _AXIS),
    "min": Signature(1, 2, _AXIS),
    "max": Signature(1, 2, _AXIS),
    "transpose": Signature(1, 1, ("axes",)),
    "reshape": Signature(1, 1, ("shape",)),
    "concat": Signature(2, 100, _AXIS),
    "take": Signature(1, 1, ("indices", "axis")),
    "where": Signature(3, 3),
    "dot": Signature(2, 2),
}
REQUIRED = {"reshape": "shape", "take": "indices"}
"""Options that a function cannot do without."""
