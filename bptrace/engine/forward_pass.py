"""A forward pass over any rows of the data, as the network is used after training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bptrace.engine.final import at_parameters
from bptrace.engine.layout import Layout, forward_nodes, state_leaves

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly
    from bptrace.engine.array import ArrayEngine
    from bptrace.graph.node import Node
    from bptrace.network import Network

Array = Any


class ForwardPass:
    """The forward pass over `rows` (from 0); `whole` is the graph of training, whose state `run` is given."""

    def __init__(self, network: Network, rows: Sequence[int], whole: Assembly) -> None:
        from bptrace.engine.array import ArrayEngine

        self._rows = rows
        self._whole = whole
        self.assembly = network.assembly(len(rows), inference=True)
        graph = self.assembly.graph
        # what training changes and this graph only reads (running means) is carried along too
        for leaf in state_leaves(whole.graph):
            here = graph.by_id.get(leaf.id)
            if here is not None and here not in graph.carry:
                graph.carry[here] = here
        layout = Layout(self.assembly, forward_nodes(graph))
        self._engine: ArrayEngine = ArrayEngine(self.assembly, layout, rows)
        self._chunk = memoryview(bytearray(8 * max(1, layout.size))).cast("d")
        self._layout = layout
        places, start = {}, 0
        for leaf in state_leaves(whole.graph):
            places[leaf.id] = (start, start + leaf.size)
            start += leaf.size
        self._state = [places[leaf.id] for leaf in state_leaves(graph) if leaf in layout.offsets]

    def run(self, state: Sequence[float]) -> tuple[float | None, Array]:
        """The loss, and the outputs with their samples first and their channels last."""
        from bptrace.engine.values import Values

        if self._state:
            settled = at_parameters(self._whole, state)
            self._engine.state = [x for start, stop in self._state for x in settled[start:stop]]
        self._engine.run([self._rows], self._chunk, 0, [])
        graph = self.assembly.graph
        values = Values(self._layout, self._rows, self._chunk)
        loss = None if graph.loss is None else float(values.flat(graph.loss)[0])
        return loss, _rows_first(values.flat(graph.outputs[0]), graph.outputs[0])


def _rows_first(numbers: Sequence[float], node: Node) -> Array:
    import numpy

    array = numpy.array(numbers, dtype=float).reshape(node.shape)
    if "sample" in node.axes:
        array = numpy.moveaxis(array, node.axes.index("sample"), 0)
    if "channel" in node.axes[1:]:
        array = numpy.moveaxis(array, node.axes.index("channel"), -1)
    return array
