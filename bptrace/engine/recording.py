"""What is kept of a run: everything of each iteration, its outline, or only where to start again.

`all` keeps every number. `lean` keeps activations, deltas and losses of each iteration, and the
state (parameters and what the optimizer remembers) of every k-th; `replay` keeps losses and states.
What is not kept is computed again when it is asked for, from the state before it, by the same
engine; `Replay` checks that it comes to the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from bptrace.engine.layout import NUMBER_BYTES
from bptrace.errors import UsageError

if TYPE_CHECKING:
    from bptrace.engine.layout import Layout

Policy = Literal["all", "lean", "replay"]
POLICIES: tuple[Policy, ...] = ("all", "lean", "replay")

SEGMENT_BYTES = 16 << 20
"""Rows computed again at a time."""
LONGEST_SEGMENT = 1024
STATES_SHARE = 4
"""The part of the budget (one in so many) that states may take."""


@dataclass(frozen=True)
class Wish:
    """What a user asks for: a policy, the bytes at hand, a file for the rows. None: chosen by size."""

    policy: Policy | None = None
    budget: int | None = None
    file: str | None = None
    network: Mapping[str, object] = field(default_factory=dict)
    """The network as it is written beside the rows, so that they can be read without it."""


@dataclass(frozen=True)
class Recording:
    """What is kept: the rows of the iterations `kept` (from 0), and with `every` a state each so many
    iterations, from which the rest is computed again."""

    policy: Policy
    kept: Sequence[int]
    every: int = 0


def choose(
    wish: Wish, planned: int, wanted: Sequence[int] | None, whole: Layout, lean_bytes: int, *, budget: int, most: int,
    floats: bool,
) -> Recording:  # fmt: skip
    """The recording of a run of `planned` iterations.

    `wanted` are the iterations that are looked at, all where None; `budget` the bytes that are kept
    without being asked for, `most` those that are kept at all.
    """
    everything, row = range(planned), whole.bytes
    if not floats:
        if wish.policy in ("lean", "replay") or wish.file is not None:
            raise UsageError("--record and --trace keep floats; leave out --exact and conventions.rounding")
        if wanted is None:
            return Recording("all", everything if planned * row <= budget else sorted({0, planned - 1}))
        return Recording("all", _refuse_too_many(wanted, row, most))
    if wish.policy is None and wanted is not None and wish.file is None and len(wanted) * row <= budget:
        return Recording("all", wanted)
    policy = wish.policy or _fitting(planned, row, lean_bytes, whole.state_size, budget)
    if policy == "all":
        return Recording("all", everything if wish.file is not None else _refuse_too_many(everything, row, most))
    return Recording(policy, everything, _every(planned, row, whole.state_size, budget))


def _fitting(planned: int, row: int, lean: int, state: int, budget: int) -> Policy:
    if planned * row <= budget:
        return "all"
    states = planned // _every(planned, row, state, budget) * state * NUMBER_BYTES
    return "lean" if planned * lean + states <= budget else "replay"


def _every(planned: int, row: int, state: int, budget: int) -> int:
    """Iterations between two states that are kept: few enough to compute again at once, so many that
    the states take no more than their share of the budget."""
    at_once = max(1, min(LONGEST_SEGMENT, SEGMENT_BYTES // max(1, row)))
    share = max(1, budget // STATES_SHARE)
    return max(at_once, -(-planned * state * NUMBER_BYTES // share))


def _refuse_too_many(kept: Sequence[int], row: int, most: int) -> Sequence[int]:
    if len(kept) * row > most:
        raise UsageError(
            f"{len(kept):,} iterations of {row:,} bytes each are {len(kept) * row:,} bytes to keep; "
            f"at most {most:,}; show fewer iterations, or --record lean or replay, or --memory"
        )
    return kept


def budget_bytes(text: str) -> int:
    """A size as it is typed: `512MB`, `2GB`, `1000000`."""
    units = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "B": 1}
    said = text.strip().upper()
    unit = next((name for name in units if said.endswith(name)), "")
    number = said.removesuffix(unit).strip()
    try:
        size = int(float(number) * units.get(unit, 1)) if number.isascii() else 0
    except (ValueError, OverflowError):
        size = 0
    if size < 1 << 20:
        raise UsageError(f"--memory {text}: a size of at least 1 MiB, such as 512MB or 2GB")
    return size
