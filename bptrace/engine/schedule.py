"""Which samples each iteration reads."""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bptrace.spec.models import Training

ORDERS_HELD = 8
"""Orders of epochs that are held; others are drawn again."""
SNAPSHOTS = 32
"""States of the random numbers that are held, to draw from."""


class Schedule:
    """The batches of a run, worked out when asked for; iterations and samples count from 0 here.

    `rows` are the samples that are trained on, read in batches of `size`, the last one of an epoch being
    smaller where they do not divide. With `shuffle` each epoch starts from the given order and, for i from count - 1
    down to 1, swaps places i and floor(r·(i + 1)), where r is the next `random()` of
    `random.Random(seed)`: stated here so that any program can repeat it. A run that goes
    on after `done` iterations of another reads the batches that come next.
    """

    def __init__(self, training: Training, rows: Sequence[int], done: int = 0) -> None:
        self._done = done
        self.rows = rows
        self.count = count = len(rows)
        self.size = count if training.batch_size == "all" else min(training.batch_size, count)
        self.an_epoch = -(-count // self.size)
        self.shuffled = training.order == "shuffle"
        self._random = random.Random(training.seed)
        self._next = 0
        self._orders: dict[int, Sequence[int]] = {}
        self._snapshots: dict[int, object] = {}
        self._spacing = 1
        self._given: list[Sequence[int]] = [
            rows[start : start + self.size] for start in range(0, count, self.size)
        ]

    @property
    def constant(self) -> bool:
        """Whether every iteration reads the same batch."""
        return self.an_epoch == 1 and not self.shuffled

    def epoch(self, iteration: int) -> int:
        return (iteration + self._done) // self.an_epoch

    def batch(self, iteration: int) -> Sequence[int]:
        """The samples of an iteration."""
        epoch, place = divmod(iteration + self._done, self.an_epoch)
        if not self.shuffled:
            return self._given[place]
        start = place * self.size
        return self._order(epoch)[start : start + self.size]

    def batches(self, iteration: int, count: int) -> list[Sequence[int]]:
        """The samples of `count` iterations from this one on."""
        if self.shuffled:
            return [self.batch(iteration + k) for k in range(count)]
        place = self._place(iteration)
        return (self._given * (1 + (place + count) // self.an_epoch))[place : place + count]

    def batch_size(self, iteration: int) -> int:
        return len(self._given[self._place(iteration)])

    def alike(self, iteration: int) -> int:
        """How many iterations from this one on have a batch of the same size."""
        if self.count % self.size == 0:
            return 1 << 62
        place = self._place(iteration)
        return 1 if place == self.an_epoch - 1 else self.an_epoch - 1 - place

    def last_of_epoch(self, iteration: int) -> bool:
        return self.left_of_epoch(iteration) == 1

    def left_of_epoch(self, iteration: int) -> int:
        """How many iterations the epoch has from this one on, itself included."""
        return self.an_epoch - self._place(iteration)

    def _place(self, iteration: int) -> int:
        return (iteration + self._done) % self.an_epoch

    @property
    def done(self) -> int:
        """The iterations before this run."""
        return self._done

    def _order(self, epoch: int) -> Sequence[int]:
        if epoch in self._orders:
            return self._orders[epoch]
        if epoch < self._next:  # drawn and forgotten: from the last state before it
            self._next = max(k for k in self._snapshots if k <= epoch)
            self._random.setstate(self._snapshots[self._next])  # type: ignore[arg-type]
        while self._next <= epoch:
            order = self._draw()
        return order

    def _draw(self) -> Sequence[int]:
        """The next epoch's order."""
        if self._next % self._spacing == 0:
            self._snapshots[self._next] = self._random.getstate()
            if len(self._snapshots) > SNAPSHOTS:
                self._spacing *= 2
                self._snapshots = {k: state for k, state in self._snapshots.items() if k % self._spacing == 0}
        order, draw = array("q", self.rows), self._random.random
        for i in range(self.count - 1, 0, -1):
            j = int(draw() * (i + 1))
            order[i], order[j] = order[j], order[i]
        while len(self._orders) >= ORDERS_HELD:
            del self._orders[next(iter(self._orders))]
        self._orders[self._next] = order
        self._next += 1
        return order
