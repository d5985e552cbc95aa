"""The record of a run: its iterations' numbers, whether the run just ended or is read from a file."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from bptrace.engine.layout import Layout
from bptrace.engine.replay import OutlineValues, Replay
from bptrace.engine.values import FLOATS, Values
from bptrace.errors import RunError

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly
    from bptrace.engine.engines import Engines
    from bptrace.engine.metrics import Evaluation
    from bptrace.engine.recording import Recording
    from bptrace.graph.node import Node


class Record:
    """What a `Trace` shows. Iterations count from 0 here, and from 1 everywhere outside of this package.

    `count` iterations were done of `asked`; `recording` says which of them are kept, and `recorder`
    has their rows; `state` is what changes between iterations, after the last one; `done` whether the
    run is over.
    """

    engines: Engines
    recording: Recording
    recorder: Any
    losses: Any
    replay: Replay
    state: Sequence[Any]
    count: int
    asked: int
    resumed: bool
    interrupted: bool
    done: bool
    stopped: RunError | None
    evaluation: Evaluation | None

    def __init__(self, engines: Engines) -> None:
        self.engines = engines
        self.whole = engines.whole
        self.schedule = engines.schedule
        self._pickers: dict[Any, Any] = {}

    def values(self, iteration: int) -> Values:
        """The numbers of a kept iteration; raises KeyError for others."""
        row = self.recorder.row(iteration) if iteration < self.count else None
        if row is None:
            raise KeyError(iteration)
        size, batch = self.schedule.batch_size(iteration), self.schedule.batch(iteration)
        if self.recording.every:
            layout = self.engines.recorded(size)
            return OutlineValues(layout, batch, row[: layout.row], lambda: self.replay.values(iteration))
        layout = self.engines.layout(size)
        after = self.recorder.after.get(iteration)
        if after is None:
            following = self.recorder.row(iteration + 1)
            after = following[: layout.state_size] if following is not None else None
        if after is None and iteration == self.count - 1:
            after = self.state
        return Values(layout, batch, row[: layout.size], after, self.engines.numbers)

    def picked(self, nodes: Sequence[Node], iteration: int) -> Sequence[float] | None:
        """The numbers of some nodes of a kept iteration, where its row and the next one's state hold
        them all: much quicker than one by one."""
        row = self.recorder.row(iteration) if not self.recording.every and self.engines.numbers is FLOATS else None
        if row is None or iteration >= self.count:
            return None
        size = self.schedule.batch_size(iteration)
        key = (size, tuple(nodes))
        if key not in self._pickers:
            self._pickers[key] = _picker(self.engines.layout(size), nodes)
        pick = self._pickers[key]
        if pick is None:
            return None
        after = self.recorder.after.get(iteration)
        if after is None:
            following = self.recorder.row(iteration + 1)
            if following is None:
                return None
            after = following[: self.engines.layout(size).state_size]
        return pick([*row, *after])  # type: ignore[no-any-return]

    def final_values(self) -> Values:
        """One more forward pass over all data, with the parameters after the last update."""
        from bptrace.engine.final import final_values

        return final_values(self.whole, self.state, self.engines.numbers, self.description["name"] != "array")

    def final_parameters(self, assembly: Assembly) -> Values:
        """The state after the last update, for the nodes of any of this network's graphs."""
        return Values(Layout(assembly), range(assembly.samples), self.state, numbers=self.engines.numbers)

    @property
    def description(self) -> dict[str, Any]:
        """Which engine made the numbers, and which are kept, for the trace's heading."""
        found = self.engines.description
        if self.recording.every:
            found["record"] = {"policy": self.recording.policy, "states_every": self.recording.every}
        return found


def _picker(layout: Layout, nodes: Sequence[Node]) -> Any:
    """What picks the numbers of nodes out of a row followed by the next state; None where it has not all."""
    places: list[int] = []
    for node in nodes:
        start = layout.offsets.get(node)
        if start is None and node in layout.after:
            start = layout.size + layout.after[node]
        if start is None:
            return None
        places.extend(range(start, start + node.size))
    return itemgetter(*places) if len(places) > 1 else None
