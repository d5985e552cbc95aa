"""What computes the iterations of a run: an engine for each size of batch, and what a row of it holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from bptrace.engine.exact import FormulaEngine
from bptrace.engine.layout import Layout, outline
from bptrace.engine.scalar import ScalarEngine, TooLongError, fits
from bptrace.engine.values import FLOATS, Numbers

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly
    from bptrace.engine.array import ArrayEngine
    from bptrace.engine.recording import Recording
    from bptrace.engine.schedule import Schedule


class Engine(Protocol):
    """Computes iterations of one graph."""

    name: str
    layout: Layout
    state: Sequence[Any]

    def run(self, batches: Sequence[Sequence[int]], chunk: Any, start: int, losses: list[float | None]) -> None: ...


class Engines:
    """The graphs and engines of one network, made when a batch of their size first comes.

    A row of `layout` holds every number of an iteration. `outline` is the layout of the rows that are
    recorded, where these hold less.
    """

    def __init__(self, assembly: Callable[[int | None], Assembly], schedule: Schedule, numbers: Numbers) -> None:
        self._assembly = assembly
        self.whole = assembly(None)
        self.schedule = schedule
        self.numbers = numbers
        self.layout = cache(lambda size: Layout(self.at(size)))
        self.outline: Callable[[int], Layout] | None = None
        self._engines: dict[tuple[int, bool], Engine] = {}
        self._helpers: dict[tuple[int, bool], ArrayEngine] = {}
        self._tables: dict[str, Any] = {}

    def at(self, size: int) -> Assembly:
        """The assembly for a batch size."""
        return self.whole if size == self.whole.samples else self._assembly(size)

    def outline_of(self, recording: Recording, gradients: bool) -> None:
        """Record less than everything, as `recording` says."""
        self.outline = cache(lambda size: outline(self.at(size), recording, gradients))

    def recorded(self, size: int) -> Layout:
        """What a recorded row holds for a batch size."""
        return self.outline(size) if self.outline is not None else self.layout(size)

    def recording(self, size: int) -> Engine:
        """What computes batches of `size` samples and records what is kept of them."""
        return self._engine(size, self.outline is None)

    def full(self, size: int) -> Engine:
        """What computes and records every number of batches of `size` samples."""
        return self._engine(size, True)

    def _engine(self, size: int, full: bool) -> Engine:
        if (size, full) not in self._engines:
            self._engines[size, full] = self._choose(size, full)
        return self._engines[size, full]

    def _choose(self, size: int, full: bool) -> Engine:
        layout = self.layout(size) if full else self.recorded(size)
        if self.numbers is not FLOATS:
            return FormulaEngine(layout, self.numbers)
        if fits(self.at(self.schedule.size)):
            try:
                return ScalarEngine(self.at(size), layout, self._constant, lambda: self._helper(size, full))
            except TooLongError:
                pass
        return self._helper(size, full)

    def _helper(self, size: int, full: bool) -> ArrayEngine:
        if (size, full) not in self._helpers:
            from bptrace.engine.array import ArrayEngine

            layout = self.layout(size) if full else self.recorded(size)
            self._helpers[size, full] = ArrayEngine(
                self.at(size), layout, self._constant, self._tables, None if full else self.layout(size)
            )
        return self._helpers[size, full]

    @property
    def _constant(self) -> Sequence[int] | None:
        """The rows of every batch, where all iterations read the same."""
        return self.schedule.batch(0) if self.schedule.constant else None

    @property
    def description(self) -> dict[str, Any]:
        """Which engine made the numbers."""
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
