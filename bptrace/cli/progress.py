"""What happens while a long run goes on: a bar on the terminal, and Ctrl-C that keeps what was done."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from time import monotonic
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress

SHORTEST = 1.0
"""Seconds after which a run is long enough for a bar."""
REFRESH = 0.1
"""Seconds between two looks at the terminal: what a block of iterations is to take at most."""


class Watch:
    """Looks on while a run goes on; `block` is how many iterations run before it is asked.

    Interrupted once, the run ends after its block and what was done is kept; a second time ends all.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.block = 16
        self._shown = not quiet and sys.stderr.isatty()
        self._began = self._last = monotonic()
        self._last_done = 0
        self._interrupted = False
        self._bar: Progress | None = None
        self._before: dict[int, Any] = {}

    def after_block(self, done: int, planned: int, loss: float | None) -> bool:
        """Set the size of the next block by the time of this one; show where the run is."""
        now = monotonic()
        took, self._last = now - self._last, now
        if took < REFRESH / 2 and done - self._last_done >= self.block:
            self.block *= 2
        elif took > 2 * REFRESH:
            self.block = max(1, self.block // 2)
        self._last_done = done
        if self._shown and now - self._began > SHORTEST:
            self._show(done, planned, loss, done / (now - self._began))
        return self._interrupted

    def _show(self, done: int, planned: int, loss: float | None, rate: float) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            said = TextColumn("{task.fields[said]}", markup=False)
            self._bar = Progress(
                said, BarColumn(), TimeRemainingColumn(),
                console=Console(stderr=True), transient=True, auto_refresh=False,
            )  # fmt: skip
            self._bar.add_task("", total=planned, said="")
            self._bar.start()
        words = [f"iteration {done:,} of {planned:,}"]
        if loss is not None:
            words.append(f"loss {loss:.6g}")
        words.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s")
        self._bar.update(self._bar.task_ids[0], completed=done, said="   ".join(words), refresh=True)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True

    def __enter__(self) -> Watch:
        with suppress(ValueError):  # only the main thread is told of signals
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        for number, handler in self._before.items():
            signal.signal(number, handler)
