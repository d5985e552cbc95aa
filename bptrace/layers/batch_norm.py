"""Batch norm: each channel is normalised over the batch; running statistics are kept for inference.

Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift", 2015.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from bptrace.graph.node import Node
from bptrace.layers.base import Path
from bptrace.layers.normalisation import Centred, Reading, channels
from bptrace.layers.running import keep_running, running_leaves
from bptrace.ops.sharing import Sharing
from bptrace.spec.base import Array, Number, Strict

if TYPE_CHECKING:
    from bptrace.build.builder import Builder


class RunningStatistics(Strict):
    """What the running statistics start from: one number, or one a channel; 0 and 1 unless given."""

    mean: Array | None = None
    variance: Array | None = None


class BatchNorm(Centred):
    """x: (N, C) or (N, C, ...); μ, σ², gamma, beta and the running statistics: (C).

    In inference the running statistics take the place of the batch's; in training
    new running = (1 - momentum)·running + momentum·batch, the batch's variance with the divisor N - 1.
    """

    type: Literal["batch_norm"]
    momentum: Annotated[Number, Field(ge=0, le=1)] = 0.1
    running: RunningStatistics = Field(default_factory=RunningStatistics)
    mode: Literal["training", "inference"] = "training"
    channel_order: Literal["first", "last"] | None = None

    def reads(self, builder: Builder, path: Path, source: Node) -> Reading | None:
        found = channels(builder, self, path, source)
        if found is None:
            return None
        words, channel = found
        axes = tuple(axis for axis in range(len(words)) if axis != channel)
        return Reading(words, Sharing(axes, tuple(words[axis] for axis in axes)), (channel,))

    def normalized(self, builder: Builder, name: str, path: Path, source: Node, read: Reading) -> Node:
        (channel,) = read.scaled
        given = {"mean": self.running.mean, "variance": self.running.variance}
        leaves = running_leaves(builder, name, path, given, source.shape[channel], read.statistic, self.share or "")
        if self.inference(builder):
            if self.mode == "training":  # the state of a run has the statistics in it: here they stay what they are
                builder.graph.carry.update({leaf: leaf for leaf in leaves})
            return self.standardized(builder, name, source, *leaves, read)
        count = read.sharing.count(source.shape)
        if not self._enough(builder, path, count):
            return source
        moments = self.moments(builder, name, path, source, read)
        made = self.standardized(builder, name, source, *moments, read)
        momentum = self.setting(builder, name, "momentum", "m", self.momentum)
        keep_running(builder, name, leaves, moments, momentum, 0 if self.variance == "unbiased" else count)
        return made

    def conventions(self, builder: Builder) -> list[tuple[str, str]]:
        given = self.running.mean is not None or self.running.variance is not None or self.share
        start = [] if given else [("μ_run, σ²_run", "running_start")]
        if self.inference(builder):
            return [("x̂ = (x - μ_run)/√(σ²_run + ε)", "running_read"), *start]
        kept = [("σ²_run", "running_unbiased")] if self.variance == "biased" else []
        return [*super().conventions(builder), *kept, *start]

    def inference(self, builder: Builder) -> bool:
        """Whether the running statistics are read."""
        return self.mode == "inference" or builder.inference

    def _enough(self, builder: Builder, path: Path, count: int) -> bool:
        """Whether every batch has more than one value a channel: one alone is its own mean."""
        rows = builder.samples  # of all training data where the whole graph is built, else of one batch
        given = builder.network.training.batch_size
        size = rows if given == "all" else min(given, rows)
        smallest = rows % size or size
        if count // rows * smallest > 1:
            return True
        at: Path = (*path, "type") if smallest == rows else ("training", "batch_size")
        said = f"a batch of {smallest} has one value a channel, which is its own mean: nothing is left to normalise"
        builder.problem(at, said, "more samples in every batch, mode: inference, or layer_norm")
        return False
