"""Running statistics of batch norm: leaves that change in training and are read in inference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bptrace.graph.node import Node, Own, Updated
from bptrace.layers.base import Path
from bptrace.ops.running import Running
from bptrace.spec.base import shape_of

if TYPE_CHECKING:
    from bptrace.build.builder import Builder

PARTS: tuple[tuple[str, str, str, float], ...] = (
    ("mean", "running_mean", "μ_run", 0.0),
    ("variance", "running_var", "σ²_run", 1.0),
)
"""Of the mean and the variance: the field, the id, the symbol, what it starts from."""


def running_leaves(
    builder: Builder, name: str, path: Path, given: dict[str, Any], count: int, axes: tuple[str, ...], share: str
) -> tuple[Node, Node]:
    """`name.running_mean` and `name.running_var`, (count); with `share` those of another layer."""
    made: list[Node] = []
    for part, id, symbol, start in PARTS:
        shared = builder.graph.by_id.get(f"{share}.{id}") if share else None
        if shared is not None:
            builder.graph.alias(f"{name}.{id}", shared)
            made.append(shared)
            continue
        values = _values(builder, (*path, "running", part), given.get(part), count, start)
        if part == "variance":
            _refuse_negative(builder, (*path, "running", part), given.get(part))
        made.append(
            builder.graph.leaf(
                f"{name}.{id}", (count,), values,
                phase="parameter", symbol=Own(symbol), axes=axes, layer=name, word=id,
            )
        )  # fmt: skip
    return made[0], made[1]


def keep_running(
    builder: Builder, name: str, leaves: tuple[Node, Node], new: tuple[Node, Node], momentum: Node, count: int
) -> None:
    """Let the leaves take in the mean and the variance of each iteration, after everything else of it.

    `count` is the N of a variance whose divisor is N; what is kept has the divisor N - 1, as PyTorch keeps it.
    """

    def add() -> None:
        for leaf, value, corrected in zip(leaves, new, (0, count), strict=True):
            # a layer that shares its statistics goes on from what the one before made of them
            before = builder.graph.carry.get(leaf, leaf)
            part = leaf.id.rpartition(".")[2]
            builder.graph.carry[leaf] = builder.graph.add(
                f"new.{name}.{part}", Running(corrected), before, value, momentum,
                phase="update", symbol=Updated(leaf), axes=leaf.axes, layer=name, word=part,
            )  # fmt: skip

    builder.updates.append(add)


def _values(builder: Builder, at: Path, given: Any, count: int, start: float) -> list[float]:
    if given is None or isinstance(given, float):
        return [start if given is None else given] * count
    if shape_of(given) != (count,):
        builder.problem(at, f"the shape is {list(shape_of(given))}", f"the shape [{count}] (channel), or one number")
        return [start] * count
    return list(given)


def _refuse_negative(builder: Builder, at: Path, given: Any) -> None:
    cells = [((), given)] if isinstance(given, float) else [((k,), v) for k, v in enumerate(given or ())]
    for place, value in cells:
        if isinstance(value, float) and value < 0:
            builder.problem((*at, *place), f"a variance of {value:g}", "a number from 0")


__all__ = ["keep_running", "running_leaves"]
