"""Which samples each iteration reads."""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bptrace.spec.models import Training


class Schedule:
    """The batches of a run, worked out when asked for; iterations and samples count from 0 here.

    `count` samples are read in batches of `size`, the last one of an epoch being smaller where they
    do not divide. With `shuffle` each epoch starts from the given order and, for i from count - 1
    down to 1, swaps places i and floor(r·(i + 1)), where r is the next `random()` of
    `random.Random(seed)`: stated here so that any program can repeat it.
    """

    def __init__(self, training: Training, count: int) -> None:
        self.count = count
        self.size = count if training.batch_size == "all" else min(training.batch_size, count)
        self.an_epoch = -(-count // self.size)
        self.shuffled = training.order == "shuffle"
        self._random = random.Random(training.seed).random
        self._orders: list[Sequence[int]] = []
        self._given: list[Sequence[int]] = [
            range(start, min(start + self.size, count)) for start in range(0, count, self.size)
        ]

    @property
    def constant(self) -> bool:
        """Whether every iteration reads the same batch."""
        return self.an_epoch == 1 and not self.shuffled

    def epoch(self, iteration: int) -> int:
        return iteration // self.an_epoch

    def batch(self, iteration: int) -> Sequence[int]:
        """The samples of an iteration."""
        epoch, place = divmod(iteration, self.an_epoch)
        if not self.shuffled:
            return self._given[place]
        start = place * self.size
        return self._order(epoch)[start : start + self.size]

    def batches(self, iteration: int, count: int) -> list[Sequence[int]]:
        """The samples of `count` iterations from this one on."""
        if self.shuffled:
            return [self.batch(iteration + k) for k in range(count)]
        place = iteration % self.an_epoch
        return (self._given * (1 + (place + count) // self.an_epoch))[place : place + count]

    def batch_size(self, iteration: int) -> int:
        return len(self._given[iteration % self.an_epoch])

    def alike(self, iteration: int) -> int:
        """How many iterations from this one on have a batch of the same size."""
        if self.count % self.size == 0:
            return 1 << 62
        place = iteration % self.an_epoch
        return 1 if place == self.an_epoch - 1 else self.an_epoch - 1 - place

    def last_of_epoch(self, iteration: int) -> bool:
        return (iteration + 1) % self.an_epoch == 0

    def _order(self, epoch: int) -> Sequence[int]:
        while len(self._orders) <= epoch:
            order = array("q", range(self.count))
            for i in range(self.count - 1, 0, -1):
                j = int(self._random() * (i + 1))
                order[i], order[j] = order[j], order[i]
            self._orders.append(order)
        return self._orders[epoch]
