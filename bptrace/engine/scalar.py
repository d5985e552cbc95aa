"""Hand-sized networks: the formulas as generated straight-line Python.

Every element of every node becomes one local variable, `v` and its place in the row, and an iteration
is written into its row by a single `pack_into`. For a few dozen parameters this is several times as
fast as any array library, whose every call costs more than the arithmetic of a whole layer.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from bptrace.engine.layout import Layout, changing_nodes, is_table, state_leaves
from bptrace.engine.values import indices, position
from bptrace.formula.drawn import drawn_numbers
from bptrace.formula.evaluate import largest
from bptrace.formula.expr import Number, Ref
from bptrace.formula.python import FUNCTIONS, PythonWriter, TooLongError, literal
from bptrace.graph.node import Node
from bptrace.graph.op import formula_of

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly
    from bptrace.engine.array import ArrayEngine

MOST_PRODUCTS = 100
"""Trainable elements times samples up to which this engine is the faster one."""
MOST_STORED = 1_500
MOST_TERMS = 3_000
"""Elements, and elements read by formulas, up to which code is generated at all."""


def fits(assembly: Assembly) -> bool:
    """Whether a graph is hand-sized, as far as can be told without writing its code."""
    products = assembly.samples * sum(node.size for node in assembly.trainable)
    return products <= MOST_PRODUCTS and sum(node.size for node in assembly.graph.nodes) <= MOST_STORED


class ScalarEngine:
    """Runs iterations of one graph by generated code.

    `constant` are the samples of every iteration; without it the data are read anew each time. An
    iteration in which Python raises (an overflow, a division by zero) is handed to the array engine,
    whose arithmetic goes on with infinities as IEEE and NumPy do; `handed_over` counts these.

    Raises `TooLongError` where the code would be too long to be worth it.
    """

    name = "scalar"

    def __init__(
        self,
        assembly: Assembly,
        layout: Layout,
        constant: Sequence[int] | None,
        fallback: Callable[[], ArrayEngine],
    ) -> None:
        self.layout = layout
        self.state: Sequence[float] = ()
        self.handed_over = 0
        self._fallback = fallback
        self._tables = [assembly.tables[n.id] for n in assembly.graph.nodes if is_table(assembly, n)]
        self._constant = constant is not None
        self._code = _Code(assembly, layout, constant)
        self._row_bytes = layout.bytes
        self._loaded: dict[int, tuple[float, ...]] = {}
        self._compiled: dict[bool, Any] = {}

    def run(self, batches: Sequence[Sequence[int]], chunk: Any, start: int, losses: list[float | None]) -> None:
        """Run an iteration a batch; rows go to `chunk` from its number `start` on, or nowhere (None)."""
        recorded = chunk is not None
        step = self._compile(recorded)
        loss = self._code.loss
        data = batches if self._constant else [self._load(batch) for batch in batches]
        done = 0
        while done < len(batches):
            first = 8 * start + done * self._row_bytes
            places = range(first, first + (len(batches) - done) * self._row_bytes, self._row_bytes)
            found: list[float | None] = []
            count, self.state = step(self.state, chunk, places, data[done:] if done else data, found.append)
            if recorded:
                size = self.layout.row
                at = start + done * size
                losses.extend([None] * count if loss is None else chunk[at + loss : at + count * size : size])
            else:
                losses.extend(found)
            done += count
            if done < len(batches):
                other = self._fallback()
                other.state = self.state
                other.run([batches[done]], chunk, start + done * self.layout.row, losses)
                self.state = other.state
                self.handed_over += 1
                done += 1

    def _load(self, batch: Sequence[int]) -> tuple[float, ...]:
        key = batch.start if isinstance(batch, range) else None  # all ranges have the same length
        if key is not None and key in self._loaded:
            return self._loaded[key]
        loaded = tuple(x for table in self._tables for x in table.values(batch))
        if key is not None:
            self._loaded[key] = loaded
        return loaded

    def _compile(self, recorded: bool) -> Callable[..., tuple[int, Sequence[float]]]:
        if recorded not in self._compiled:
            self._compiled[recorded] = self._code.compile(recorded)
        return self._compiled[recorded]  # type: ignore[no-any-return]


class _Code:
    """The source of one iteration.

    `before` are the statements that no iteration changes, `inside` those of an iteration, `update`
    the new state; `row` has a name or a literal for each number of the row.
    """

    def __init__(self, assembly: Assembly, layout: Layout, constant: Sequence[int] | None) -> None:
        self.layout = layout
        self.names: dict[Node, list[str]] = {}
        self.before: list[str] = []
        graph = assembly.graph
        self.data: list[str] = []
        for node in graph.nodes:
            values = graph.values.get(node)
            if node in graph.carry:
                self.names[node] = self._slots(node)
            elif is_table(assembly, node):
                if constant is not None:
                    self.names[node] = [literal(x) for x in assembly.tables[node.id].values(constant)]
                else:
                    self.names[node] = [f"d{len(self.data) + k}" for k in range(node.size)]
                    self.data += self.names[node]
            elif values is not None:
                self.names[node] = [literal(x) for x in values]
        leaves = state_leaves(graph)
        self.targets = [graph.carry[leaf] for leaf in leaves]
        self.read = {operand for node in graph.nodes for operand in node.inputs}
        self.writer = PythonWriter(self._name, MOST_TERMS)
        changing = changing_nodes(assembly, constant is None)
        for node in graph.nodes:
            if node not in changing:
                self._compute(node)
        self.before, self.writer.lines = self.writer.lines, []
        self.writer.forget()
        for node in graph.nodes:
            if node in changing and (node not in self.targets or node in self.read):
                self._compute(node)
        self.inside, self.writer.lines = self.writer.lines, []
        kept = [node for node, place in layout.offsets.items() if place >= layout.begin]
        self.row = [name for node in kept for name in self.names[node]]
        loss = layout.offsets.get(graph.loss) if graph.loss is not None else None
        self.loss = None if loss is None else loss - layout.begin
        self.loss_name = self.names[graph.loss][0] if graph.loss is not None else "None"
        self._update(leaves)

    def _slots(self, node: Node) -> list[str]:
        if node in self.layout.offsets:
            first = self.layout.offsets[node]
            return [f"v{first + k}" for k in range(node.size)]
        return [f"n{len(self.names)}_{k}" for k in range(node.size)]

    def _name(self, ref: Ref) -> str:
        return self.names[ref.node][position(ref.node.shape, ref.index)]

    def _compute(self, node: Node) -> None:
        if node.inline or node in self.names:
            return
        slots, names = self._slots(node), []
        for slot, index in zip(slots, indices(node.shape), strict=True):
            formula = formula_of(node, index)
            text = self.writer.write(formula)
            if isinstance(formula, Number) or text.isidentifier():
                names.append(text)  # a copy needs no variable of its own
            else:
                self.writer.lines.append(f"{slot} = {text}")
                names.append(slot)
        self.names[node] = names

    def _update(self, leaves: list[Node]) -> None:
        """The new state. It takes the place of the old one at once where no later formula reads
        the old one and nothing can raise half way; else all is worked out first."""
        self.state = [name for leaf in leaves for name in self.names[leaf]]
        self.writer.risky = False
        made: list[str] = []
        reads: list[set[str]] = []
        writer = self.writer
        for target in self.targets:
            for k, index in enumerate(indices(target.shape)):
                if target in self.names:
                    made.append(self.names[target][k])
                    reads.append({made[-1]})
                    continue
                found: set[str] = set()
                writer.name = lambda ref, found=found: _noted(self._name(ref), found)  # type: ignore[misc]
                made.append(writer.write(formula_of(target, index)))
                reads.append(found)
        writer.name = self._name
        later: set[str] = set()
        clash = writer.risky or bool(writer.lines)
        for name, read in zip(reversed(self.state), reversed(reads), strict=True):
            clash = clash or name in later
            later |= read
        pairs = list(zip(self.state, made, strict=True))
        if clash:
            fresh = [f"u{k}" for k in range(len(pairs))]
            self.update = [f"{u} = {text}" for u, (_, text) in zip(fresh, pairs, strict=True)]
            self.update += [f"{name} = {u}" for u, (name, _) in zip(fresh, pairs, strict=True)]
            self.update = writer.lines + self.update
        else:
            self.update = [f"{name} = {text}" for name, text in pairs if name != text]

    def compile(self, recorded: bool) -> Callable[..., tuple[int, Sequence[float]]]:
        """The function `run(state, chunk, places, data, keep)`; with `recorded` it writes rows."""
        state = f"({', '.join(self.state)}{',' if self.state else ''})"
        streams = {f"drawn{k}": part for k, part in enumerate(self.writer.streams.items())}
        functions = [*dict.fromkeys(FUNCTIONS.values()), "pow", "pack", *streams]
        each = f"place, ({', '.join(self.data)},) in zip(places, data)" if self.data else "place in places"
        keep = f"pack(chunk, place, {', '.join(self.row)})" if recorded else f"keep({self.loss_name})"
        source = [
            f"def run(state, chunk, places, data, keep, {', '.join(f'{f}={f}' for f in functions)}):",
            f" {state} = state",
            " place = -1",
            " try:",
            *(f"  {line}" for line in self.before),
            f"  for {each}:",
            *(f"   {line}" for line in (*self.inside, keep, *self.update)),
            " except (ArithmeticError, ValueError):",
            f"  return (places.index(place) if place >= 0 else 0), {state}",
            f" return len(places), {state}",
        ]
        pack = struct.Struct(f"{self.layout.row}d").pack_into
        scope: dict[str, Any] = {
            name: getattr(math, name) for name in (*FUNCTIONS.values(), "pow") if hasattr(math, name)
        }
        scope |= {name: partial(drawn_numbers, *part) for name, part in streams.items()}
        scope |= {"abs": abs, "max": max, "min": min, "largest": largest, "pack": pack, "__builtins__": _BUILTINS}
        exec(compile("\n".join(source), "<bptrace iteration>", "exec"), scope)
        return scope["run"]  # type: ignore[no-any-return]


_BUILTINS = {
    "zip": zip, "len": len, "float": float, "ArithmeticError": ArithmeticError, "ValueError": ValueError,
}  # fmt: skip


def _noted(name: str, found: set[str]) -> str:
    found.add(name)
    return name


__all__ = ["ScalarEngine", "TooLongError", "fits"]
