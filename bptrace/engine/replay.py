"""Numbers that were not kept, computed again from the state before them.

The same engine computes the same graph from the same state, so the numbers have the same bits; that
they do is checked at the next state that was kept, once for each stretch between two of them.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bptrace.engine.recording import SEGMENT_BYTES
from bptrace.engine.values import Number, Values
from bptrace.errors import RunError
from bptrace.graph.node import Node
from bptrace.ops.leaves import Leaf

if TYPE_CHECKING:
    from bptrace.engine.layout import Layout
    from bptrace.engine.record import Record


class States:
    """The states that are kept, in memory, by their number."""

    def __init__(self) -> None:
        self._states: list[array[float]] = []

    def __len__(self) -> int:
        return len(self._states)

    def append(self, state: Sequence[float]) -> None:
        self._states.append(array("d", state))

    def __getitem__(self, k: int) -> Sequence[float]:
        return self._states[k]


class Replay:
    """The rows of a run that kept a state every so many iterations; iterations count from 0."""

    def __init__(self, run: Record, every: int, states: Any) -> None:
        self._run = run
        self.every = every
        self.states = states
        self._first = 0
        self._rows: list[Sequence[float]] = []
        self._after: Sequence[float] = ()
        self._verified: set[int] = set()

    def values(self, iteration: int) -> Values:
        """Every number of an iteration."""
        if not self._first <= iteration < self._first + len(self._rows):
            self._load(iteration)
        place = iteration - self._first
        run = self._run
        layout = run.engines.layout(run.schedule.batch_size(iteration))
        after = self._rows[place + 1] if place + 1 < len(self._rows) else self._after
        return Values(layout, run.schedule.batch(iteration), self._rows[place], after[: layout.state_size])

    def _load(self, iteration: int) -> None:
        """Compute the stretch around an iteration again, and hold some of its rows."""
        run = self._run
        segment = iteration // self.every
        begin, end = segment * self.every, min((segment + 1) * self.every, run.count)
        held = max(1, SEGMENT_BYTES // max(1, run.engines.layout(run.schedule.batch_size(iteration)).bytes))
        self._first = begin + (iteration - begin) // held * held
        self._rows = []
        state = self.states[segment]
        last = min(end, self._first + held)
        for k in range(begin, end if segment not in self._verified else last):
            size = run.schedule.batch_size(k)
            engine = run.engines.full(size)
            engine.state = state
            chunk = memoryview(bytearray(8 * max(1, engine.layout.size))).cast("d") if self._first <= k < last else None
            engine.run([run.schedule.batch(k)], chunk, 0, [])
            state = engine.state
            if chunk is not None:
                self._rows.append(chunk)
                self._after = state
        if segment not in self._verified:
            self._verify(segment, end, state)

    def _verify(self, segment: int, end: int, state: Sequence[float]) -> None:
        known = self.states[segment + 1] if segment + 1 < len(self.states) else None
        if end == self._run.count:
            if not self._run.done:
                return  # asked while the run goes on
            known = self._run.state
        if known is not None and array("d", known).tobytes() != array("d", state).tobytes():
            raise RunError(
                f"iterations {segment * self.every + 1} to {end} computed again come to other numbers than the run "
                "had: NumPy, its number of threads or the machine are others. Run it again here"
            )
        self._verified.add(segment)


class OutlineValues(Values):
    """The numbers of an iteration of which a part was kept; the others are computed again when asked for."""

    def __init__(
        self, layout: Layout, samples: Sequence[int], row: Sequence[float], whole: Callable[[], Values]
    ) -> None:
        super().__init__(layout, samples, row)
        self._whole = whole

    def _find(self, node: Node) -> Sequence[Number]:
        place = self._layout.offsets.get(node, -1) - self._layout.begin
        if place >= 0:
            return self._row[place : place + node.size]
        if isinstance(node.op, Leaf) and node not in self.assembly.graph.carry:
            return super()._find(node)  # data and constants
        return self._whole().flat(node)
