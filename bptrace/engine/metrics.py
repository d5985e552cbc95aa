"""Metrics: how good the network is after each epoch, on the rows trained on and those held out.

One forward pass over a part of the data, with the parameters after the epoch's last update and the
layers as they are used after training. With N rows of K outputs y and targets t, n = N·K:

    accuracy   share of rows whose class is right: the largest output (the first of equal ones), or with
               one output whether it is above the threshold
    rmse       √(Σ (t - y)²/n)
    file_rmse  the same in the units of the file, where targets are scaled
    log_rmse   √(Σ (ln t - ln max(y, floor))²/n), in the units of the file where targets are scaled
    psnr       10·log10(peak²·n/Σ (t - y)²)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bptrace.engine.forward_pass import ForwardPass
from bptrace.errors import Problem, SpecError

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly
    from bptrace.build.data import Table
    from bptrace.network import Network

WITH_SIGNS = ("hinge", "squared_hinge", "binary_cross_entropy_with_logits")
"""Losses after which an output above 0 means the class."""
Array = Any


class Evaluation:
    """The metrics of a run, epoch by epoch.

    `columns` holds them: `epoch` and `iteration` (from 1), and for each part of the data the `loss`
    and each metric; of the rows of the test only what the last epoch gave. `constants` are the
    threshold, floor or peak that a metric was computed with.
    """

    def __init__(self, network: Network) -> None:
        training = network.spec.network.training
        assembly = network.assembly()
        self.metrics = training.metrics
        self.constants: dict[str, float] = {}
        held = assembly.parts
        parts = {"validation": held.validation}  # the loss that patience looks at
        if self.metrics:
            parts = {"training": held.training, "validation": held.validation, "test": held.test}
        self._whole = assembly
        self._parts = {name: rows for name, rows in parts.items() if rows}
        self._network = network
        self._check(network)
        self._passes: dict[str, ForwardPass] = {}
        names = ["loss", *(name for metric in self.metrics for name in self._names(metric.type))]
        self.columns: dict[str, Any] = {"epoch": [], "iteration": []}
        for part in self._parts:
            self.columns[part] = {name: [] for name in names}

    def _names(self, kind: str) -> list[str]:
        """The columns of a metric."""
        table = self._targets()
        scaled = table is not None and table.scaling is not None
        return ["rmse", "file_rmse"] if kind == "rmse" and scaled else [kind]

    def _check(self, network: Network) -> None:
        """Refuse metrics that have nothing to compare, or no meaning for these targets."""
        if not self.metrics:
            return
        spec, problems = network.spec, list[Problem]()
        table = self._targets()
        if table is None:
            raise SpecError([spec.problem(("training", "metrics"), "there are no targets to compare with", "targets")])
        values = [x for row in table.unscaled or table.rows for x in row]
        for k, metric in enumerate(self.metrics):
            path = ("training", "metrics", k)
            if metric.type == "accuracy":
                problems += self._no_classes(path, table)
            if metric.type == "log_rmse":
                problems += self._not_positive(path, values)
                self.constants["log_rmse"] = metric.floor if metric.floor is not None else 1.0
            if metric.type == "psnr":
                largest = max(map(abs, values))
                if metric.peak is None and largest > 1:
                    message = f"psnr needs the largest value that there can be; the targets go up to {largest:g}"
                    problems.append(spec.problem(path, message, "{type: psnr, peak: ...}"))
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

    def _no_classes(self, path: tuple[str | int, ...], table: Table) -> list[Problem]:
        """What keeps targets from being classes."""
        said, wanted = "", "rmse for numbers"
        if table.scaling is not None and not (table.one_hot and all(table.one_hot)):
            said = "accuracy counts right classes, and these targets are scaled numbers"
        elif self._whole.graph.outputs[0].size == self._whole.samples:
            different = {x for row in table.rows for x in row}
            if len(different) > 2:
                said = f"accuracy of one output is for two classes, and the targets have {len(different)} values"
        elif len(table.shape) == 1 and table.shape[0] > 1:
            tied = next((n for n, row in enumerate(table.rows) if row.count(max(row)) > 1), None)
            if tied is not None:
                said = f"accuracy counts right classes, and row {tied + 1} has no one largest target"
                wanted = "one class a row"
        return [self._network.spec.problem(path, said, wanted)] if said else []

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
                self._passes[part] = ForwardPass(self._network, rows, self._whole)
            loss, output = self._passes[part].run(state)
            found = self.columns[part]
            if part == "test":
                for column in found.values():
                    column.clear()
            found["loss"].append(loss)
            for name in list(found)[1:]:
                table, assembly = self._targets(), self._passes[part].assembly
                assert table is not None
                found[name].append(_metric(name, output, table, rows, assembly, self.constants.get(name)))
        held_out = self.columns.get("validation")
        return held_out["loss"][-1] if held_out else None


def _metric(
    kind: str, output: Array, table: Table, rows: Sequence[int], assembly: Assembly, constant: float | None
) -> float:
    import numpy

    def arranged(numbers: Array) -> Array:
        """Rows of the table (rows, ...) in the order of the outputs."""
        array = numpy.array(numbers, dtype=float).reshape(len(numbers), *table.shape)
        if "channel" in assembly.graph.outputs[0].axes[1:] and array.ndim == output.ndim:
            array = numpy.moveaxis(array, assembly.graph.outputs[0].axes.index("channel"), -1)
        return array if kind == "accuracy" else array.reshape(len(numbers), *output.shape[1:])

    if kind == "accuracy":
        return _accuracy(output, arranged([table.rows[n] for n in rows]), constant)
    source = table.rows
    if table.scaling is not None and table.unscaled is not None and kind in ("file_rmse", "log_rmse"):
        source = table.unscaled
        output = output * arranged([table.scaling.divisor]) + arranged([table.scaling.shift])
    targets = arranged([source[n] for n in rows])
    with numpy.errstate(all="ignore"):
        if kind == "log_rmse":
            floored = numpy.maximum(output, 1.0 if constant is None else constant)
            return float(numpy.sqrt(numpy.mean((numpy.log(targets) - numpy.log(floored)) ** 2)))
        mean = numpy.mean((targets - output) ** 2)
        peak = numpy.float64(1.0 if constant is None else constant)
        return float(numpy.sqrt(mean) if kind != "psnr" else 10 * numpy.log10(peak**2 / mean))


def _accuracy(output: Array, targets: Array, threshold: float | None) -> float:
    import numpy

    if threshold is not None:
        return float(numpy.mean((output.reshape(-1) > threshold) == (targets.reshape(-1) > threshold)))
    classes = output.shape[-1]
    wanted = targets.reshape(-1, classes).argmax(1) if targets.size == output.size else targets.reshape(-1)
    return float(numpy.mean(output.reshape(-1, classes).argmax(1) == wanted))
