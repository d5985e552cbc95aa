"""The training loop: iterations in blocks, what is kept of them, and when it ends."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, Protocol

from bptrace.engine.recording import Recording
from bptrace.engine.rows import first_not_finite, suspicious
from bptrace.engine.values import FLOATS

if TYPE_CHECKING:
    from bptrace.engine.engines import Engine
    from bptrace.engine.record import Record
    from bptrace.engine.stopping import StopRule

LOSS_BYTES = 32
BLOCK = 4096
"""Iterations run at a time where nothing is kept."""
LARGE_ROW = 1 << 17
"""Numbers in a row above which it is searched for NaN only once the loss shows one."""


class Watcher(Protocol):
    """Looks on while a run goes on."""

    block: int
    """The most iterations to run before it is asked again."""

    def after_block(self, done: int, planned: int, loss: float | None) -> bool:
        """What has been done; whether the run is to end now."""
        ...


class Loop:
    """Runs the iterations of a record that is still to be filled, up to `planned` of them."""

    def __init__(self, record: Record, planned: int, stop: StopRule, watcher: Watcher | None) -> None:
        self.record = record
        self.planned = planned
        self._stop = stop
        self._watcher = watcher
        self._engines = record.engines
        self._schedule = record.schedule
        self._floats = record.engines.numbers is FLOATS

    def run(self) -> None:
        """Fill the record; it says how the run ended."""
        record = self.record
        engine: Engine | None = None
        while record.count < self.planned and record.stopped is None:
            size = self._schedule.batch_size(record.count)
            following = self._engines.recording(size)
            if following is not engine:
                following.state = record.state if engine is None else engine.state
                engine = following
            kept, wanted = self._ahead()
            if record.recording.every:
                self._outline(engine, size, wanted)
            elif kept:
                self._record(engine, size, wanted)
            else:
                self._pass_over(engine, size, wanted)
            if self._ends_here(engine):
                break
            if self._watcher is not None and record.count < self.planned:
                loss = record.losses[-1]
                if self._watcher.after_block(record.count, self.planned, loss):
                    self._end_soon()
        last = record.count - 1
        if engine is not None and record.stopped is None:
            record.state = engine.state
        record.done = True
        if not record.recording.every and record.recorder.row(last) is not None:
            record.recorder.after.setdefault(last, record.state)
            if record.stopped is None and self._floats and not _finite(record.state):
                self._blame(last)

    def _end_soon(self) -> None:
        """Interrupted: end here if the last iteration is kept, else after one more, which is."""
        record = self.record
        record.interrupted = True
        if self._wanted(record.count - 1):
            self.planned = record.count
            return
        self.planned = record.count + 1
        kept = [k for k in record.recording.kept if k < record.count]
        record.recording = Recording(record.recording.policy, [*kept, record.count], record.recording.every)

    def _ends_here(self, engine: Engine) -> bool:
        """What is done at the end of an epoch; whether the run ends with it."""
        record = self.record
        last = record.count - 1
        if record.stopped is not None or not self._schedule.last_of_epoch(last):
            return False
        validation: float | None = None
        if record.evaluation is not None:
            validation = record.evaluation.after_epoch(self._schedule.epoch(last), last, engine.state)
        if not self._stop.active:
            return False
        enough = self._stop.enough(last, record.losses, lambda: record.values(last), validation)
        if not enough and not self._wanted(last) and record.count < self.planned:
            record.recorder.drop(1)  # it was only kept because the run might have ended with it
            record.recorder.after.pop(last, None)
        return enough

    def _wanted(self, iteration: int) -> bool:
        record = self.record
        kept = record.recording.kept
        k = bisect_left(kept, iteration)
        return k < len(kept) and kept[k] == iteration

    def _ahead(self) -> tuple[bool, int]:
        """Whether the next iterations are kept, and how many of them are alike and can run at once."""
        record = self.record
        here, all_kept = record.count, record.recording.kept
        wanted = min(self.planned - here, self._schedule.alike(here))
        if self._watcher is not None:
            wanted = min(wanted, self._watcher.block)
        left = self._schedule.left_of_epoch(here)
        if self._stop.active:
            if left == 1:
                return True, 1  # the run may end here, and its last iteration is kept
            wanted = min(wanted, left - 1)
        elif record.evaluation is not None:
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
        record = self.record
        here = record.count
        store = record.recorder.store(size, engine.layout.row)
        chunk, start, count = store.reserve(wanted)
        found: list[float | None] = []
        engine.run(self._schedule.batches(here, count), chunk, start, found)
        record.recorder.add(here, count, size)
        record.losses.extend(found)
        record.count += count
        return chunk, start, count

    def _record(self, engine: Engine, size: int, wanted: int) -> None:
        """Run iterations and keep every number of them."""
        record = self.record
        here = record.count
        chunk, start, count = self._run_block(engine, size, wanted)
        if self._floats:
            bad = self._first_bad(engine, chunk, start, count)
            if bad is not None:
                self._stop_at(engine, here + bad, count - 1 - bad, chunk, start + (bad + 1) * engine.layout.size)
                return
        if record.count < self.planned and not self._wanted(record.count):
            record.recorder.after[record.count - 1] = engine.state

    def _first_bad(self, engine: Engine, chunk: Any, start: int, count: int) -> int | None:
        """The first of `count` iterations just recorded that holds a NaN or an infinity, or leaves one
        behind; -1 for the one before.

        The rows of a large network are searched only once a loss is none: the search would cost
        more than it finds, since NaN in a gradient is in the next loss.
        """
        record = self.record
        layout = engine.layout
        size, checked, state = layout.size, layout.checked, layout.state_size
        if size > LARGE_ROW:
            if _finite(loss for loss in record.losses[-count:] if loss is not None):
                return None
        elif not suspicious(chunk, start, start + count * size) and _finite(engine.state):
            return None
        for k in range(count):
            row = chunk[start + k * size : start + k * size + checked]
            before = record.recorder.row(record.count - count + k - 1)
            if first_not_finite(row[:state]) is not None and before is not None:
                return k - 1
            if first_not_finite(row) is not None:
                return k
        return count - 1 if first_not_finite(engine.state) is not None else None

    def _stop_at(self, engine: Engine, iteration: int, later: int, chunk: Any, start: int) -> None:
        """End the run with `iteration`, which went wrong. The `later` ones that were run with it are
        dropped; the row of the first of them begins at `start`."""
        record = self.record
        record.state = engine.state
        if later:
            record.state = list(chunk[start : start + engine.layout.state_size])
            record.recorder.drop(later)
            del record.losses[-later:]
        record.count = iteration + 1
        record.recorder.after[iteration] = record.state
        self._blame(iteration)

    def _blame(self, iteration: int) -> None:
        record = self.record
        from bptrace.engine.blame import not_finite

        record.stopped = not_finite(record.values(iteration), iteration + 1)

    def _pass_over(self, engine: Engine, size: int, wanted: int) -> None:
        """Run iterations that are not kept; where numbers go wrong, again one by one to find the first."""
        record = self.record
        before = engine.state
        here = record.count
        engine.run(self._schedule.batches(here, wanted), None, 0, record.losses)
        record.count += wanted
        if not self._floats:
            return
        if _finite(loss for loss in record.losses[here:] if loss is not None) and _finite(engine.state):
            return
        record.count = here
        del record.losses[here:]
        engine.state = before
        while record.count < here + wanted:
            self._record(engine, size, 1)
            if record.stopped is not None:
                return
            record.recorder.drop(1)
            record.recorder.after.pop(record.count - 1, None)

    def _outline(self, engine: Engine, size: int, wanted: int) -> None:
        """Run iterations and keep the outline of each, and the state where one is due."""
        record = self.record
        here, every = record.count, record.recording.every
        before = engine.state
        if here % every == 0:
            record.replay.states.append(before)
        chunk, start, count = self._run_block(engine, size, min(wanted, every - here % every))
        row = engine.layout.row
        if count * row > LARGE_ROW:
            suspect = not _finite(loss for loss in record.losses[here:] if loss is not None)
        else:
            suspect = suspicious(chunk, start, start + count * row)
        # NaN in a gradient is in the next loss, so the state is looked at where it is small, or at the end
        small = engine.layout.state_size <= count * LOSS_BYTES or record.count == self.planned
        if suspect or (small and not _finite(engine.state)):
            self._find_bad(before, here, count, size)

    def _find_bad(self, state: Sequence[float], here: int, count: int, size: int) -> None:
        """Run a block again one by one; the first iteration that is none, or leaves none behind, ends the run."""
        record = self.record
        engine = self._engines.full(size)
        engine.state = state
        row = memoryview(bytearray(8 * max(1, engine.layout.size))).cast("d")
        for k in range(count):
            engine.run([self._schedule.batch(here + k)], row, 0, [])
            if first_not_finite(row[: engine.layout.checked]) is None and _finite(engine.state):
                continue
            record.state = engine.state
            later = count - 1 - k
            if later:
                record.recorder.drop(later)
                del record.losses[-later:]
            record.count = here + k + 1
            self._blame(here + k)
            return


def _finite(numbers: Iterable[float]) -> bool:
    return all(map(isfinite, numbers))
