"""The training loop: iterations in blocks, what is kept of them, and when to stop."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from math import isfinite
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Protocol

from bptrace.engine.exact import FormulaEngine, exact_numbers, paper_numbers
from bptrace.engine.layout import Layout, lean_nodes, needed_nodes, state_leaves
from bptrace.engine.recorder import Recorder
from bptrace.engine.recording import Recording, Wish, choose
from bptrace.engine.replay import OutlineValues, Replay, States
from bptrace.engine.rows import first_not_finite, suspicious
from bptrace.engine.scalar import ScalarEngine, TooLongError, fits
from bptrace.engine.schedule import Schedule
from bptrace.engine.stopping import StopRule
from bptrace.engine.values import FLOATS, Numbers, Values
from bptrace.errors import RunError, UsageError

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly
    from bptrace.engine.array import ArrayEngine
    from bptrace.engine.metrics import Evaluation
    from bptrace.engine.trace_file import TraceFile
    from bptrace.graph.node import Node
    from bptrace.spec.models import Network as NetworkSpec

BUDGET = 256 << 20
"""Bytes of rows that are kept without being asked for."""
FILE_BUDGET = 4 << 30
"""Bytes of rows that are written to a file without being asked for."""
LARGEST_RECORD = 4 << 30
"""Bytes of rows, and of losses, that are kept at all."""
LOSS_BYTES = 32
BLOCK = 4096
"""Iterations run at a time where nothing is kept."""
LARGE_ROW = 1 << 17
"""Numbers in a row above which it is searched for NaN only once the loss shows one."""


class Engine(Protocol):
    """Computes iterations of one graph."""

    name: str
    layout: Layout
    state: Sequence[Any]

    def run(self, batches: Sequence[Sequence[int]], chunk: Any, start: int, losses: list[float | None]) -> None: ...


class Watcher(Protocol):
    """Looks on while a run goes on."""

    block: int
    """The most iterations to run before it is asked again."""

    def after_block(self, done: int, planned: int, loss: float | None) -> bool:
        """What has been done; whether the run is to end now."""
        ...


class Run:
    """One run of a network; its attributes are what a `Trace` shows.

    Iterations count from 0 here, and from 1 everywhere outside of this package.
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
        done: int = 0,
        wish: Wish | None = None,
        evaluation: Evaluation | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        self.assembly = assembly
        self._start = start or {}
        self.resumed = start is not None
        self.whole = assembly(None)
        self.schedule = Schedule(spec.training, self.whole.parts.training, done)
        training = spec.training
        planned = iterations if iterations is not None else training.iterations
        self.planned = planned if planned is not None else (training.epochs or 1) * self.schedule.an_epoch
        self.asked = self.planned
        self.stop = StopRule(training.stop, self.schedule)
        self.evaluation = evaluation
        self.numbers = self._numbers(spec, exact)
        self.layout = cache(lambda size: Layout(self.at(size)))
        self.count = 0
        self.stopped: RunError | None = None
        self.interrupted = False
        self.done = False
        self._watcher = watcher
        self.recording = self._plan(show, wish or Wish())
        self.recorded_layout = cache(self._recorded_layout)
        self.recorder: Any = Recorder(self.numbers is FLOATS, len(self.recording.kept))
        self.losses: Any = []
        self._engines: dict[tuple[int, bool], Engine] = {}
        self._helpers: dict[tuple[int, bool], ArrayEngine] = {}
        self._tables: dict[str, Any] = {}
        self._pickers: dict[Any, Any] = {}
        self.state: Sequence[Any] = self._first_state()
        self.file: TraceFile | None = None
        states: Any = States()
        if wish is not None and wish.file is not None:
            from bptrace.engine.trace_file import TraceFile

            self.file = TraceFile(wish.file, self, wish.network)
            self.recorder, self.losses, states = self.file.recorder, self.file.losses, self.file.states
        self.replay = Replay(self, self.recording.every, states)
        try:
            self._go()
            if self.file is not None:
                self.file.finish(self)
        except BaseException:
            if self.file is not None:
                self.file.abandon()
            raise

    # what is planned

    def at(self, size: int) -> Assembly:
        """The assembly for a batch size."""
        return self.whole if size == self.whole.samples else self.assembly(size)

    def _numbers(self, spec: NetworkSpec, exact: bool) -> Numbers:
        rounding = spec.conventions.rounding
        if exact and rounding != "none":
            raise UsageError("--exact computes with fractions, conventions.rounding with decimals; leave out one")
        if exact:
            return exact_numbers()
        return FLOATS if rounding == "none" else paper_numbers(rounding)

    def _plan(self, show: Iterable[int] | None, wish: Wish) -> Recording:
        """The iterations that are kept, and how; refuses what no memory holds."""
        if wish.file is None and self.planned * LOSS_BYTES > LARGEST_RECORD:
            raise UsageError(
                f"{self.planned:,} iterations: their losses alone take {self.planned * LOSS_BYTES:,} bytes; "
                f"at most {LARGEST_RECORD:,}"
            )
        whole = self.layout(self.schedule.size)
        wanted = None if show is None else sorted({i - 1 for i in show if 0 < i <= self.planned})
        lean = sum(node.size for node in lean_nodes(whole.assembly, self.stop.gradient_below is not None))
        budget = BUDGET if wish.file is None else FILE_BUDGET
        if wish.budget is not None:
            budget = wish.budget
        most = LARGEST_RECORD if wish.budget is None else wish.budget
        return choose(
            wish, self.planned, wanted, whole, 8 * lean, budget=budget, most=most, floats=self.numbers is FLOATS
        )

    def _recorded_layout(self, size: int) -> Layout:
        """What a row holds for a batch size."""
        if not self.recording.every:
            return self.layout(size)
        assembly = self.at(size)
        kept = lean_nodes(assembly, self.stop.gradient_below is not None)
        loss = assembly.graph.loss
        if self.recording.policy == "replay" and loss in kept:
            activations = lean_nodes(assembly, False) - {loss}
            kept -= activations
        return Layout(assembly, needed_nodes(assembly.graph, kept), kept)

    def _first_state(self) -> list[Any]:
        graph = self.whole.graph
        given = self.numbers.given
        numbers = [x for leaf in state_leaves(graph) for x in self._start.get(leaf.id, graph.values[leaf])]
        return [given(x) for x in numbers] if given else numbers

    def engine(self, size: int) -> Engine:
        """What computes batches of `size` samples and records what is kept of them."""
        return self._engine(size, not self.recording.every)

    def full_engine(self, size: int) -> Engine:
        """What computes and records every number of batches of `size` samples."""
        return self._engine(size, True)

    def _engine(self, size: int, full: bool) -> Engine:
        if (size, full) not in self._engines:
            self._engines[size, full] = self._choose(size, full)
        return self._engines[size, full]

    def _choose(self, size: int, full: bool) -> Engine:
        layout = self.layout(size) if full else self.recorded_layout(size)
        if self.numbers is not FLOATS:
            return FormulaEngine(layout, self.numbers)
        constant = self.schedule.batch(0) if self.schedule.constant else None
        if fits(self.at(self.schedule.size)):
            try:
                return ScalarEngine(self.at(size), layout, constant, lambda: self._helper(size, full))
            except TooLongError:
                pass
        return self._helper(size, full)

    def _helper(self, size: int, full: bool) -> ArrayEngine:
        if (size, full) not in self._helpers:
            from bptrace.engine.array import ArrayEngine

            constant = self.schedule.batch(0) if self.schedule.constant else None
            layout = self.layout(size) if full else self.recorded_layout(size)
            self._helpers[size, full] = ArrayEngine(self.at(size), layout, constant, self._tables)
        return self._helpers[size, full]

    # the loop

    def _go(self) -> None:
        engine: Engine | None = None
        while self.count < self.planned and self.stopped is None:
            size = self.schedule.batch_size(self.count)
            following = self.engine(size)
            if following is not engine:
                following.state = self.state if engine is None else engine.state
                engine = following
            kept, wanted = self._ahead()
            if self.recording.every:
                self._outline(engine, size, wanted)
            elif kept:
                self._record(engine, size, wanted)
            else:
                self._pass_over(engine, size, wanted)
            if self._ends_here(engine):
                break
            if self._watcher is not None and self.count < self.planned:
                loss = self.losses[-1]
                if self._watcher.after_block(self.count, self.planned, loss):
                    self._end_soon()
        last = self.count - 1
        if engine is not None and self.stopped is None:
            self.state = engine.state
        self.done = True
        if not self.recording.every and self.recorder.row(last) is not None:
            self.recorder.after.setdefault(last, self.state)
            if self.stopped is None and self.numbers is FLOATS and not _finite(self.state):
                self._blame(last)

    def _end_soon(self) -> None:
        """Interrupted: end here if the last iteration is kept, else after one more, which is."""
        self.interrupted = True
        if self._wanted(self.count - 1):
            self.planned = self.count
            return
        self.planned = self.count + 1
        kept = [k for k in self.recording.kept if k < self.count]
        self.recording = Recording(self.recording.policy, [*kept, self.count], self.recording.every)

    def _ends_here(self, engine: Engine) -> bool:
        """What is done at the end of an epoch; whether the run ends with it."""
        last = self.count - 1
        if self.stopped is not None or not self.schedule.last_of_epoch(last):
            return False
        validation: float | None = None
        if self.evaluation is not None:
            validation = self.evaluation.after_epoch(self.schedule.epoch(last), last, engine.state)
        if not self.stop.active:
            return False
        enough = self.stop.enough(last, self.losses, lambda: self.values(last), validation)
        if not enough and not self._wanted(last) and self.count < self.planned:
            self.recorder.drop(1)  # it was only kept because the run might have ended with it
            self.recorder.after.pop(last, None)
        return enough

    def _wanted(self, iteration: int) -> bool:
        kept = self.recording.kept
        k = bisect_left(kept, iteration)
        return k < len(kept) and kept[k] == iteration

    def _ahead(self) -> tuple[bool, int]:
        """Whether the next iterations are kept, and how many of them are alike and can run at once."""
        here, all_kept = self.count, self.recording.kept
        wanted = min(self.planned - here, self.schedule.alike(here))
        if self._watcher is not None:
            wanted = min(wanted, self._watcher.block)
        left = self.schedule.left_of_epoch(here)
        if self.stop.active:
            if left == 1:
                return True, 1  # the run may end here, and its last iteration is kept
            wanted = min(wanted, left - 1)
        elif self.evaluation is not None:
            wanted = min(wanted, left)
        kept = self._wanted(here)
        if isinstance(all_kept, range):
            return kept, wanted
        k = bisect_left(all_kept, here)
        if not kept:
            return False, min(wanted, BLOCK, all_kept[k] - here if k < len(all_kept) else wanted)
        together = 1
        while together < wanted and k + together < len(all_kept) and all_kept[k + together] == here + together:
            together += 1
        return True, together

    def _run_block(self, engine: Engine, size: int, wanted: int) -> tuple[Any, int, int]:
        """Run and keep up to `wanted` iterations, as many as the memory at hand has room for."""
        here = self.count
        store = self.recorder.store(size, engine.layout.row)
        chunk, start, count = store.reserve(wanted)
        found: list[float | None] = []
        engine.run(self.schedule.batches(here, count), chunk, start, found)
        self.recorder.add(here, count, size)
        self.losses.extend(found)
        self.count += count
        return chunk, start, count

    def _record(self, engine: Engine, size: int, wanted: int) -> None:
        """Run iterations and keep every number of them."""
        here = self.count
        chunk, start, count = self._run_block(engine, size, wanted)
        if self.numbers is FLOATS:
            bad = self._first_bad(engine, chunk, start, count)
            if bad is not None:
                self._stop_at(engine, here + bad, count - 1 - bad, chunk, start + (bad + 1) * engine.layout.size)
                return
        if self.count < self.planned and not self._wanted(self.count):
            self.recorder.after[self.count - 1] = engine.state

    def _first_bad(self, engine: Engine, chunk: Any, start: int, count: int) -> int | None:
        """The first of `count` iterations just recorded that holds a NaN or an infinity, or leaves one
        behind; -1 for the one before.

        The rows of a large network are searched only once a loss is none: the search would cost
        more than it finds, since NaN in a gradient is in the next loss.
        """
        layout = engine.layout
        size, checked, state = layout.size, layout.checked, layout.state_size
        if size > LARGE_ROW:
            if _finite(loss for loss in self.losses[-count:] if loss is not None):
                return None
        elif not suspicious(chunk, start, start + count * size) and _finite(engine.state):
            return None
        for k in range(count):
            row = chunk[start + k * size : start + k * size + checked]
            if first_not_finite(row[:state]) is not None and self.recorder.row(self.count - count + k - 1) is not None:
                return k - 1
            if first_not_finite(row) is not None:
                return k
        return count - 1 if first_not_finite(engine.state) is not None else None

    def _stop_at(self, engine: Engine, iteration: int, later: int, chunk: Any, start: int) -> None:
        """End the run with `iteration`, which went wrong. The `later` ones that were run with it are
        dropped; the row of the first of them begins at `start`."""
        self.state = engine.state
        if later:
            self.state = list(chunk[start : start + engine.layout.state_size])
            self.recorder.drop(later)
            del self.losses[-later:]
        self.count = iteration + 1
        self.recorder.after[iteration] = self.state
        self._blame(iteration)

    def _blame(self, iteration: int) -> None:
        from bptrace.engine.blame import not_finite

        self.stopped = not_finite(self.values(iteration), iteration + 1)

    def _pass_over(self, engine: Engine, size: int, wanted: int) -> None:
        """Run iterations that are not kept; where numbers go wrong, again one by one to find the first."""
        before = engine.state
        here = self.count
        engine.run(self.schedule.batches(here, wanted), None, 0, self.losses)
        self.count += wanted
        if self.numbers is not FLOATS:
            return
        if _finite(loss for loss in self.losses[here:] if loss is not None) and _finite(engine.state):
            return
        self.count = here
        del self.losses[here:]
        engine.state = before
        while self.count < here + wanted:
            self._record(engine, size, 1)
            if self.stopped is not None:
                return
            self.recorder.drop(1)
            self.recorder.after.pop(self.count - 1, None)

    def _outline(self, engine: Engine, size: int, wanted: int) -> None:
        """Run iterations and keep the outline of each, and the state where one is due."""
        here, every = self.count, self.recording.every
        before = engine.state
        if here % every == 0:
            self.replay.states.append(before)
        chunk, start, count = self._run_block(engine, size, min(wanted, every - here % every))
        row = engine.layout.row
        if count * row > LARGE_ROW:
            suspect = not _finite(loss for loss in self.losses[here:] if loss is not None)
        else:
            suspect = suspicious(chunk, start, start + count * row)
        # NaN in a gradient is in the next loss, so the state is looked at where it is small, or at the end
        small = engine.layout.state_size <= count * LOSS_BYTES or self.count == self.planned
        if suspect or (small and not _finite(engine.state)):
            self._find_bad(before, here, count, size)

    def _find_bad(self, state: Sequence[float], here: int, count: int, size: int) -> None:
        """Run a block again one by one; the first iteration that is none, or leaves none behind, ends the run."""
        engine = self.full_engine(size)
        engine.state = state
        row = memoryview(bytearray(8 * max(1, engine.layout.size))).cast("d")
        for k in range(count):
            engine.run([self.schedule.batch(here + k)], row, 0, [])
            if first_not_finite(row[: engine.layout.checked]) is None and _finite(engine.state):
                continue
            self.state = engine.state
            later = count - 1 - k
            if later:
                self.recorder.drop(later)
                del self.losses[-later:]
            self.count = here + k + 1
            self._blame(here + k)
            return

    # what is asked of a finished run

    def values(self, iteration: int) -> Values:
        """The numbers of a kept iteration; raises KeyError for others."""
        row = self.recorder.row(iteration) if iteration < self.count else None
        if row is None:
            raise KeyError(iteration)
        size, batch = self.schedule.batch_size(iteration), self.schedule.batch(iteration)
        if self.recording.every:
            layout = self.recorded_layout(size)
            return OutlineValues(layout, batch, row[: layout.row], lambda: self.replay.values(iteration))
        layout = self.layout(size)
        after = self.recorder.after.get(iteration)
        if after is None:
            following = self.recorder.row(iteration + 1)
            after = following[: layout.state_size] if following is not None else None
        if after is None and iteration == self.count - 1:
            after = self.state
        return Values(layout, batch, row[: layout.size], after, self.numbers)

    def picked(self, nodes: Sequence[Node], iteration: int) -> Sequence[float] | None:
        """The numbers of some nodes of a kept iteration, where its row and the next one's state hold
        them all: much quicker than one by one."""
        row = self.recorder.row(iteration) if not self.recording.every and self.numbers is FLOATS else None
        if row is None or iteration >= self.count:
            return None
        size = self.schedule.batch_size(iteration)
        key = (size, tuple(nodes))
        if key not in self._pickers:
            self._pickers[key] = _picker(self.layout(size), nodes)
        pick = self._pickers[key]
        if pick is None:
            return None
        after = self.recorder.after.get(iteration)
        if after is None:
            following = self.recorder.row(iteration + 1)
            if following is None:
                return None
            after = following[: self.layout(size).state_size]
        return pick([*row, *after])  # type: ignore[no-any-return]

    def final_values(self) -> Values:
        """One more forward pass over all data, with the parameters after the last update."""
        from bptrace.engine.final import final_values

        return final_values(self.whole, self.state, self.numbers, self._by_formulas)

    def final_parameters(self, assembly: Assembly) -> Values:
        """The state after the last update, for the nodes of any of this network's graphs."""
        return Values(Layout(assembly), range(assembly.samples), self.state, numbers=self.numbers)

    @property
    def _by_formulas(self) -> bool:
        return not any(engine.name == "array" for engine in self._engines.values())

    @property
    def description(self) -> dict[str, Any]:
        """Which engine made the numbers, and which are kept, for the trace's heading."""
        engines = list(self._engines.values())
        found: dict[str, Any] = {"name": engines[0].name, "dtype": self.numbers.name}
        handed_over = 0
        for engine in engines:
            handed_over += getattr(engine, "handed_over", 0)
        if handed_over:
            found["handed_over"] = handed_over
        if self._helpers:
            import numpy

            found["numpy"] = numpy.__version__
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


def _finite(numbers: Iterable[float]) -> bool:
    return all(map(isfinite, numbers))
