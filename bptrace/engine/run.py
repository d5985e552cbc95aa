"""The training loop: iterations in blocks, what is kept of them, and when to stop."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from math import isfinite
from typing import TYPE_CHECKING, Any, Protocol

from bptrace.engine.exact import FormulaEngine, exact_numbers, paper_numbers
from bptrace.engine.layout import Layout, state_leaves
from bptrace.engine.recorder import Recorder
from bptrace.engine.rows import first_not_finite, suspicious
from bptrace.engine.scalar import ScalarEngine, TooLongError, fits
from bptrace.engine.schedule import Schedule
from bptrace.engine.stopping import StopRule
from bptrace.engine.values import FLOATS, Numbers, Values
from bptrace.errors import RunError, UsageError

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly
    from bptrace.engine.array import ArrayEngine
    from bptrace.spec.models import Network as NetworkSpec

BUDGET = 256 << 20
"""Bytes of rows that are kept without being asked for."""
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


class Run:
    """One run of a network; its attributes are what a `Trace` shows.

    Iterations count from 0 here, and from 1 everywhere outside of this package.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        assembly: Callable[[int | None], Assembly],
        iterations: int | None,
        show: Iterable[int] | None,
        exact: bool,
        start: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        self.assembly = assembly
        self._start = start or {}
        self.resumed = start is not None
        self.whole = assembly(None)
        self.schedule = Schedule(spec.training, self.whole.samples)
        training = spec.training
        planned = iterations if iterations is not None else training.iterations
        self.planned = planned if planned is not None else (training.epochs or 1) * self.schedule.an_epoch
        self.stop = StopRule(training.stop, self.schedule)
        self.numbers = self._numbers(spec, exact)
        self.layout = cache(lambda size: Layout(self.at(size)))
        self.losses: list[float | None] = []
        self.count = 0
        self.stopped: RunError | None = None
        self._kept = self._plan_kept(show)
        self.recorder = Recorder(self.numbers is FLOATS, len(self._kept))
        self._engines: dict[int, Engine] = {}
        self._helpers: dict[int, ArrayEngine] = {}
        self.state: Sequence[Any] = self._first_state()
        self._go()

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

    def _plan_kept(self, show: Iterable[int] | None) -> Sequence[int]:
        """The iterations whose rows are kept, in order; refuses what no memory holds."""
        if self.planned * LOSS_BYTES > LARGEST_RECORD:
            raise UsageError(
                f"{self.planned:,} iterations: their losses alone take {self.planned * LOSS_BYTES:,} bytes; "
                f"at most {LARGEST_RECORD:,}"
            )
        row = self.layout(self.schedule.size).bytes
        if show is None:
            return range(self.planned) if self.planned * row <= BUDGET else sorted({0, self.planned - 1})
        kept = sorted({i - 1 for i in show if 0 < i <= self.planned})
        if len(kept) * row > LARGEST_RECORD:
            raise UsageError(
                f"{len(kept):,} iterations of {row:,} bytes each are {len(kept) * row:,} bytes to keep; "
                f"at most {LARGEST_RECORD:,}; show fewer iterations"
            )
        return kept

    def _first_state(self) -> list[Any]:
        graph = self.whole.graph
        given = self.numbers.given
        numbers = [x for leaf in state_leaves(graph) for x in self._start.get(leaf.id, graph.values[leaf])]
        return [given(x) for x in numbers] if given else numbers

    def engine(self, size: int) -> Engine:
        """What computes batches of `size` samples."""
        if size not in self._engines:
            self._engines[size] = self._choose(size)
        return self._engines[size]

    def _choose(self, size: int) -> Engine:
        layout = self.layout(size)
        if self.numbers is not FLOATS:
            return FormulaEngine(layout, self.numbers)
        constant = self.schedule.batch(0) if self.schedule.constant else None
        if fits(self.at(self.schedule.size)):
            try:
                return ScalarEngine(self.at(size), layout, constant, lambda: self._helper(size))
            except TooLongError:
                pass
        return self._helper(size)

    def _helper(self, size: int) -> ArrayEngine:
        if size not in self._helpers:
            from bptrace.engine.array import ArrayEngine

            constant = self.schedule.batch(0) if self.schedule.constant else None
            self._helpers[size] = ArrayEngine(self.at(size), self.layout(size), constant)
        return self._helpers[size]

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
            if kept:
                self._record(engine, size, wanted)
            else:
                self._pass_over(engine, size, wanted)
            if self._ends_here():
                break
        last = self.count - 1
        if engine is not None and self.stopped is None:
            self.state = engine.state
        if self.recorder.find(last):
            self.recorder.after.setdefault(last, self.state)
            if self.stopped is None and self.numbers is FLOATS and not _finite(self.state):
                self._blame(last)

    def _ends_here(self) -> bool:
        if not self.stop.active or self.stopped is not None or not self.schedule.last_of_epoch(self.count - 1):
            return False
        last = self.count - 1
        enough = self.stop.enough(last, self.losses, self.values(last))
        if not enough and not self._wanted(last) and self.count < self.planned:
            self.recorder.drop(1)  # it was only kept because the run might have ended with it
            self.recorder.after.pop(last, None)
        return enough

    def _wanted(self, iteration: int) -> bool:
        k = bisect_left(self._kept, iteration)
        return k < len(self._kept) and self._kept[k] == iteration

    def _ahead(self) -> tuple[bool, int]:
        """Whether the next iterations are kept, and how many of them are alike and can run at once."""
        here = self.count
        wanted = min(self.planned - here, self.schedule.alike(here))
        if self.stop.active:
            left = self.schedule.an_epoch - here % self.schedule.an_epoch
            if left == 1:
                return True, 1  # the run may end here, and its last iteration is kept
            wanted = min(wanted, left - 1)
        kept = self._wanted(here)
        if isinstance(self._kept, range):
            return kept, wanted
        k = bisect_left(self._kept, here)
        if not kept:
            return False, min(wanted, BLOCK, self._kept[k] - here if k < len(self._kept) else wanted)
        together = 1
        while together < wanted and k + together < len(self._kept) and self._kept[k + together] == here + together:
            together += 1
        return True, together

    def _record(self, engine: Engine, size: int, wanted: int) -> None:
        """Run and keep up to `wanted` iterations, as many as the memory at hand has room for."""
        here, layout = self.count, engine.layout
        store = self.recorder.store(size, layout.size)
        chunk, start, count = store.reserve(wanted)
        engine.run(self.schedule.batches(here, count), chunk, start, self.losses)
        self.recorder.add(here, count, size)
        self.count += count
        if self.numbers is FLOATS:
            bad = self._first_bad(engine, chunk, start, count)
            if bad is not None:
                self._stop_at(engine, here + bad, count - 1 - bad, chunk, start + (bad + 1) * layout.size)
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
            if first_not_finite(row[:state]) is not None and self.recorder.find(self.count - count + k - 1):
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

    # what is asked of a finished run

    def values(self, iteration: int) -> Values:
        """The numbers of a kept iteration; raises KeyError for others."""
        found = self.recorder.find(iteration)
        if found is None:
            raise KeyError(iteration)
        size, row = found
        layout = self.layout(size)
        after = self.recorder.after.get(iteration)
        if after is None:
            following = self.recorder.find(iteration + 1)
            after = following[1][: layout.state_size] if following else None
        return Values(layout, self.schedule.batch(iteration), row, after, self.numbers)

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
        """Which engine made the numbers, for the trace's heading."""
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
        return found


def _finite(numbers: Iterable[float]) -> bool:
    return all(map(isfinite, numbers))
