"""The whole graph of a network for one batch size: forward, loss, backward, update, tangents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from bptrace.build.builder import Builder
from bptrace.build.data import DataRows, Parts, Table, data_rows
from bptrace.build.losses import Losses
from bptrace.build.names import common_prefix
from bptrace.errors import Problem, SpecError
from bptrace.graph.forward import add_tangents
from bptrace.graph.graph import Graph
from bptrace.graph.lookup import LookupFailedError, find
from bptrace.graph.node import Applied, Derivative, Node, Own
from bptrace.graph.op import Op, Term
from bptrace.graph.reverse import Reverse
from bptrace.ops.arithmetic import copy_of, scaled, split
from bptrace.ops.leaves import Fill, Leaf
from bptrace.optimizers.base import Updates
from bptrace.spec.base import shape_of
from bptrace.spec.nesting import named_layers

if TYPE_CHECKING:
    from bptrace.layers.base import LayerSpec
    from bptrace.spec.load import Spec

LARGEST_SHOWN_INPUT_GRADIENT = 10_000
"""Elements of the data above which its gradient is only computed when it is asked for."""


@dataclass
class Assembly:
    """A graph with what the run and the page need to know about how it came about.

    `tables` are the data by name, all rows of them, and `data` how they came about; `samples` is how
    many rows this graph reads at a time. `trainable` and `held` are the parameters; `drawn` the ids of
    those that the YAML does not give; `titles` what the heading of each layer says; `layers` the fields of
    every layer by name, those within blocks too.
    """

    graph: Graph
    tables: dict[str, Table]
    samples: int
    trainable: list[Node]
    held: list[Node]
    drawn: list[str]
    titles: dict[str, dict[str, Any]]
    unit_names: dict[str, tuple[str, ...]]
    settings: list[Node] = field(default_factory=list)
    top: Node | None = None
    data: DataRows = field(default_factory=lambda: DataRows({}, Parts(range(1))))
    layers: dict[str, LayerSpec] = field(default_factory=dict)

    @property
    def parts(self) -> Parts:
        """Which rows of the data are trained on, validated and tested with."""
        return self.data.parts


def assemble(
    spec: Spec, samples: int | None = None, *, extra: tuple[str, ...] = (), inference: bool = False
) -> Assembly:
    """Build the graph for a batch of `samples` rows (all that are trained on where None).

    `extra` are ids whose gradient is wanted although it is large (`--only grad.x`); with `inference`
    layers that behave otherwise in training (dropout, batch norm) are built as they are used afterwards.
    Raises `SpecError` with every problem of shapes, names and references.
    """
    problems: list[Problem] = []
    _check_mask(spec, problems)
    data = data_rows(spec, problems)
    found = data.tables
    count = len(next(iter(found.values())).rows) if found else 1
    parts = data.parts
    builder = Builder(spec, len(parts.training) if samples is None else samples, inference=inference)
    builder.problems, builder.tables, builder.total = problems, found, count
    _Assembler(builder, found, extra).run()
    if builder.problems:
        raise SpecError(sorted(builder.problems, key=lambda problem: (problem.line, problem.column)))
    return Assembly(
        builder.graph, found, builder.samples, builder.trainable, builder.held, builder.drawn, builder.titles,
        builder.unit_names,
        [node for node in builder.graph.nodes if node.phase == "setting"],
        builder.graph.loss,
        data,
        builder.layers,
    )  # fmt: skip


def _check_mask(spec: Spec, problems: list[Problem]) -> None:
    """What a mask from the Fisher information needs of the rest of the network."""
    optimizer = spec.network.optimizer
    if optimizer is not None and optimizer.mask is not None and optimizer.mask.from_data:
        from bptrace.optimizers.fisher import task_complaints  # few networks have such a mask

        problems += [spec.positions.complaint(complaint) for complaint in task_complaints(spec.network)]


class _Assembler:
    def __init__(self, builder: Builder, found: dict[str, Table], extra: tuple[str, ...]) -> None:
        self.builder = builder
        self.graph = builder.graph
        self.network = builder.network
        self.tables = found
        self.extra = extra
        self.inputs: list[Node] = []
        self.ahead: list[Node] = []  # where the gradient is taken instead of at the parameters

    def run(self) -> None:
        builder = self.builder
        output = self._graph_network() if self.network.graph else self._layers()
        if builder.problems or output is None:
            return
        losses = Losses(builder, self.tables)
        loss = losses.add(output)
        if builder.problems:
            return
        self.graph.outputs = self._outputs(output)
        forward = set(self.graph.nodes)
        if loss is not None or self.network.upstream or self.network.tangents != "none":
            for add in builder.branches:
                add()
        self._backward(output, loss, losses.bypass)
        for add in builder.updates:
            add()
        forward.update(self.ahead)
        self._tangents([node for node in self.graph.nodes if node in forward])
        self.graph.prune()

    # forward

    def _data(self, name: str, table: Table, default: str) -> Node:
        """The leaf of one input array, a row a sample."""
        shape = (*table.shape, self.builder.samples) if table.columns else (self.builder.samples, *table.shape)
        words = {0: (), 1: ("input",), 2: ("time", "input"), 3: ("channel", "row", "column")}
        rest = words.get(len(table.shape), tuple(f"axis{k + 1}" for k in range(len(table.shape))))
        axes = (*rest, "sample") if table.columns else ("sample", *rest)
        names = table.names * (len(table.rows[0]) // max(1, len(table.names))) if table.names else ()
        node = self.graph.leaf(
            name, shape, None, phase="data", symbol=Own(common_prefix(table.names, default)), axes=axes, names=names
        )
        self.graph.name_elements(node)
        self.inputs.append(node)
        self.builder.outputs[name] = node
        return node

    def _layers(self) -> Node | None:
        builder = self.builder
        inputs = [table for table in self.tables.values() if table.kind == "inputs"]
        if not inputs:
            builder.problem(("layers",), "there are no data to put in", "data: {inputs: [[...]]}")
            return None
        previous, *_ = [self._data(table.name, table, table.name) for table in inputs]
        return builder.stack(self.network.layers, ("layers",), previous) if self._name_layers() else None

    def _name_layers(self) -> bool:
        """Give every layer its name; False where one stands for something else."""
        builder, before = self.builder, len(self.builder.problems)
        for name, path, layer in named_layers(self.network.layers):
            if name in builder.layers or name in builder.outputs:
                builder.problem((*path, "name"), f"the name '{name}' is taken", "a name of its own")
            builder.layers[name] = layer
            builder.names_by_place[path] = name
        return len(builder.problems) == before

    def _graph_network(self) -> Node | None:
        builder = self.builder
        for name, value in self.network.inputs.items():
            if isinstance(value, str):
                table = self._rows_for(name)
                if table is None:
                    return None
                self.tables[name] = table  # a run finds the rows of a data leaf by its id
                node = self._data(name, table, name)
                continue
            shape = shape_of(value)
            node = self.graph.leaf(
                name, shape, _flat(value), phase="data", symbol=Own(name), axes=_axes(shape), word="input"
            )
            self.inputs.append(node)
            builder.outputs[name] = node
        for name, value in self.network.parameters.items():
            shape = shape_of(value)
            node = self.graph.leaf(
                name, shape, _flat(value), phase="parameter", symbol=Own(name), axes=_axes(shape), word="parameter"
            )
            builder.outputs[name] = node
            builder.trainable.append(node)
        from bptrace.build.expressions import build_graph  # not needed for layers

        build_graph(builder)
        if builder.problems:
            return None
        name = self.network.output or list(self.network.graph)[-1]
        if name not in builder.outputs:
            builder.problem(("output",), f"no expression '{name}'", known=tuple(self.network.graph), got=name)
            return None
        return builder.outputs[name]

    def _rows_for(self, name: str) -> Table | None:
        """The rows that `inputs: {x: data}` stands for."""
        table = self.tables.get(name) or self.tables.get("x")
        if table is None:
            self.builder.problem(("inputs", name), f"no data for '{name}'", "data: {inputs: [[...]]}")
        return table

    def _outputs(self, output: Node) -> list[Node]:
        """What the result shows: the outputs that the losses judge, else the last one."""
        judged = [self.builder.outputs[loss.of] for loss in self.network.loss if loss.of]
        return list(dict.fromkeys(judged)) or [output]

    # backward and update

    def _backward(self, output: Node, loss: Node | None, bypass: Mapping[Node, tuple[Node, Op]]) -> None:
        seeds: dict[Node, Term] = {}
        top = loss
        if loss is not None:
            seeds[loss] = (Fill(), ())
        given = self._upstream()
        for node, term in given.items():
            seeds[node] = _added(seeds[node], term) if node in seeds else term
        if top is None and not given and self.network.graph and not output.shape:
            seeds[output] = (Fill(), ())
            top = output
            if "loss" not in self.graph.by_id:
                self.graph.alias("loss", output)
            self.graph.loss = output
        if not seeds:
            return
        if top is None:
            top = Node("E", Leaf(), (), (), "loss", symbol=Own("E"))
        wanted = [*self.builder.trainable, *self._wanted_inputs()]
        sequential = self.network.conventions.update_order == "sequential"
        optimizer = self.network.optimizer
        seed = self.network.seed
        updates = Updates(self.graph, optimizer, self.builder.trainable, sequential, seed) if optimizer else None
        if updates is not None:
            moved = updates.look_ahead()
            self.ahead = list(moved.values())
            bypass = {terms: (moved.get(z, z), op) for terms, (z, op) in bypass.items()}

        def update(leaf: Node, gradient: Node) -> None:
            if updates is not None and leaf in self.builder.trainable and leaf not in updates.carry:
                updates.add(leaf, gradient)

        reverse = Reverse(
            self.graph, top, wanted,
            read=(lambda node: updates.carry.get(node, node)) if sequential and updates else (lambda node: node),
            done=update if sequential else (lambda leaf, gradient: None),
            bypass=bypass,
        )  # fmt: skip
        gradients = reverse.run(seeds)
        for node in self.graph.nodes:
            if node.phase == "backward" and node.names:
                self.graph.name_elements(node)
        self._witness(gradients, reverse.bypass)
        if updates is not None:
            updates.know({leaf: gradients[leaf] for leaf in self.builder.trainable if leaf in gradients})
        for leaf in self.builder.trainable:
            if leaf in gradients:
                update(leaf, gradients[leaf])
        if updates is not None:
            updates.finish()
            self.graph.carry.update(updates.carry)
            for complaint in updates.complaints:
                self.builder.problems.append(self.builder.spec.positions.complaint(complaint.under("optimizer")))

    def _wanted_inputs(self) -> list[Node]:
        """The data and initial states whose gradient is computed: those that are not too large, or asked for."""
        return [
            node
            for node in (*self.inputs, *self.builder.states)
            if node.size <= LARGEST_SHOWN_INPUT_GRADIENT or f"grad.{node.id}" in self.extra
        ]

    def _upstream(self) -> dict[Node, Term]:
        """Gradients that arrive from outside the network."""
        seeds: dict[Node, Term] = {}
        for id, value in self.network.upstream.items():
            path = ("upstream", id)
            try:
                node, element = find(self.graph, id)
            except LookupFailedError as error:
                self.builder.problem(path, str(error), known=error.known, got=id)
                continue
            if element is not None and node.size > 1:
                self.builder.problem(path, f"{id} is one element", f"the whole of it: {node.id}")
                continue
            if isinstance(value, float):
                seeds[node] = (Fill(Fraction(repr(value)), node.shape, repr(value).removesuffix(".0")), ())
                continue
            if shape_of(value) != node.shape and shape_of(value) != node.shape[1:]:
                self.builder.problem(
                    path,
                    f"the shape is {list(shape_of(value))}",
                    f"the shape {list(node.shape)} of {node.id}, or one number",
                )
                continue
            repeat = node.size // max(1, len(_flat(value)))
            leaf = self.graph.leaf(
                f"upstream.{node.id}", node.shape, _flat(value) * repeat, phase="data", symbol=Own("upstream"),
                axes=node.axes, layer=node.layer, word="arriving",
            )  # fmt: skip
            seeds[node] = copy_of(leaf)
        return seeds

    def _witness(self, gradients: Mapping[Node, Node], bypass: Mapping[Node, tuple[Node, Op]]) -> None:
        """The long way round a fused delta: by the derivative of the activation's result."""
        for terms, (z, _) in bypass.items():
            if terms not in gradients or z not in gradients or f"grad.{z.id}/{terms.id}" in self.graph.by_id:
                continue  # δ has other parts too
            y = terms.inputs[1]
            witness = f"check.{z.delta.id if z.delta else f'grad.{z.id}'}"
            factor, base = split(gradients[terms])

            def emit(op: Op, *inputs: Node, inline: bool = True, owner: Node = y, block: str = witness) -> Node:
                id = f"~{len(self.graph.nodes)}" if inline else f"local.{owner.id}"
                return self.graph.add(
                    id, op, *inputs, phase="check", symbol=Applied(f"{owner.op.symbol()}'", owner.inputs[0]),
                    axes=owner.axes, inline=inline, block=block, layer=owner.layer,
                )  # fmt: skip

            term = terms.op.vjp(emit, terms, 1, base, lambda node: node)
            assert term is not None and self.graph.loss is not None
            op, inputs = scaled(emit, factor, term)
            long = self.graph.add(
                f"grad.{y.id}" if f"grad.{y.id}" not in self.graph.by_id else f"check.{y.id}", op, *inputs,
                phase="check", symbol=Derivative(self.graph.loss, y), axes=y.axes, layer=y.layer,
                block=witness, word="passed_back",
            )  # fmt: skip
            chained = y.op.vjp(emit, y, 0, long, lambda node: node)
            assert chained is not None
            delta = z.delta
            if delta is not None and delta.factor != 1:
                chained = scaled(emit, Fraction(delta.factor), chained)
            self.graph.add(
                witness, chained[0], *chained[1],
                phase="check", symbol=Own("δ"), axes=z.axes, names=delta.names if delta else (), layer=z.layer,
                block=witness, word="witness",
            )  # fmt: skip

    # forward mode

    def _tangents(self, forward: list[Node]) -> None:
        wanted = self.network.tangents
        if wanted == "none":
            return
        ids = [node.id for node in self.inputs] if wanted == "inputs" else list(wanted)
        for k, id in enumerate(ids):
            try:
                node, element = find(self.graph, id)
            except LookupFailedError as error:
                self.builder.problem(("tangents", k), str(error), known=error.known, got=id)
                continue
            places = [element] if element is not None else list(range(node.size))
            for place in places:
                index = _unflat(place, node.shape)
                label = id if element is not None or not node.shape else f"{id}[{','.join(str(i + 1) for i in index)}]"
                add_tangents(self.graph, forward, node, index, label)


def _added(first: Term, second: Term) -> Term:
    """Two cotangents of one number as one: the loss's own 1 and what `upstream` adds to it."""
    (one, _), (other, _) = first, second
    assert isinstance(one, Fill) and isinstance(other, Fill)
    return Fill(one.value + other.value), ()


def _axes(shape: tuple[int, ...]) -> tuple[str, ...]:
    words = {0: (), 1: ("place",), 2: ("row", "column")}
    return words.get(len(shape), tuple(f"axis{k + 1}" for k in range(len(shape))))


def _flat(value: Any) -> list[float]:
    return [number for item in value for number in _flat(item)] if isinstance(value, list) else [value]


def _unflat(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    index: list[int] = []
    for extent in reversed(shape):
        flat, place = divmod(flat, extent)
        index.append(place)
    return tuple(reversed(index))
