"""The trace: every number of a run, by iteration and by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bptrace.engine.values import Values, nested
from bptrace.errors import RunError, UsageError
from bptrace.graph.lookup import LookupFailedError, column, find
from bptrace.graph.node import Node

if TYPE_CHECKING:
    from decimal import Decimal
    from fractions import Fraction
    from pathlib import Path

    from bptrace.build.assemble import Assembly
    from bptrace.engine.record import Record
    from bptrace.network import Network
    from bptrace.spec.load import Spec
    from bptrace.study.curvature import Curvature
    from bptrace.study.diagnosis import Diagnosis
    from bptrace.study.reconstruction import Reconstruction


__all__ = ["Trace", "Values", "output_name", "plain"]


class Trace:
    """What a run left behind. Iterations and samples count from 1.

    `recorded` are the iterations whose numbers can be had, `count` how many were done of those
    `planned`, `losses` the loss of each of these before its update, `engine` what computed them.
    `stopped` is the error that ended the run, if one did: the trace up to it is kept; `interrupted`
    says whether the user ended it. `resumed` says whether it started from a checkpoint, so that its
    first parameters are none that the YAML gives; `done_before` are the iterations before that.
    """

    def __init__(self, network: Network, record: Record) -> None:
        self.network = network
        self._record = record
        self.count = record.count
        self.losses: Sequence[float | None] = record.losses
        kept = record.recorder.iterations
        self.recorded: Sequence[int] = (
            range(kept.start + 1, kept.stop + 1) if isinstance(kept, range) else [i + 1 for i in kept]
        )
        self.interrupted: bool = record.interrupted
        self.planned: int = record.asked
        self.done_before: int = record.schedule.done
        self.stopped: RunError | None = record.stopped
        self.resumed: bool = record.resumed
        self.engine: dict[str, Any] = record.description

    @property
    def spec(self) -> Spec:
        return self.network.spec

    @property
    def epochs(self) -> int:
        """The number of epochs, the last one included even if it was not finished."""
        return self.epoch(self.count)

    def epoch(self, iteration: int) -> int:
        """The epoch of an iteration, from 1."""
        return self._record.schedule.epoch(iteration - 1) + 1

    def samples(self, iteration: int) -> list[int]:
        """The numbers of the samples that an iteration read; none where the network has no data."""
        if not self._record.whole.tables:
            return []
        return [n + 1 for n in self._record.schedule.batch(iteration - 1)]

    def assembly(self, iteration: int) -> Assembly:
        """The graph of an iteration; one for each size of batch."""
        return self._record.engines.at(self._record.schedule.batch_size(iteration - 1))

    def values(self, iteration: int) -> Values:
        """The numbers of a recorded iteration."""
        try:
            return self._record.values(iteration - 1)
        except KeyError:
            raise UsageError(self._not_recorded(iteration)) from None

    def rows(self, nodes: Sequence[Node], iterations: Iterable[int]) -> Iterator[Sequence[float]]:
        """The numbers of some nodes, one after the other, for each of these recorded iterations."""
        for iteration in iterations:
            at_once = self._record.picked(nodes, iteration - 1)
            if at_once is not None:
                yield at_once
                continue
            values = self.values(iteration)
            yield [number for node in nodes for number in values.flat(node)]

    def _not_recorded(self, iteration: int) -> str:
        if not 1 <= iteration <= self.count:
            return f"there is no iteration {iteration}; the run has iterations 1 to {self.count:,}"
        shown = ", ".join(map(str, self.recorded[:8])) + (", ..." if len(self.recorded) > 8 else "")
        return f"iteration {iteration} is not recorded, only {shown}; ask for it with show"

    def loss(self, iteration: int) -> float | None:
        """The loss of any iteration, before its update."""
        if not 1 <= iteration <= self.count:
            raise UsageError(self._not_recorded(iteration))
        return self.losses[iteration - 1]

    @property
    def metrics(self) -> dict[str, Any] | None:
        """The metrics of each epoch: `epoch`, `iteration` and for each part of the data a list for each of
        them; None where there are none."""
        evaluation = self._record.evaluation
        return evaluation.columns if evaluation is not None and evaluation.columns["epoch"] else None

    @property
    def metric_constants(self) -> dict[str, float]:
        """The threshold, floor or peak of the metrics that have one."""
        return self._record.evaluation.constants if self._record.evaluation is not None else {}

    @property
    def fisher_pass(self) -> Trace | None:
        """The pass before training that a mask from the Fisher information comes from, an iteration a
        sample; None where there is no such mask, and for a run that began at a checkpoint."""
        return None if self.resumed else self.network.fisher_pass(self.exact)

    @property
    def exact(self) -> bool:
        """Whether the numbers are fractions."""
        return bool(self.engine["dtype"] == "fraction")

    @property
    def final_assembly(self) -> Assembly:
        """The graph of the closing forward pass over all data."""
        return self._record.whole

    def final_parameters(self, assembly: Assembly) -> Values:
        """The parameters after the last update, under the nodes of a graph of this network."""
        return self._record.final_parameters(assembly)

    @cached_property
    def final_values(self) -> Values:
        """One more forward pass over all data after the last update: forward and loss nodes."""
        return self._record.final_values()

    @cached_property
    def final(self) -> dict[str, Any]:
        """The loss, outputs and parameters after the last update."""
        assembly, values = self._record.whole, self.final_values
        graph = assembly.graph
        parameters = {node for node in graph.nodes if node.phase == "parameter" and node.word != "state"}
        return {
            "loss": None if graph.loss is None else plain(values.flat(graph.loss)[0]),
            "outputs": {output_name(node): _nested(values, node) for node in graph.outputs},
            "parameters": {node.id: _nested(values, node) for node in graph.nodes if node in parameters},
        }

    def value(self, text: str, iteration: int | None = None) -> Any:
        """The value of an id, an alias, an element or a user's name: a number or nested lists.

        `iteration` is the last recorded one unless given. A name that stands for a unit gives, with
        several samples, a list with one number a sample.
        """
        if iteration is None:
            if not self.recorded:
                raise UsageError("no iteration is recorded")
            iteration = self.recorded[-1]
        values = self.values(iteration)
        graph = values.assembly.graph
        try:
            node, element = find(graph, text)
        except LookupFailedError as error:
            raise UsageError(str(error)) from None
        if element is not None:
            return plain(values.flat(node)[element])
        places = column(graph, text, node)
        if places is not None:
            flat = values.flat(node)
            return [plain(flat[k]) for k in places]
        return _nested(values, node)

    def __getitem__(self, text: str) -> Any:
        return self.value(text)

    # what can be made of it

    def explain(self, quantity: str, iteration: int | None = None, *, depth: int | None = 4, through: int = 1) -> str:
        """The derivation of one number as text: `trace.explain("w5")`. `depth` None opens all."""
        from bptrace.report.explain import explain
        from bptrace.writers.explain_text import explain_lines

        try:
            made = explain(self, quantity, iteration=iteration, depth=depth, through=through)
        except LookupFailedError as error:
            raise UsageError(str(error)) from None
        return "\n".join(explain_lines(made))

    def diagnose(self) -> Diagnosis:
        """Where the gradient vanishes, explodes or dies: `print(trace.diagnose())`."""
        from bptrace.study.diagnosis import diagnose

        return diagnose(self)

    @cached_property
    def reconstruction(self) -> Reconstruction:
        """What the trained network makes of the picture that its data are: `trace.export("r.png")` writes it."""
        from bptrace.study.reconstruction import reconstruction

        return reconstruction(self)

    def curvature(self, iteration: int | None = None) -> Curvature:
        """The largest eigenvalue of the loss's Hessian before an iteration's update, by default the first, and
        the learning rates that follow: `print(trace.curvature())`."""
        from bptrace.study.curvature import curvature

        return curvature(self, iteration)

    def export(
        self, file: str | Path, format: str | None = None, iterations: Iterable[int] | None = None, **style: Any
    ) -> None:
        """Write the trace to a file: `trace.export("t.md")`; the format is that of the suffix.

        `iterations` are the recorded ones unless given; `style` are fields of `bptrace.export.PageStyle`.
        """
        from bptrace.export import PageStyle, chunks, format_of
        from bptrace.files import write_file

        chosen = self.recorded if iterations is None else list(iterations)
        kind = format_of(file, format, "markdown")
        write_file(file, chunks(self, kind, chosen, PageStyle(**style)), inputs=self.spec.files)

    def text(self, format: str = "text", iterations: Iterable[int] | None = None, **style: Any) -> str:
        """The trace in a format, as one text."""
        from bptrace.export import PageStyle, chunks, format_of

        chosen = self.recorded if iterations is None else list(iterations)
        pieces = chunks(self, format_of(None, format, format), chosen, PageStyle(**style))
        return "".join(piece for piece in pieces if isinstance(piece, str))

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """What Jupyter shows: the first and the last iteration, as text and as Markdown."""
        shown = list(dict.fromkeys([*self.recorded[:1], *self.recorded[-1:]]))
        return {"text/plain": self.text("text", shown), "text/markdown": self.text("markdown", shown)}


def output_name(node: Node) -> str:
    """The name under which results show an output: `o.y` for a layer's, else its id."""
    return next((alias for alias in reversed(node.aliases) if alias.endswith(".y")), node.id)


def plain(number: float | Decimal | Fraction) -> Any:
    """A number as the library gives it out: a float, in exact mode a Fraction."""
    from decimal import Decimal

    return float(number) if isinstance(number, Decimal) else number


def _nested(values: Values, node: Node) -> Any:
    return nested([plain(x) for x in values.flat(node)], node.shape)
