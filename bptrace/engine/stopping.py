"""When a run ends before its last epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bptrace.engine.schedule import Schedule
    from bptrace.engine.values import Values
    from bptrace.spec.models import Stop


class StopRule:
    """The stop conditions, asked at the end of each epoch.

    The loss of an epoch is the mean of its batches' losses, each weighted by its samples; the
    gradient is the one of the epoch's last iteration. `patience` counts epochs in a row whose loss is
    not below the lowest one so far; where rows are held out for validation it is their loss.
    """

    def __init__(self, stop: Stop, schedule: Schedule) -> None:
        self.loss_below = stop.loss_below
        self.gradient_below = stop.gradient_below
        self.patience = stop.patience
        self._schedule = schedule
        self._best: float | None = None
        self._waited = 0

    @property
    def active(self) -> bool:
        return any(limit is not None for limit in (self.loss_below, self.gradient_below, self.patience))

    def enough(
        self, last: int, losses: Sequence[float | None], values: Callable[[], Values], validation: float | None = None
    ) -> bool:
        """Whether a condition holds after the epoch that iteration `last` (from 0) ends."""
        loss = self._epoch_loss(last, losses)
        if self.gradient_below is not None and gradient_norm(values()) < self.gradient_below:
            return True
        if loss is None:
            return False
        if self.loss_below is not None and loss < self.loss_below:
            return True
        watched = loss if validation is None else validation
        if self._best is None or watched < self._best:
            self._best, self._waited = watched, 0
        else:
            self._waited += 1
        return self.patience is not None and self._waited >= self.patience

    def _epoch_loss(self, last: int, losses: Sequence[float | None]) -> float | None:
        total, count = 0.0, 0
        for k in range(max(0, last + 1 - self._schedule.an_epoch), last + 1):
            loss = losses[k]
            if loss is None:
                return None
            total += loss * self._schedule.batch_size(k)
            count += self._schedule.batch_size(k)
        return total / count


def gradient_norm(values: Values) -> float:
    """The root of the sum of the squares of all gradients by trained parameters."""
    assembly, total = values.assembly, 0.0
    for node in assembly.trainable:
        gradient = assembly.graph.by_id.get(f"grad.{node.id}")
        for x in values.flat(gradient) if gradient is not None else ():
            total += float(x) * float(x)
    return sqrt(total)
