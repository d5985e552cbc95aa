"""The page of a network: its sections in the order of work, made once from the graph.

Nothing here depends on numbers, so the same page serves every iteration; a writer puts in the
numbers of one iteration at a time.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from bptrace.errors import UsageError
from bptrace.formula.expr import Ref
from bptrace.graph.graph import Graph
from bptrace.graph.lookup import LookupFailedError, find, find_part
from bptrace.graph.lookup import Part as Share
from bptrace.graph.node import Node
from bptrace.report import time_steps
from bptrace.report.block_parts import Limits
from bptrace.report.blocks import Block, Given, Heading, Part, Sentence
from bptrace.report.blocks_of import Blocks
from bptrace.report.labels import Words
from bptrace.report.notation import Notation, unflat
from bptrace.report.numbers import Numbers
from bptrace.report.options import Options
from bptrace.report.shares import share_block

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly
    from bptrace.spec.models import Network
    from bptrace.trace import Trace

PHASES = ("forward", "loss", "backward", "update", "tangent")


class PageWords(Words):
    """The words together with the names that labels need."""

    def __init__(
        self, graph: Graph, language: str, units: dict[str, tuple[str, ...]], channels: dict[str, tuple[str, ...]]
    ) -> None:
        super().__init__(language)
        self.graph = graph
        self.units = units
        self.channels = channels


class Page:
    """The sections of one graph: headings and blocks."""

    def __init__(self, network: Network, assembly: Assembly, options: Options) -> None:
        self.network = network
        self.assembly = assembly
        self.options = options
        graph = assembly.graph
        channels = {
            layer: tuple(map(str, names))
            for layer, title in assembly.titles.items()
            if isinstance(names := title.get("channel_names"), list)
        }
        self.words = PageWords(graph, options.language, assembly.unit_names, channels)
        self.blocks = Blocks(self.words, Limits(options.rows, options.terms, options.net), assembly.samples)
        self.items: list[Heading | Block] = []
        self.shares: list[Share] = []  # parts of formulas that `--only` asks for
        self._build()

    def _build(self) -> None:
        chosen = self._only()
        if chosen is not None:
            self._add_given(chosen)
            self.items.extend(share_block(share, self.blocks) for share in self.shares)
        for phase in PHASES:
            if self.options.phase and phase != self.options.phase:
                continue
            groups = [g for g in self._groups(phase) if chosen is None or any(n in {c for c, _ in chosen} for n in g)]
            if not groups:
                continue
            if chosen is None and self.assembly.samples == 1 and phase in ("forward", "backward"):
                groups = time_steps.gathered(groups)
            self.items.append(Heading(self.words(f"heading_{phase}"), 1, phase))
            layer, step = "", None
            for group in groups:
                owner = group[-1].layer
                if owner != layer and owner and phase not in ("update", "loss"):
                    layer, step = owner, None
                    self.items.append(Heading(self._layer_heading(layer, phase), 2, phase, layer))
                if group[-1].step is not None and group[-1].step != step and phase in ("forward", "backward"):
                    step = group[-1].step
                    self.items.append(self._step_heading(step, phase, layer, groups))
                self.items.append(self.blocks.block(group, chosen))
            if phase == "backward" and chosen is None:
                self._add_held()

    def _add_given(self, chosen: set[tuple[Node, int]]) -> None:
        """Data, settings and parameters that were asked for: they have numbers and no working."""
        order = {node: k for k, node in enumerate(self.assembly.graph.nodes)}
        given = {node for node, _ in chosen if node.phase in ("data", "setting", "parameter")}
        for node in sorted(given, key=order.__getitem__):
            places = sorted(k for n, k in chosen if n is node)
            refs = [Ref(node, unflat(k, node.shape)) for k in places[: self.options.rows]]
            notation = Notation("")
            parts: list[Part] = [Given([(notation.element(ref), ref) for ref in refs])]
            if len(places) > len(refs):
                command = self.blocks.limits.command(node.id, "rows")
                left = len(places) - len(refs)
                parts.append(Sentence(self.words("rows_left_out", count=left, command=command)))
            self.items.append(Block(node.id, self.words(f"given_{node.phase}"), [], "", parts, nodes=[node]))

    def _groups(self, phase: str) -> list[list[Node]]:
        """The nodes of a phase that stand together, in order of work."""
        groups: dict[str, list[Node]] = {}
        hidden = self._hidden()
        witnesses: dict[str, list[Node]] = {}
        for node in self.assembly.graph.nodes:
            if node.inline or node.id in hidden or (node.phase == "backward" and node.block in hidden):
                continue
            if node.phase == phase:
                groups.setdefault(node.block, []).append(node)
            elif node.phase == "check" and phase == "backward":
                witnesses.setdefault(node.block, []).append(node)
        # a witness stands right after what it checks
        found: list[list[Node]] = []
        for block, nodes in groups.items():
            found.append(nodes)
            found.extend(filter(None, [witnesses.pop(f"check.{block}", None)]))
        return found + list(witnesses.values())

    def _hidden(self) -> set[str]:
        """Gradients by data stand on the page where nothing is trained; else they can be asked for."""
        if self.network.graph or not self.network.optimizer or self.options.only:
            return set()
        data = [node.id for node in self.assembly.graph.nodes if node.phase == "data"]
        steps = tuple(f"grad.{id}@" for id in data)  # the time steps of a sequence
        return {f"grad.{id}" for id in data} | {n.id for n in self.assembly.graph.nodes if n.id.startswith(steps)}

    def _layer_heading(self, layer: str, phase: str) -> str:
        title = self.assembly.titles.get(layer)
        if phase != "forward" or title is None:
            return self.words("layer_only", name=layer)
        if "kernel" in title:
            return self._window_heading(layer, title)
        if not title["units"] and title["type"] != "activation":
            return self._plain_heading(layer, title)
        key = "layer_heading" if title["units"] else "activation_heading"
        inputs, units = self._count("input", title["inputs"]), self._count("unit", title["units"])
        kind = self.words(title["type"])
        return self.words(key, name=layer, type=kind, inputs=inputs, units=units, activation=title["activation"])

    def _plain_heading(self, layer: str, title: dict[str, Any]) -> str:
        """A layer without units of its own: its type, and its rate or activation where it has one."""
        parts = [self.words(title["type"])]
        parts += [self.words("dropout_rate", rate=f"{title['rate']:g}")] if "rate" in title else []
        parts += [title["activation"]] if title["activation"] != "identity" else []
        return self.words("plain_heading", name=layer, type=self.words("comma").join(parts))

    def _window_heading(self, layer: str, title: dict[str, Any]) -> str:
        """A layer that lays a window over places: its channels, kernel, stride and padding."""
        parts = [self._count("channel", title["units"])] if title["units"] else []
        parts += [
            self.words(f"window_{field}", size=_sizes(title[field]))
            for field in ("kernel", "stride", "padding")
            if title.get(field) is not None
        ]
        kind = self.words(title["type"])
        said = self.words("window_heading", name=layer, type=kind, parts=self.words("comma").join(parts))
        if title.get("padding") not in (None, 0, "valid") and title.get("flip_kernel") is not None:
            said += " " + self.words("window_dots")
        if title.get("flip_kernel"):
            said += " " + self.words("window_flipped")
        elif title.get("flip_kernel") is not None and "transpose" not in title["type"]:
            said += " " + self.words("window_plain")
        return said

    def _step_heading(self, step: int, phase: str, layer: str, groups: list[list[Node]]) -> Heading:
        """A time step; forward also what it reads: its input and the states before it."""
        nodes = [node for group in groups for node in group if node.layer == layer and node.step is not None]
        last = max(node.step or 0 for node in self.assembly.graph.nodes if node.layer == layer)
        heading = Heading(self.words("time_step_heading", step=step, count=last), 2, phase, layer)
        if phase == "forward" and self.assembly.samples == 1 and not self.options.only:
            heading.values = time_steps.arriving([node for node in nodes if node.step == step], self.options.terms)
        return heading

    def _count(self, word: str, count: int) -> str:
        return self.words(f"{word}_one" if count == 1 else f"{word}_many", count=count)

    def _add_held(self) -> None:
        """One sentence for what is not trained, after the last gradient of its layer."""
        for held in reversed(self.assembly.held):
            place = next(
                (
                    k
                    for k in reversed(range(len(self.items)))
                    if isinstance(item := self.items[k], Block) and item.nodes[-1].layer == held.layer
                    and item.nodes[-1].phase == "backward"
                ),
                None,
            )  # fmt: skip
            if place is None:
                continue
            block = self.items[place]
            assert isinstance(block, Block)
            name = held.names[0] if held.names and len(set(held.names)) == 1 else held.id
            part = "bias" if held.word == "bias" else held.word
            block.parts.append(Sentence(self.words("held_parameter", name=name, part=part)))

    def blocks_made(self) -> list[Block]:
        """The blocks of the page without its headings."""
        return [item for item in self.items if isinstance(item, Block)]

    def numbers(self, trace: Trace, iteration: int, digits: int | None) -> Numbers:
        """The numbers of one iteration, as this page reads them."""
        constant = set(self.assembly.held)
        if iteration == 1 and not trace.resumed:
            constant.update(self.assembly.trainable)
            carry = self.assembly.graph.carry.items()
            worked_out = trace.fisher_pass is not None  # what no update changes comes from the pass before
            constant.update(
                leaf for leaf, new in carry if leaf.phase == "parameter" and not (worked_out and new is leaf)
            )
        constant = {node for node in constant if node.id not in self.assembly.drawn}
        return Numbers(trace.values(iteration), constant, digits, self._paper)

    def final_assembly(self, trace: Trace) -> Assembly:
        """The graph of the closing forward pass over all data."""
        return trace.final_assembly

    def final_numbers(self, trace: Trace, digits: int | None) -> Numbers:
        return Numbers(trace.final_values, set(), digits, self._paper)

    def parameter_numbers(self, trace: Trace, digits: int | None) -> Numbers:
        """The parameters after the last update, under the nodes of this page's graph."""
        return Numbers(trace.final_parameters(self.assembly), set(self.assembly.held), digits, self._paper)

    @property
    def _paper(self) -> bool:
        return self.network.conventions.rounding != "none"

    def _only(self) -> set[tuple[Node, int]] | None:
        """The elements that `--only` asks for."""
        pattern = self.options.only
        if not pattern:
            return None
        graph = self.assembly.graph
        chosen: set[tuple[Node, int]] = set()
        for part in pattern.split(" "):
            try:
                node, element = find(graph, part)
                chosen |= {(node, k) for k in (range(node.size) if element is None else [element])}
            except LookupFailedError:
                try:
                    self.shares.append(find_part(graph, part))
                    continue
                except LookupFailedError as told:
                    error = told
                nodes = [
                    n for n in graph.nodes if not n.inline and any(fnmatchcase(i, part) for i in (n.id, *n.aliases))
                ]
                if not nodes:
                    raise UsageError(f"--only: {error}") from None
                chosen |= {(node, k) for node in nodes for k in range(node.size)}
        return chosen


def _sizes(value: Any) -> str:
    """A size as it is written: 2×2, one number, or pairs as they are given."""
    if isinstance(value, list | tuple) and value and all(isinstance(item, int) for item in value):
        return "×".join(map(str, value))
    return str(value)
