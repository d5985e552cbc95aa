"""Metrics: how good the network is after each epoch, on the rows trained on and those held out.

One forward pass over a part of the data, with the parameters after the epoch's last update and the
layers as they are used after training. With N rows of K outputs y and targets t, n = N·K:

    accuracy  share of rows whose class is right: the largest output (the first of equal ones), or with
              one output whether it is above the threshold
    rmse      √(Σ (t - y)²/n)
    log_rmse  √(Σ (ln t - ln max(y, floor))²/n)
    psnr      10·log10(peak²·n/Σ (t - y)²)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bptrace.engine.layout import Layout, forward_nodes, state_leaves
from bptrace.errors import Problem, SpecError

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly
    from bptrace.build.data import Table
    from bptrace.engine.array import ArrayEngine
    from bptrace.graph.node import Node
    from bptrace.network import Network

WITH_SIGNS = ("hinge", "squared_hinge", "binary_cross_entropy_with_logits")
"""Losses after which an output above 0 means the class."""
Array = Any


class Evaluation:
    """The metrics of a run, epoch by epoch.

    `columns` holds them: `epoch` and `iteration` (from 1), and for each part of the data the `loss`
    and each metric. `constants` are the threshold, floor or peak that a metric was computed with.
    """

    def __init__(self, network: Network) -> None:
        training = network.spec.network.training
        assembly = network.assembly()
        self.metrics = training.metrics
        self.constants: dict[str, float] = {}
        parts = {"training": assembly.parts.training, "validation": assembly.parts.validation}
        if not self.metrics:
            parts.pop("training")  # only the loss that patience looks at
        self._whole = assembly
        self._parts = {name: rows for name, rows in parts.items() if rows}
        self._network = network
        self._check(network)
        self._passes: dict[str, _Pass] = {}
        names = ["loss", *(metric.type for metric in self.metrics)]
        self.columns: dict[str, Any] = {"epoch": [], "iteration": []}
        for part in self._parts:
            self.columns[part] = {name: [] for name in names}

    def _check(self, network: Network) -> None:
        """Refuse metrics that have nothing to compare, or no meaning for these targets."""
        if not self.metrics:
            return
        spec, problems = network.spec, list[Problem]()
        table = self._targets()
        if table is None:
            raise SpecError([spec.problem(("training", "metrics"), "there are no targets to compare with", "targets")])
        values = [x for row in table.rows for x in row]
        for k, metric in enumerate(self.metrics):
            path = ("training", "metrics", k)
            if metric.type == "log_rmse":
                problems += self._not_positive(path, values)
                self.constants["log_rmse"] = metric.floor if metric.floor is not None else 1.0
            if metric.type == "psnr":
                self.constants["psnr"] = metric.peak if metric.peak is not None else 1.0
            output = self._whole.graph.outputs[0]
            if metric.type != "accuracy" and output.size != len(values) // len(table.rows) * self._whole.samples:
                problems.append(
                    spec.problem(
                        path,
                        f"{metric.type} compares numbers, and the targets are others than the outputs",
                        f"{output.size // self._whole.samples} a row",
                    )
                )
            if metric.type == "accuracy" and output.size == self._whole.samples:
                losses = network.spec.network.loss
                signs = min(values) < 0 or bool(losses and losses[0].type in WITH_SIGNS)
                self.constants["accuracy"] = 0.0 if signs else 0.5
        if problems:
            raise SpecError(problems)

    def _not_positive(self, path: tuple[str | int, ...], values: Sequence[float]) -> list[Problem]:
        wrong = next((x for x in values if x <= 0), None)
        if wrong is None:
            return []
        message = f"log_rmse takes the logarithm of the targets, and there is one of {wrong:g}"
        return [self._network.spec.problem(path, message, "targets above 0")]

    def _targets(self) -> Table | None:
        """The targets of the first loss, or the only ones."""
        losses = self._network.spec.network.loss
        name = losses[0].targets if losses and losses[0].targets else None
        found = [table for table in self._whole.tables.values() if table.kind == "targets"]
        return next((table for table in found if name in (None, table.name)), None)

    def after_epoch(self, epoch: int, last: int, state: Sequence[float]) -> float | None:
        """Look at an epoch (from 0) whose last iteration is `last`; returns the loss on the rows held out."""
        self.columns["epoch"].append(epoch + 1)
        self.columns["iteration"].append(last + 1)
        for part, rows in self._parts.items():
            if part not in self._passes:
                self._passes[part] = _Pass(self._network, rows, self._whole)
            loss, output, assembly = self._passes[part].run(state)
            found = self.columns[part]
            found["loss"].append(loss)
            if self.metrics:
                table = self._targets()
                assert table is not None
                for metric in self.metrics:
                    value = _metric(metric.type, output, table, rows, assembly, self.constants.get(metric.type))
                    found[metric.type].append(value)
        held_out = self.columns.get("validation")
        return held_out["loss"][-1] if held_out else None


class _Pass:
    """The forward pass over some rows, as the network is used after training."""

    def __init__(self, network: Network, rows: Sequence[int], whole: Assembly) -> None:
        from bptrace.engine.array import ArrayEngine

        self._rows = rows
        self._assembly = network.assembly(len(rows), inference=True)
        graph = self._assembly.graph
        # what training changes and this graph only reads (running means) is carried along too
        for leaf in state_leaves(whole.graph):
            here = graph.by_id.get(leaf.id)
            if here is not None and here not in graph.carry:
                graph.carry[here] = here
        layout = Layout(self._assembly, forward_nodes(graph))
        self._engine: ArrayEngine = ArrayEngine(self._assembly, layout, rows)
        self._chunk = memoryview(bytearray(8 * max(1, layout.size))).cast("d")
        self._layout = layout
        places, start = {}, 0
        for leaf in state_leaves(whole.graph):
            places[leaf.id] = (start, start + leaf.size)
            start += leaf.size
        self._state = [places[leaf.id] for leaf in state_leaves(graph) if leaf in layout.offsets]

    def run(self, state: Sequence[float]) -> tuple[float | None, Array, Assembly]:
        """The loss and the outputs, (rows, ...)."""
        from bptrace.engine.values import Values

        if self._state:
            self._engine.state = [x for start, stop in self._state for x in state[start:stop]]
        self._engine.run([self._rows], self._chunk, 0, [])
        graph = self._assembly.graph
        values = Values(self._layout, self._rows, self._chunk)
        loss = None if graph.loss is None else float(values.flat(graph.loss)[0])
        return loss, _rows_first(values.flat(graph.outputs[0]), graph.outputs[0]), self._assembly


def _rows_first(numbers: Sequence[float], node: Node) -> Array:
    """The numbers of an output with its samples first and its classes last."""
    import numpy

    array = numpy.array(numbers, dtype=float).reshape(node.shape)
    if "sample" in node.axes:
        array = numpy.moveaxis(array, node.axes.index("sample"), 0)
    if "channel" in node.axes[1:]:
        array = numpy.moveaxis(array, node.axes.index("channel"), -1)
    return array


def _metric(
    kind: str, output: Array, table: Table, rows: Sequence[int], assembly: Assembly, constant: float | None
) -> float:
    import numpy

    targets = numpy.array([table.rows[n] for n in rows], dtype=float).reshape(len(rows), *table.shape)
    if kind == "accuracy":
        return _accuracy(output, targets, assembly, constant)
    node = assembly.graph.outputs[0]
    if "channel" in node.axes[1:] and targets.ndim == output.ndim:
        targets = numpy.moveaxis(targets, node.axes.index("channel"), -1)
    targets = targets.reshape(output.shape)
    with numpy.errstate(all="ignore"):
        if kind == "log_rmse":
            floored = numpy.maximum(output, 1.0 if constant is None else constant)
            return float(numpy.sqrt(numpy.mean((numpy.log(targets) - numpy.log(floored)) ** 2)))
        mean = numpy.mean((targets - output) ** 2)
        peak = numpy.float64(1.0 if constant is None else constant)
        return float(numpy.sqrt(mean) if kind == "rmse" else 10 * numpy.log10(peak**2 / mean))


def _accuracy(output: Array, targets: Array, assembly: Assembly, threshold: float | None) -> float:
    import numpy

    if threshold is not None:
        return float(numpy.mean((output.reshape(-1) > threshold) == (targets.reshape(-1) > threshold)))
    node = assembly.graph.outputs[0]
    classes = output.shape[-1]
    if targets.size == output.size:
        if "channel" in node.axes[1:]:
            targets = numpy.moveaxis(targets, node.axes.index("channel"), -1)
        wanted = targets.reshape(-1, classes).argmax(1)
    else:
        wanted = targets.reshape(-1)
    return float(numpy.mean(output.reshape(-1, classes).argmax(1) == wanted))
