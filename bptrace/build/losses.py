"""The loss: terms for each output, added up to samples and to one number; penalties."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from bptrace.build.builder import Builder
from bptrace.build.names import common_prefix
from bptrace.graph.node import Node, Own
from bptrace.graph.op import Op
from bptrace.ops import losses as terms
from bptrace.ops.activations import Sigmoid
from bptrace.ops.arithmetic import Add, Scale
from bptrace.ops.penalty import PenaltySum
from bptrace.ops.reduction import Mean, Total
from bptrace.ops.softmax import Softmax
from bptrace.spec.words import LOSSES_OF_CLASSES, LOSSES_WITHOUT_TARGETS

if TYPE_CHECKING:
    from bptrace.build.data import Table
    from bptrace.spec.models import LossSpec, Penalty

TERMS: dict[str, Callable[[LossSpec], Op]] = {
    "half_squared_error": lambda spec: terms.HalfSquaredError(),
    "squared_error": lambda spec: terms.SquaredError(),
    "mean_squared_error": lambda spec: terms.SquaredError(),
    "mean_absolute_error": lambda spec: terms.AbsoluteError(),
    "absolute_error": lambda spec: terms.AbsoluteError(),
    "huber": lambda spec: terms.Huber(spec.threshold or 1.0),
    "log_cosh": lambda spec: terms.LogCosh(),
    "hinge": lambda spec: terms.Hinge(),
    "squared_hinge": lambda spec: terms.SquaredHinge(),
    "binary_cross_entropy": lambda spec: terms.BinaryCrossEntropy(),
    "binary_cross_entropy_with_logits": lambda spec: terms.BinaryCrossEntropyWithLogits(),
    "cross_entropy": lambda spec: terms.CrossEntropy(),
    "cross_entropy_with_logits": lambda spec: terms.CrossEntropyWithLogits(),
}
MEAN_OUTPUTS = ("mean_squared_error", "mean_absolute_error")


class Losses:
    """Adds the losses of a network; `bypass` is what reverse mode needs of fused deltas."""

    def __init__(self, builder: Builder, tables: dict[str, Table]) -> None:
        self.builder = builder
        self.graph = builder.graph
        self.tables = tables
        self.bypass: dict[Node, tuple[Node, Op]] = {}
        self.ignored: dict[str, int | None] = {}  # of targets that were class numbers, which one is left out

    def add(self, output: Node) -> Node | None:
        """The loss of the whole network, or None where the YAML has none."""
        specs = self.builder.network.loss
        if not specs:
            return None
        penalised = self._penalised()
        whole = "loss.data" if penalised else "loss"
        if len(specs) == 1:
            loss = self._one(specs[0], "loss", whole, output, ("loss",))
        else:
            parts = [
                self._one(spec, f"loss.{k}", f"loss.{k}", output, ("loss", k - 1)) for k, spec in enumerate(specs, 1)
            ]
            loss = self.graph.add(whole, Add(), *parts, phase="loss", symbol=Own("E"), block="loss", quiet=True)
        if penalised:
            loss = self._with_penalty(loss, penalised)
        loss.word = "total_loss" if len(specs) > 1 else specs[0].type
        self.graph.loss = loss
        return loss

    def _one(self, spec: LossSpec, prefix: str, whole: str, output: Node, path: tuple[str | int, ...]) -> Node:
        builder = self.builder
        if spec.of:
            found = builder.outputs.get(spec.of)
            if found is None:
                builder.problem((*path, "of"), f"no layer '{spec.of}'", known=tuple(builder.outputs), got=spec.of)
            output = found or output
        sample = len(output.axes) - 1 if builder.columns and output.axes else 0
        batched = bool(output.axes) and output.axes[sample] == "sample"
        rest = tuple(i for i in range(len(output.shape)) if not (batched and i == sample))
        words = tuple(output.axes[i] if output.axes else "place" for i in rest)
        mark = prefix.removeprefix("loss").replace(".", "")
        symbol = Own(f"E{mark}")
        mean_outputs = (spec.outputs or ("mean" if spec.type in (*MEAN_OUTPUTS, "mean") else "sum")) == "mean"
        mean_samples = (spec.reduction or ("sum" if spec.type == "sum" else "mean")) == "mean"
        value = output
        if spec.type not in LOSSES_WITHOUT_TARGETS:
            value = self._terms(spec, prefix, output, path, symbol, sample if batched else -1)
        if output.axes[:2] == ("sample", "time"):
            self._steps(spec, prefix, value, symbol, mean_outputs, mean_samples)
        if rest:
            op: Op = Mean(rest, words) if mean_outputs else Total(rest, words)
            axes = ("sample",) if batched else ()
            value = self.graph.add(
                f"{prefix}.samples", op, value, phase="loss", symbol=symbol, axes=axes, block="loss", quiet=True
            )
        op = Mean((0,), ("sample",)) if mean_samples else Total((0,), ("sample",))
        if not batched:
            op = Add()
        if spec.weight == 1:
            return self.graph.add(
                whole, op, value, phase="loss", symbol=symbol, block="loss", quiet=True, word=spec.type
            )
        inner = self.graph.add(
            f"{prefix}.unweighted", op, value, phase="loss", symbol=symbol, block="loss", quiet=True, inline=True
        )
        factor = Fraction(repr(spec.weight))
        return self.graph.add(
            whole,
            Scale(factor, repr(spec.weight)),
            inner,
            phase="loss",
            symbol=symbol,
            block="loss",
            quiet=True,
            word=spec.type,
        )

    def _steps(
        self, spec: LossSpec, prefix: str, value: Node, symbol: Own, mean_outputs: bool, mean_samples: bool
    ) -> None:
        """What each time step of a sequence has in the loss: `loss@t`, which add up to it."""
        from bptrace.ops.sequence import Pick  # few losses have time steps

        _, count, *others = value.shape
        factor = Fraction(repr(spec.weight)) / (math.prod((count, *others)) if mean_outputs else 1)
        for t in range(1, count + 1):
            inner: list[Op] = [Pick(1, t - 1)]
            if others:
                inner.append(Total(tuple(range(1, 1 + len(others))), value.axes[2:]))
            inner.append(Mean((0,), ("sample",)) if mean_samples else Total((0,), ("sample",)))
            if factor != 1:
                inner.append(Scale(factor))
            node, last = value, len(inner) - 1
            for k, op in enumerate(inner):
                node = self.graph.add(
                    f"{prefix}@{t}" if k == last else f"{prefix}@{t}.{k}", op, node,
                    phase="loss", symbol=Own(f"{symbol.array}@{t}"), inline=k < last, step=t, word="time_step",
                    block=f"{prefix}.steps", quiet=True,
                )  # fmt: skip

    def _terms(
        self, spec: LossSpec, prefix: str, output: Node, path: tuple[str | int, ...], symbol: Own, sample: int
    ) -> Node:
        target = self._target(spec, output, path, sample)
        op = TERMS[spec.type](spec)
        feature = next((i for i in reversed(range(len(output.shape))) if i != sample), 0)
        if isinstance(op, terms.CrossEntropyWithLogits):
            op = terms.CrossEntropyWithLogits(feature)
        units = self.builder.unit_names.get(output.layer, ())
        node = self.graph.add(
            f"{prefix}.terms", op, target, output,
            phase="loss", symbol=symbol, axes=output.axes, block="loss", quiet=True, word="loss_term",
            names=tuple(f"{symbol.array}_{unit}" for unit in units),
        )  # fmt: skip
        softmax = isinstance(output.op, Softmax) and output.op.axis % len(output.shape) == feature
        fused = (isinstance(op, terms.CrossEntropy) and softmax) or (
            isinstance(op, terms.BinaryCrossEntropy) and isinstance(output.op, Sigmoid)
        )
        if fused:
            whole = isinstance(op, terms.BinaryCrossEntropy) or self._adds_up(target)
            self.bypass[node] = (output.inputs[0], terms.FusedDelta(feature, whole=whole))
        return node

    def _adds_up(self, target: Node) -> bool:
        """Whether the targets add up to 1 over the classes, for every sample (and time step)."""
        table = self.tables.get(target.id)
        if table is None or not table.shape:
            return False
        classes = table.shape[-1]
        return all(
            abs(math.fsum(row[k : k + classes]) - 1) < 1e-12 for row in table.rows for k in range(0, len(row), classes)
        )

    def _target(self, spec: LossSpec, output: Node, path: tuple[str | int, ...], sample: int) -> Node:
        """The leaf of the targets; class numbers become rows with a single 1."""
        builder = self.builder
        targets = {name: table for name, table in self.tables.items() if table.kind == "targets"}
        name = spec.targets or ("t" if "t" in targets or len(targets) != 1 else next(iter(targets)))
        table = targets.get(name)
        if table is None:
            if spec.targets:
                builder.problem((*path, "targets"), f"no targets '{name}'", known=tuple(targets), got=name)
            else:
                builder.problem(path, f"{spec.type} needs targets", "data: {targets: [[...], ...]}")
            return builder.graph.leaf(
                f"~t{len(builder.graph.nodes)}", output.shape, None, phase="data", symbol=Own("t")
            )
        width = tuple(extent for i, extent in enumerate(output.shape) if i != sample)
        if table.shape != width:
            if table.shape == width[:-1] and spec.type in LOSSES_OF_CLASSES:
                self.tables[name] = table = self._one_hot(table, width[-1], spec.ignore)
                self.ignored[name] = spec.ignore
            else:
                given, wanted = [len(table.rows), *table.shape], [len(table.rows), *width]
                hint = "targets have a row a sample: [[0], [1]] for one output" if not table.shape else ""
                builder.problem(
                    ("data", "targets"), f"targets of shape {given} for outputs of shape {wanted}",
                    hint or f"the shape {wanted}",
                )  # fmt: skip
                return builder.graph.leaf(f"~{name}", output.shape, None, phase="data", symbol=Own("t"))
        if name not in self.ignored and spec.ignore is not None:
            said, expected = f"{name} are no class numbers, of which one could be ignored", "a whole number a class"
            builder.problem((*path, "ignore"), said, expected)
        elif spec.ignore != self.ignored.get(name):
            said = f"another loss of the targets {name} ignores {_or_none(self.ignored[name])}"
            builder.problem(path, said, f"the same, not {_or_none(spec.ignore)}")
        if name in builder.graph.by_id:
            return builder.graph.by_id[name]
        symbol = Own(common_prefix(table.names, name))
        node = builder.graph.leaf(
            name, output.shape, None, phase="data", symbol=symbol, axes=output.axes, names=table.names,
        )  # fmt: skip
        builder.graph.name_elements(node)
        return node

    def _one_hot(self, table: Table, classes: int, ignore: int | None) -> Table:
        """Rows with a single 1; of an ignored class rows of zeros, which add nothing to the loss."""
        assert self.builder.network.data is not None
        several = isinstance(self.builder.network.data.targets, dict)
        at = ("data", "targets", table.name) if several else ("data", "targets")
        rows: list[list[float]] = []
        for n, numbers in enumerate(table.rows):
            rows.append([])
            for t, number in enumerate(numbers):
                if number != ignore and (number != int(number) or not 0 <= number < classes):
                    place = (n, t) if table.shape else (n,)
                    expected = f"a whole number from 0 to {classes - 1}"
                    expected += "" if ignore is None else f", or {ignore} (ignored)"
                    self.builder.problem((*at, *place), f"{number:g} is no class", expected)
                rows[-1] += [float(k == number != ignore) for k in range(classes)]
        return replace(table, rows=rows, shape=(*table.shape, classes))

    def _penalised(self) -> list[tuple[Node, Penalty, str]]:
        """Every penalised parameter, with its penalty and the layer that the penalty belongs to; the top's
        and a layer's penalties add up."""
        found: list[tuple[Node, Penalty, str]] = []
        own = {name: layer.penalty for name, layer in self.builder.layers.items()}
        for node in [*self.builder.trainable, *self.builder.held]:
            for penalty, layer in ((self.builder.network.penalty, ""), (own.get(node.layer), node.layer)):
                if penalty is None or not (penalty.l1 or penalty.l2):
                    continue
                # a graph says nothing of the kind of its parameters; of a layer, gains are not penalised
                if node.word == "weights" or not node.layer or (node.word == "bias" and penalty.bias):
                    found.append((node, penalty, layer))
        return found

    def _strength(self, kind: str, value: float, layer: str) -> Node | None:
        """The leaf of λ; none where it is 0."""
        if not value:
            return None
        id = f"setting.penalty.{layer}.{kind}" if layer else f"setting.penalty.{kind}"
        if id in self.graph.by_id:
            return self.graph.by_id[id]
        symbol = f"λ{'12'[kind == 'l2']}" + (f"_{layer}" if layer else "")
        return self.graph.leaf(id, (), [value], phase="setting", symbol=Own(symbol))

    def _with_penalty(self, loss: Node, penalised: list[tuple[Node, Penalty, str]]) -> Node:
        parts: list[Node] = []
        for k, (node, penalty, layer) in enumerate(penalised):
            again = ".2" if any(other is node for other, _, _ in penalised[:k]) else ""
            weights = [self._strength(kind, getattr(penalty, kind), layer) for kind in ("l2", "l1")]
            square, absolute = _factors(penalty, self.builder.samples)
            op = PenaltySum(square if penalty.l2 else Fraction(0), absolute if penalty.l1 else Fraction(0))
            parts.append(
                self.graph.add(
                    f"loss.penalty.{node.id}{again}",
                    op,
                    node,
                    *(weight for weight in weights if weight is not None),
                    phase="loss",
                    symbol=Own(f"R_{node.id}"),
                    block="loss",
                    quiet=True,
                    word="penalty",
                )
            )
        total = self.graph.add(
            "loss.penalty", Add(), *parts, phase="loss", symbol=Own("R"), block="loss", quiet=True, word="penalty"
        )
        return self.graph.add("loss", Add(), loss, total, phase="loss", symbol=Own("E"), block="loss", quiet=True)


def _or_none(number: int | None) -> str:
    return "none" if number is None else str(number)


def _factors(penalty: Penalty, samples: int) -> tuple[Fraction, Fraction]:
    """What the scale makes of λ before Σw², and before Σ|w|, which never has the ½."""
    over = Fraction(1, samples if penalty.scale.endswith("samples") else 1)
    return over / 2 if penalty.scale.startswith("half") else over, over
