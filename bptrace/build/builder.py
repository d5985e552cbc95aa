"""The builder: what layers use to put their nodes into the graph.

It knows the data, the conventions and the outputs of the layers built so far, and collects every
problem with its place in the YAML, so that all are reported at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from bptrace.build.data import Table
from bptrace.build.initial import Drawer, Fan
from bptrace.build.names import LayerNames, common_prefix
from bptrace.errors import Problem
from bptrace.graph.graph import Graph
from bptrace.graph.node import Node, Own, Shape, Updated
from bptrace.graph.op import Op
from bptrace.layers.base import LayerSpec, Path
from bptrace.ops.activations import FROM_ARGUMENT, Identity, Unary
from bptrace.ops.shaping import Concat
from bptrace.ops.softmax import AlongAxis
from bptrace.spec.base import shape_of

if TYPE_CHECKING:
    from bptrace.spec.load import Spec

LARGEST_PARAMETER = 50_000_000
"""Elements of one parameter (400 MB) above which a network is refused before any allocation."""


WORDS = {"weights": "weights", "recurrent": "weights", "bias": "bias", "recurrent_bias": "bias", "threshold": "bias"}
"""What kind of parameter the parts of a layer are."""


class Builder:
    """Builds one graph, for one batch size (`samples`)."""

    def __init__(self, spec: Spec, samples: int, *, inference: bool = False) -> None:
        self.spec = spec
        self.inference = inference
        self.network = spec.network
        self.conventions = spec.network.conventions
        self.samples = samples
        self.total = samples  # the rows of all data, of which a batch has `samples`
        self.graph = Graph()
        self.problems: list[Problem] = []
        self.outputs: dict[str, Node] = {}
        self.layers: dict[str, LayerSpec] = {}  # every layer by name, those within blocks too
        self.names_by_place: dict[Path, str] = {}
        self.unit_names: dict[str, tuple[str, ...]] = {}
        self.parameters: dict[str, dict[str, Node]] = {}
        self.tables: dict[str, Table] = {}
        self.states: list[Node] = []
        self.ends: dict[str, Node] = {}  # the last computed states of recurrent layers: `rnn.h`, `rnn.reverse.h`
        self.trainable: list[Node] = []
        self.held: list[Node] = []
        self.drawn: list[str] = []
        self.titles: dict[str, dict[str, Any]] = {}
        # add the 0/1 nodes that only derivatives read, under names of their layers (`pool.argmax`)
        self.branches: list[Callable[[], None]] = []
        # add what a layer keeps for later iterations, after the updates of the parameters
        self.updates: list[Callable[[], None]] = []
        self.drawer = Drawer(self.network.seed, self.network.initializer)
        self.columns = self.conventions.sample_axis == "columns"
        self.delta_factor = self._delta_factor()

    def _delta_factor(self) -> int:
        """What the conventions multiply a delta with: -1 for errors, N for a sample's own."""
        sign = -1 if self.conventions.delta_sign == "error" else 1
        means = all(loss.reduction != "sum" and loss.type != "sum" for loss in self.network.loss)
        each = self.conventions.delta_scale == "sample" and means and self.network.loss
        return sign * (self.samples if each else 1)

    def problem(self, path: Path, message: str, expected: str = "", known: Iterable[str] = (), got: str = "") -> None:
        """Note a mistake at a place of the YAML."""
        self.problems.append(self.spec.problem(path, message, expected, known, got))

    def convention(self, name: str, layer: LayerSpec) -> str:
        """A convention, which a layer may set for itself."""
        own = getattr(layer, name, None)
        return str(own if own is not None else getattr(self.conventions, name))

    def stack(self, layers: Sequence[LayerSpec], path: Path, source: Node) -> Node | None:
        """Build the layers of a list, each on the one before; `path` is the list's place in the YAML.

        Returns the output of the last one, or None after a mistake, which what follows would only repeat.
        """
        previous = source
        for k, layer in enumerate(layers):
            found = self._layer(layer, (*path, k), previous)
            if found is None:
                return None
            previous = found
        return previous

    def _layer(self, layer: LayerSpec, path: Path, previous: Node) -> Node | None:
        name = self.names_by_place[path]
        source = self.source(layer, path, previous)
        before = len(self.problems)
        title = {**layer.title(self, name), "inputs": source.shape[0 if self.columns else -1]}
        activation = layer.activation if layer.activation is not None else getattr(layer, "function", None)
        title.setdefault("activation", activation.name if activation is not None else "identity")
        try:
            output = layer.build(self, name, path, source)
        except ValueError as error:
            self.problem(path, str(error))
        if len(self.problems) > before:
            return None
        self.titles[name] = title
        self.outputs[name] = output
        if output.inline:
            self.graph.views.add(output)
        return output

    def names(self, layer: LayerSpec, path: Path, parts: tuple[str, ...]) -> LayerNames:
        """The layer's `names`, refusing those of parts that it does not have."""
        for part in layer.names:
            if part not in parts:
                self.problem((*path, "names", part), f"{layer.type} has no part '{part}'", known=parts, got=part)

        def complain(part: str, message: str, expected: str) -> None:
            self.problem((*path, "names", part), message, expected)

        return LayerNames(layer.names, complain)

    def parameter(
        self,
        layer: LayerSpec,
        name: str,
        part: str,
        sign: str,
        shape: Shape,
        axes: tuple[str, ...],
        path: Path,
        *,
        fan: Fan,
        given: Any = ...,
        at: Path | None = None,
        prefix: str = "",
        symbol: str = "",
    ) -> Node:
        """A parameter of a layer: given, filled by a number, drawn, or shared with another layer.

        Of a part that holds several (the gates of an lstm) `given` is this one's value (None where the
        YAML has none), which stands at `at`; `prefix` goes before its sign in the id. `symbol` is written
        for it where that is not its sign.
        """
        key = part if given is ... else f"{prefix}{sign}"
        at = at or (*path, part)
        if layer.share:
            return self._shared(layer, key, shape, path)
        id = f"{name}.{prefix}{sign}"
        size = 1
        for extent in shape:
            size *= extent
        given = getattr(layer, part, None) if given is ... else given
        if isinstance(given, bool):
            given = None
        if size > LARGEST_PARAMETER:
            text = "×".join(map(str, shape))
            self.problem(at, f"{id} would have {text} = {size:,} elements", f"at most {LARGEST_PARAMETER:,}")
            size, shape = 0, (0,) * len(shape)
        if given is None:
            values = self._drawn(id, shape, fan, part, layer, path)
            self.drawn.append(id)
        elif isinstance(given, float):
            values = [given] * size
        elif shape_of(given) != shape:
            expected = f"the shape {list(shape)} ({', '.join(axes)})" if shape else "one number"
            self.problem(at, f"the shape is {list(shape_of(given))}", expected)
            values = [0.0] * size
        else:
            values = _leaves(given)
        names = LayerNames(layer.names, lambda p, m, e: self.problem((*path, "names", p), m, e)).flat(key, shape)
        trainable = layer.trainable if isinstance(layer.trainable, bool) else layer.trainable.get(part, True)
        element = common_prefix(names, "θ" if part == "threshold" else symbol or sign) if names else symbol or sign
        array = symbol or (sign if part != "threshold" else "θ")
        word = WORDS.get(part, "parameter")
        node = self.graph.leaf(
            id,
            shape,
            values,
            phase="parameter",
            symbol=Own(array, element),
            axes=axes,
            names=names,
            layer=name,
            word=word,
        )
        self.graph.name_elements(node)
        self.parameters.setdefault(name, {})[key] = node
        (self.trainable if trainable else self.held).append(node)
        if len(set(names)) < len(names) and trainable and shape:
            self.problem(
                (*path, "names", key), "one name for several elements that are trained apart",
                "a name each, or hold them (trainable), or tie them (shared_bias)",
            )  # fmt: skip
        return node

    def _drawn(self, id: str, shape: Shape, fan: Fan, part: str, layer: LayerSpec, path: Path) -> list[float]:
        try:
            return self.drawer.draw(id, shape, fan, part not in ("weights", "recurrent"), layer.initializer)
        except ValueError as error:
            at = (*path, "initializer") if layer.initializer is not None else ("initializer",)
            self.problem(at, f"{id}: {error}", "another type")
            return [0.0] * math.prod(shape)

    def state(self, id: str, shape: Shape, given: Any, at: Path, **rest: Any) -> Node:
        """The leaf of a layer's initial state (samples, units): a number, one row for all, or a row a sample.

        A row a sample is data, so that a batch takes its own.
        """
        values: list[float] | None = None
        if isinstance(given, float):
            values = [given] * (shape[0] * shape[1])
        elif shape_of(given) == shape[1:]:
            values = _leaves(given) * shape[0]
        elif shape_of(given) == (self.total, shape[1]):
            self.tables[id] = Table(id, "state", [_leaves(row) for row in given], shape[1:])
        else:
            expected = f"a number, the shape [{shape[1]}] (units) or [{self.total}, {shape[1]}] (samples, units)"
            self.problem(at, f"the shape is {list(shape_of(given))}", expected)
        node = self.graph.leaf(id, shape, values, phase="data", **rest)
        self.states.append(node)
        return node

    def like(self, id: str, subject: Node, given: Any, at: Path, **rest: Any) -> Node:
        """A data leaf in the shape of a node: a number, one row for all samples (of a sequence one for all
        time steps too), or a row a sample.

        A row a sample is data, so that a batch takes its own.
        """
        sample = subject.axes.index("sample") if "sample" in subject.axes else 0
        one = subject.shape[:sample] + subject.shape[sample + 1 :]
        whole = (*one[:sample], self.total, *one[sample:])
        values: list[float] | None = None
        if isinstance(given, float):
            values = [given] * subject.size
        elif shape_of(given) == one:
            numbers, count = _leaves(given), subject.shape[sample]
            values = [number for number in numbers for _ in range(count)] if sample else numbers * count
        elif shape_of(given) == one[-1:] and subject.axes[-1] in ("unit", "input"):
            values = _leaves(given) * (subject.size // one[-1])
        elif shape_of(given) == whole:
            rows = [list(row) for row in zip(*given, strict=True)] if sample else [_leaves(row) for row in given]
            self.tables[id] = Table(id, "mask", rows, one, columns=bool(sample))
        else:
            words = ", ".join(axis for axis in subject.axes if axis != "sample")
            every = f"{list(whole)} ({', '.join(subject.axes)})"
            expected = f"a number, the shape {list(one)} ({words}) or {every}"
            self.problem(at, f"the shape is {list(shape_of(given))}", expected)
        return self.graph.leaf(id, subject.shape, values, phase="data", axes=subject.axes, **rest)

    def rows(self, leaf: Node, rows: list[list[float]]) -> None:
        """Let each batch take its samples' rows of a data leaf (samples, ...)."""
        self.tables[leaf.id] = Table(leaf.id, "mask", rows, leaf.shape[1:])

    def iteration(self) -> Node:
        """The number of the iteration, from 1: `setting.iteration`, which drawn numbers depend on."""
        from bptrace.optimizers.common import Next

        id, graph = "setting.iteration", self.graph
        if id in graph.by_id:
            return graph.by_id[id]
        leaf = graph.leaf(id, (), [1.0], phase="setting", symbol=Own("k"))

        def count_on() -> None:
            following = graph.add(f"new.{id}", Next(), leaf, phase="update", symbol=Updated(leaf), inline=True)
            graph.carry[leaf] = following

        self.updates.append(count_on)
        return leaf

    def _shared(self, layer: LayerSpec, part: str, shape: Shape, path: Path) -> Node:
        found = self.parameters.get(layer.share or "", {})
        node = found.get(part) or found.get("threshold" if part == "bias" else part)
        if node is None:
            known = tuple(self.parameters)
            self.problem(
                (*path, "share"), f"no {part} in a layer '{layer.share}' above", known=known, got=layer.share or ""
            )
            return self.graph.leaf(f"{path}.{part}", shape, [0.0], phase="parameter", symbol=Own("?"))
        if node.shape != shape:
            self.problem((*path, "share"), f"{node.id} has the shape {list(node.shape)}", f"{list(shape)}")
        return node

    def activate(self, layer: LayerSpec, name: str, z: Node, names: LayerNames, unit_names: tuple[str, ...]) -> Node:
        """The layer's activation node, or its pre-activation where it has none."""
        function = layer.activation if layer.activation is not None else getattr(layer, "function", None)
        if function is None or (isinstance(function, Identity) and z.layer == name):
            self.graph.alias(f"{name}.y", z)
            return z
        op = self.function(layer, function, len(z.shape))
        a = self.graph.add(
            f"{name}.a", op, z,
            phase="forward", symbol=Own(names.symbol("a", "a")), axes=z.axes, layer=name, word="activation",
            names=names.elements("a", "a", unit_names), quiet=self.delta_factor != 1, aliases=[f"{name}.y"],
        )  # fmt: skip
        self.graph.name_elements(a)
        return a

    def function(self, layer: LayerSpec, function: Op, rank: int) -> Op:
        """The activation with the conventions applied."""
        if self.convention("derivative_from", layer) == "pre_activation" and isinstance(function, Unary):
            return FROM_ARGUMENT.get(type(function), lambda: function)()
        if isinstance(function, AlongAxis):
            return type(function)(axis=0 if self.columns else rank - 1)
        return function

    def source(self, layer: LayerSpec, path: Path, previous: Node) -> Node:
        """What a layer reads: the layer before, or the named ones, joined along the features."""
        if layer.input is None:
            return previous
        if isinstance(layer.input, str):
            return self.named(layer.input, (*path, "input")) or previous
        found = [self.named(name, (*path, "input", k)) for k, name in enumerate(layer.input)]
        nodes = [node for node in found if node is not None]
        if len(nodes) < 2:
            return nodes[0] if nodes else previous
        id, features = "+".join(layer.input), self.features(nodes[0])
        if id in self.graph.by_id:
            return self.graph.by_id[id]
        try:
            return self.graph.add(
                id, Concat(features), *nodes, phase="forward", symbol=Own("x"), axes=nodes[0].axes,
                names=self.names_along(nodes, features), inline=True,
            )  # fmt: skip
        except ValueError as error:
            self.problem((*path, "input"), str(error), "inputs that differ in their features only")
            return nodes[0]

    def named(self, name: str, at: Path) -> Node | None:
        """The input, or the output of the layer above, that `name` at a place of the YAML stands for."""
        found = self.outputs.get(name)
        if found is None:
            self.problem(at, f"no layer or input '{name}' above", known=tuple(self.outputs), got=name)
        return found

    def names_along(self, nodes: Sequence[Node], features: int) -> tuple[str, ...]:
        """The names of all elements of some nodes, one after the other along the features, where all have one."""
        outermost = features == 0 or (features == 1 and all(node.axes[:1] == ("sample",) for node in nodes))
        if not outermost or not all(node.names for node in nodes):
            return ()
        return tuple(name for node in nodes for name in node.names)

    def features(self, node: Node) -> int:
        """The axis of the features: channels of images, the last one otherwise (the first of columns)."""
        if self.columns:
            return 0
        return node.axes.index("channel") if "channel" in node.axes else len(node.shape) - 1


def _leaves(value: Any) -> list[float]:
    return [number for item in value for number in _leaves(item)] if isinstance(value, list) else [value]
