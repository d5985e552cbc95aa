"""The block of the conventions that a trace used; every page opens with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bptrace.graph.node import Node
from bptrace.report.data import data_conventions
from bptrace.report.labels import Words
from bptrace.report.notation import Notation
from bptrace.report.sections import Pairs

if TYPE_CHECKING:
    from bptrace.report.page import Page


def conventions(page: Page, digits: int | None, exact: bool) -> Pairs:
    """The block of the conventions that this trace used; every page opens with it."""
    words, network = page.words, page.network
    chosen, assembly = network.conventions, page.assembly
    graph = assembly.graph
    rows: list[tuple[str, str, str]] = []
    loss = next((item for item in page.blocks_made() if item.id == "loss"), None)
    if network.loss and loss is not None:
        rows.append((words("convention_loss"), loss.formulas[0], words("comma").join(_loss_words(words, page))))
    delta = next((n for n in graph.nodes if n.word == "delta"), None)
    if delta is not None:
        z = next((n for n in graph.nodes if n.delta and n.delta.id == delta.id), None)
        sign = "-" if chosen.delta_sign == "error" else ""
        letter = Notation(delta.layer).array(graph.loss) if graph.loss else "E"
        symbol = Notation(delta.layer).array(z) if z else "z"
        rows.append((words("convention_delta"), f"δ = {sign}∂{letter}/∂{symbol}", words(f"delta_{chosen.delta_sign}")))
        if chosen.delta_scale == "sample" and z is not None and z.delta and abs(z.delta.factor) > 1:
            rows.append(("", "", words("delta_sample", count=assembly.samples)))
    if network.optimizer and graph.carry:
        order = chosen.update_order
        rows.append((words("convention_update"), words(order), words(f"update_order_{order}")))
        if network.optimizer.mask is not None:
            kind = network.optimizer.mask.child_tuning
            formula = "M·g/p" if kind == "free" else "M·g"
            rows.append((words("convention_mask"), formula, words(f"child_tuning_{kind}")))
        if any(node.id.startswith("ahead.") for node in graph.nodes):
            rows.append(("", "", words("losses_ahead")))
        if network.optimizer.maximize:
            rows.append(("", "", words("maximized")))
    rows += _layouts(page)
    rows += data_conventions(network.data, assembly, words)
    if chosen.sample_axis == "columns":
        rows.append((words("convention_samples"), "sample_axis: columns", words("columns_are_samples")))
    if chosen.derivative_from == "pre_activation":
        rows.append((words("local_derivative"), "", words("derivative_from_z")))
    if assembly.held:
        rows.append(
            (words("convention_held"), ", ".join(_held_name(node) for node in assembly.held), words("not_trained"))
        )
    if assembly.drawn:
        rows.append((words("convention_seed"), ", ".join(assembly.drawn), words("drawn_values", seed=network.seed)))
    rows += _layer_conventions(assembly.titles, words)
    rows.append((words("convention_numbers"), "", _number_words(page, digits, exact)))
    if not exact:
        rows.append(("", "", words("legend")))
    return Pairs(words("conventions"), rows)


def _layer_conventions(titles: dict[str, dict[str, Any]], words: Words) -> list[tuple[str, str, str]]:
    """What layer types have conventions of their own about; layers with the same ones share the lines."""
    shared: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for layer, title in titles.items():
        if title.get("conventions"):
            shared.setdefault(tuple(title["conventions"]), []).append(layer)
    rows: list[tuple[str, str, str]] = []
    for own, layers in shared.items():
        one = len(layers) == 1
        rows += [] if one else [(f"{layers[0]} …", "", words("comma").join(layers))]
        rows += [(layers[0] if one else "", formula, words(key)) for formula, key in own]
    return rows


def _layouts(page: Page) -> list[tuple[str, str, str]]:
    """How weights are laid out; where layers differ, each layout names its layers."""
    sides = {("unit", "input"): "out_in", ("input", "unit"): "in_out"}
    found: dict[str, dict[str, None]] = {}
    for node in page.assembly.graph.nodes:
        if node.phase == "parameter" and node.axes in sides:
            found.setdefault(sides[node.axes], {})[node.layer] = None
    words = page.words
    rows = []
    for layout, layers in found.items():
        said = words(f"layout_{layout}")
        said += f" ({words('comma').join(layers)})" if len(found) > 1 else ""
        rows.append(("W[i,j]", words(f"weight_{layout}"), said))
    return rows


def _held_name(node: Node) -> str:
    return node.names[0] if node.names and len(set(node.names)) == 1 else node.id


def _loss_words(words: Words, page: Page) -> list[str]:
    spec = page.network.loss[0]
    mean_outputs = spec.outputs == "mean" or (
        spec.outputs is None and spec.type in ("mean_squared_error", "mean_absolute_error", "mean")
    )
    said = [words("mean_over_outputs" if mean_outputs else "summed_over_outputs")]
    if page.assembly.samples > 1:
        mean = (spec.reduction or ("sum" if spec.type == "sum" else "mean")) == "mean"
        said.append(words("mean_over_samples" if mean else "summed_over_samples", count=page.assembly.samples))
    return said


def _number_words(page: Page, digits: int | None, exact: bool) -> str:
    words, rounding = page.words, page.network.conventions.rounding
    if exact:
        return words("exact_fractions")
    if rounding != "none":
        return words(
            f"rounded_{rounding.kind}", digits=rounding.digits, mode=words(rounding.mode),
            after=words(f"after_{rounding.after}"),
        )  # fmt: skip
    return words("nothing_rounded", digits=digits) if digits is not None else words("nothing_rounded_all")
