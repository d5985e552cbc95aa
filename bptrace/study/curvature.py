"""The largest eigenvalue of the Hessian of the loss, and the learning rates that follow from it.

Power iteration: v becomes H·v divided by its length, again and again, and vᵀ·H·v tends to the
eigenvalue of the largest size (LeCun, Bottou, Orr and Müller, Efficient BackProp, 1998). Near a minimum
gradient descent is fastest, along the steepest direction, with the learning rate 1/λ, and converges
for every rate below 2/λ.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bptrace.errors import UsageError
from bptrace.network import Network
from bptrace.ops.lazy import np
from bptrace.study.hessian import Hessian, NoLossError

if TYPE_CHECKING:
    from bptrace.graph.op import Array
    from bptrace.trace import Trace

FORMAT = "bptrace-curvature"
VERSION = 1
MOST = 1000
"""Iterations after which an estimate that still changes is given up."""
SETTLED = 1e-7
"""The largest part of λ that H·v - λ·v may be long for an estimate that has settled; the error of λ is of
the order of its square."""


@dataclass(frozen=True)
class Step:
    """One product with the Hessian: vᵀ·H·v, how long H·v - λ·v is, and how much the estimate changed."""

    number: int
    estimate: float
    change: float | None
    residual: float


@dataclass(frozen=True)
class Curvature:
    """The eigenvalue of the largest size, `dominant`, and the largest one, with the steps that led to each.

    They are one and the same unless the dominant one is negative; `further` are then the steps by which
    the largest was found, with the Hessian moved by the dominant one. `at` is the iteration before whose
    update the parameters are taken.
    """

    columns = ("step", "quantity", "value")
    """The heads of the rows of the CSV."""

    trace: Trace
    at: int
    loss: float
    size: int
    dominant: float
    largest: float
    steps: tuple[Step, ...]
    further: tuple[Step, ...]
    settled: bool
    direction: tuple[float, ...]
    """The eigenvector of the largest eigenvalue, of length 1: all trained parameters one after the other."""

    @property
    def fastest(self) -> float | None:
        """1/λ: the learning rate that is fastest along the steepest direction."""
        return 1 / self.largest if self.largest > 0 else None

    @property
    def limit(self) -> float | None:
        """2/λ: the learning rate from which on gradient descent moves away along the steepest direction."""
        return 2 / self.largest if self.largest > 0 else None

    def text(self, **style: Any) -> str:
        """The page; `style` are fields of `bptrace.report.study.StudyStyle`."""
        from bptrace.report.curvature import page
        from bptrace.writers.study_text import study_text

        return study_text(*page(self, **style))

    def __str__(self) -> str:
        return self.text()

    def json(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "format": FORMAT, "version": VERSION, "name": self.trace.network.name, "iteration": self.at,
            "parameters": self.size, "loss": self.loss, "settled": self.settled, "dominant": self.dominant,
            "largest": self.largest, "fastest_rate": self.fastest, "largest_rate": self.limit,
            "steps": [_plain(step) for step in self.steps], "further": [_plain(step) for step in self.further],
            "direction": list(self.direction),
        }  # fmt: skip

    def rows(self) -> Iterator[tuple[int, str, float]]:
        """Every number as step, quantity, value: the rows of the CSV."""
        for name, steps in (("estimate", self.steps), ("estimate_moved", self.further)):
            for step in steps:
                yield step.number, name, step.estimate
        yield 0, "largest", self.largest


def _plain(step: Step) -> dict[str, Any]:
    return {"step": step.number, "estimate": step.estimate, "change": step.change, "residual": step.residual}


def curvature(trace: Trace, iteration: int | None = None, most: int = MOST) -> Curvature:
    """The curvature of the loss over all training data, at the parameters before the update of an iteration.

    That is the first one unless given. Raises `UsageError` where there is no loss or nothing is trained.
    """
    at = trace.recorded[0] if iteration is None and trace.recorded else iteration or 1
    hessian = hessian_of(trace, at)
    start = _start(hessian.size)
    steps, vector, settled = _iterate(hessian.times, start, most)
    dominant = largest = steps[-1].estimate
    further: tuple[Step, ...] = ()
    if dominant < 0:
        # with all eigenvalues moved up by -λ the largest one has the largest size
        def moved(v: Array) -> Array:
            return np.asarray(hessian.times(v) - dominant * v)

        further, vector, second = _iterate(moved, start, most)
        largest = further[-1].estimate + dominant
        settled = settled and second
    return Curvature(
        trace, at, hessian.loss, hessian.size, dominant, largest, steps, further, settled,
        tuple(float(x) for x in vector),
    )  # fmt: skip


def hessian_of(trace: Trace, iteration: int, parameters: Mapping[str, Sequence[float]] | None = None) -> Hessian:
    """The Hessian of the loss over all training data, with the parameters before an iteration's update.

    `parameters` stand, by id and row by row, for those.
    """
    spec = trace.spec
    changes = {
        "optimizer": None, "tangents": "none",
        "conventions": spec.network.conventions.model_copy(update={"update_order": "simultaneous"}),
    }  # fmt: skip
    assembly = Network(replace(spec, network=spec.network.model_copy(update=changes))).assembly()
    values = trace.values(iteration)
    there = values.assembly.graph
    found = {p.id: [float(x) for x in values.flat(there.by_id[p.id])] for p in assembly.trainable}
    try:
        return Hessian(assembly, {**found, **(parameters or {})})
    except NoLossError:
        said = "the Hessian needs a loss and parameters that are trained"
        raise UsageError(f"{spec.file}: {said}") from None


def _start(size: int) -> Array:
    """A direction of length 1, the same in every run."""
    stream = random.Random("curvature").random
    v = np.array([2 * stream() - 1 for _ in range(size)])
    return np.asarray(v / np.linalg.norm(v))


def _iterate(product: Callable[[Array], Array], v: Array, most: int) -> tuple[tuple[Step, ...], Array, bool]:
    """Power iteration from v; whether it settled."""
    steps: list[Step] = []
    for number in range(1, most + 1):
        image = product(v)
        estimate = float(v @ image)
        residual = float(np.linalg.norm(image - estimate * v))
        change = estimate - steps[-1].estimate if steps else None
        steps.append(Step(number, estimate, change, residual))
        length = float(np.linalg.norm(image))
        if residual <= SETTLED * max(abs(estimate), np.finfo(float).tiny):
            return tuple(steps), v, True
        if not np.isfinite(length):
            break
        v = np.asarray(image / length)
    return tuple(steps), v, False


__all__ = ["Curvature", "Step", "curvature", "hessian_of"]
