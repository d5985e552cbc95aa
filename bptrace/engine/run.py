"""A run: what is planned and kept of it, then the loop that does it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bptrace.engine.engines import Engines
from bptrace.engine.exact import exact_numbers, paper_numbers
from bptrace.engine.layout import lean_nodes, state_leaves
from bptrace.engine.loop import LOSS_BYTES, Loop, Watcher
from bptrace.engine.record import Record
from bptrace.engine.recorder import Recorder
from bptrace.engine.recording import Recording, Wish, choose
from bptrace.engine.replay import Replay, States
from bptrace.engine.schedule import Schedule
from bptrace.engine.stopping import StopRule
from bptrace.engine.values import FLOATS, Numbers
from bptrace.errors import UsageError

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly
    from bptrace.engine.metrics import Evaluation
    from bptrace.engine.trace_file import TraceFile
    from bptrace.spec.models import Network as NetworkSpec

BUDGET = 256 << 20
"""Bytes of rows that are kept without being asked for."""
FILE_BUDGET = 4 << 30
"""Bytes of rows that are written to a file without being asked for."""
LARGEST_RECORD = 4 << 30
"""Bytes of rows, and of losses, that are kept at all."""


class Run(Record):
    """One run of a network, done when it is made.

    `start` is the state of a checkpoint after `done` iterations, `before` a first state that the YAML
    itself leads to; `show` are the iterations that are looked at, from 1.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        assembly: Callable[[int | None], Assembly],
        iterations: int | None = None,
        show: Iterable[int] | None = None,
        exact: bool = False,
        start: Mapping[str, Sequence[float]] | None = None,
        *,
        before: Mapping[str, Sequence[Any]] | None = None,
        done: int = 0,
        wish: Wish | None = None,
        evaluation: Evaluation | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        training = spec.training
        schedule = Schedule(training, assembly(None).parts.training, done)
        super().__init__(Engines(assembly, schedule, _numbers(spec, exact)))
        self.resumed = start is not None
        planned = iterations if iterations is not None else training.iterations
        self.asked = planned if planned is not None else (training.epochs or 1) * schedule.an_epoch
        stop = StopRule(training.stop, schedule)
        self.evaluation = evaluation
        self.count, self.stopped, self.interrupted, self.done = 0, None, False, False
        gradients = stop.gradient_below is not None
        self.recording = self._plan(show, wish or Wish(), gradients)
        if self.recording.every:
            self.engines.outline_of(self.recording, gradients)
        self.state = self._first_state(start or before or {})
        self.recorder, self.losses = Recorder(self.engines.numbers is FLOATS, len(self.recording.kept)), []
        states: Any = States()
        file: TraceFile | None = None
        if wish is not None and wish.file is not None:
            from bptrace.engine.trace_file import TraceFile

            file = TraceFile(wish.file, self, wish.network)
            self.recorder, self.losses, states = file.recorder, file.losses, file.states
        self.replay = Replay(self, self.recording.every, states)
        try:
            Loop(self, self.asked, stop, watcher).run()
            if file is not None:
                file.finish(self)
        except BaseException:
            if file is not None:
                file.abandon()
            raise

    def _plan(self, show: Iterable[int] | None, wish: Wish, gradients: bool) -> Recording:
        """The iterations that are kept, and how; refuses what no memory holds."""
        if wish.file is None and self.asked * LOSS_BYTES > LARGEST_RECORD:
            raise UsageError(
                f"{self.asked:,} iterations: their losses alone take {self.asked * LOSS_BYTES:,} bytes; "
                f"at most {LARGEST_RECORD:,}"
            )
        whole = self.engines.layout(self.schedule.size)
        wanted = None if show is None else sorted({i - 1 for i in show if 0 < i <= self.asked})
        lean = sum(node.size for node in lean_nodes(whole.assembly, gradients))
        budget = BUDGET if wish.file is None else FILE_BUDGET
        if wish.budget is not None:
            budget = wish.budget
        most = LARGEST_RECORD if wish.budget is None else wish.budget
        floats = self.engines.numbers is FLOATS
        return choose(wish, self.asked, wanted, whole, 8 * lean, budget=budget, most=most, floats=floats)

    def _first_state(self, start: Mapping[str, Sequence[Any]]) -> list[Any]:
        graph = self.whole.graph
        given = self.engines.numbers.given
        numbers = [x for leaf in state_leaves(graph) for x in start.get(leaf.id, graph.values[leaf])]
        return [given(x) if isinstance(x, float) else x for x in numbers] if given else numbers


def _numbers(spec: NetworkSpec, exact: bool) -> Numbers:
    rounding = spec.conventions.rounding
    if exact and rounding != "none":
        raise UsageError("--exact computes with fractions, conventions.rounding with decimals; leave out one")
    if exact:
        return exact_numbers()
    return FLOATS if rounding == "none" else paper_numbers(rounding)
