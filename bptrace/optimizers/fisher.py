"""The Fisher pass: F, the mean over the samples of (∂ log p(y|x)/∂w)², before any training.

It is one epoch of one sample at a time in which no weight changes: what an update would be adds the
sample's share to F. The loss of one sample is -log p(y|x), so that its gradient squared is that of
log p(y|x).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from bptrace.formula.expr import Expr
from bptrace.graph.node import Node
from bptrace.graph.op import Sample
from bptrace.ops.arithmetic import random_array
from bptrace.ops.lazy import np
from bptrace.optimizers.base import OptimizerSpec, Update
from bptrace.optimizers.equation import Equation
from bptrace.optimizers.mask import fisher_information
from bptrace.spec.base import Complaint

if TYPE_CHECKING:
    from bptrace.graph.op import Array
    from bptrace.spec.models import LossSpec, Network

NOT_LIKELIHOODS = ("hinge", "squared_hinge", "sum", "mean")
"""Losses that are no -log p(y|x): for no p do all p(y|x) of an x add up to 1."""
OF_CLASSES = ("cross_entropy", "cross_entropy_with_logits", "binary_cross_entropy", "binary_cross_entropy_with_logits")
"""Losses that are -log p(y|x) only as they are: of errors, a factor is one of the variance."""


class SquareGathered(Equation):
    """F + g²/N: a sample's share of a mean over N; operands F, g, N."""

    name = "square_gathered"

    def numbers(self, *arrays: Array) -> Array:
        information, g, count = arrays
        return np.asarray(information + g * g / count)

    def value(self, *operands: Expr) -> Expr:
        information, g, count = operands
        return information + g**2 / count

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 2, 3, low=0), random_array(rng, 2, 3), 4.0))]


class Fisher(OptimizerSpec):
    """No update: every parameter keeps its value, and its F grows."""

    type: Literal["fisher"] = "fisher"
    learning_rate: float = 0.0
    count: int = 1

    def equations(self, update: Update) -> Node:
        before = fisher_information(update.updates, update.parameter)
        count = update.setting("samples", "N", float(self.count))
        update.next_state(before, SquareGathered(), before, update.gradient, count)
        return update.parameter


def task_complaints(network: Network) -> Iterator[Complaint]:
    """What a mask from the Fisher information needs: data, and a loss that is -log p(y|x)."""
    at = ("optimizer", "mask", "child_tuning")
    if network.data is None:
        yield Complaint(at, "the Fisher information is a mean over data; there are none", "data: {inputs, targets}")
    if not network.loss:
        yield Complaint(at, "the Fisher information needs a loss", "a loss that is -log p(y|x), as cross_entropy")
    for k, loss in enumerate(network.loss):
        fault = _fault(loss)
        if fault:
            yield Complaint(("loss", k) if len(network.loss) > 1 else ("loss",), *fault)


def _fault(loss: LossSpec) -> tuple[str, str] | None:
    if loss.type in NOT_LIKELIHOODS:
        expected = "a cross-entropy, a squared or an absolute error, huber or log_cosh"
        return f"child_tuning: task needs a loss that is -log p(y|x); {loss.type} is none", expected
    if loss.type in OF_CLASSES and (loss.weight != 1 or loss.outputs == "mean"):
        said = "weighted" if loss.weight != 1 else "divided by the number of outputs"
        return f"child_tuning: task needs -log p(y|x) itself; here it is {said}", "weight: 1, outputs: sum"
    return None
