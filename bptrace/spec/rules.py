"""What must hold between the parts of a file that are right on their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bptrace.spec.base import Complaint
from bptrace.spec.models import Data, LossSpec, Network
from bptrace.spec.nesting import Path, walk_layers
from bptrace.spec.words import LOSSES_WITHOUT_TARGETS

__all__ = ["check_network"]


def check_network(network: Network) -> list[Complaint]:
    """Everything that contradicts something else; names inside `graph:` are `check_graph`'s."""
    complaints = list(_kind(network))
    complaints += _layer_names(network.layers)
    complaints += _losses(network)
    complaints += _stops(network)
    if network.data is not None:
        complaints += _data_names(network.data)
    return complaints


def _kind(network: Network) -> Iterator[Complaint]:
    """A network is a list of layers or a graph, and each has its own keys."""
    if network.layers and network.graph:
        yield Complaint(("graph",), "both layers and graph are given", "one of them", at_key=True)
    elif network.layers:
        for key in ("inputs", "parameters", "output"):
            if key in network.model_fields_set:
                yield Complaint((key,), f"'{key}' belongs to a graph", "data.inputs with layers", at_key=True)
        if network.data is None:
            yield Complaint(("data",), "'data' is missing", "data: {inputs: [[...]], targets: [[...]]}")
    elif network.graph:
        yield from _graph(network)
    else:
        yield Complaint((), "no network here", "'layers' or 'graph'")


def _stops(network: Network) -> Iterator[Complaint]:
    """What ends a run early has to be there to be looked at."""
    if network.loss or network.graph:
        return
    stop = network.training.stop
    for key in ("loss_below", "patience"):
        if getattr(stop, key) is not None:
            yield Complaint(("training", "stop", key), "there is no loss to wait for", "a 'loss'", at_key=True)
    if stop.gradient_below is not None and not network.upstream:
        path = ("training", "stop", "gradient_below")
        yield Complaint(path, "there is no gradient without a loss", "a 'loss'", at_key=True)


def _graph(network: Network) -> Iterator[Complaint]:
    for name in network.parameters:
        if name in network.inputs:
            path = ("parameters", name)
            yield Complaint(path, f"'{name}' is also an input", "a name of its own", at_key=True)
    nodes = (*network.inputs, *network.parameters, *network.graph)
    if network.output is not None and network.output not in nodes:
        message = f"'{network.output}' is not defined"
        yield Complaint(("output",), message, known=nodes, got=network.output)
    if network.loss:
        for section in ("inputs", "parameters", "graph"):
            if "loss" in getattr(network, section):
                message = "the name 'loss' is taken by 'loss:'"
                yield Complaint((section, "loss"), message, "another name", at_key=True)
    data = network.data.inputs if network.data else None
    for name, value in network.inputs.items():
        if value == "data" and network.data is None:
            yield Complaint(("inputs", name), "there is no data.inputs", "data: {inputs: [[...]]}")
        elif value == "data" and isinstance(data, dict) and name not in data:
            message = f"data.inputs has no '{name}'"
            yield Complaint(("inputs", name), message, known=tuple(data), got=name)


def _layer_names(layers: Sequence[Any]) -> Iterator[Complaint]:
    """No two layers have one name, however deep they nest."""
    seen: dict[str, Path] = {}
    for path, layer in walk_layers(layers):
        if layer.name in seen:
            place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in seen[layer.name])
            message = f"the name '{layer.name}' is taken by {place.removeprefix('.')}"
            yield Complaint((*path, "name"), message, "a name of its own")
        elif layer.name is not None:
            seen[layer.name] = path


def _losses(network: Network) -> Iterator[Complaint]:
    targets = network.data.target_names if network.data else None
    listed = len(network.loss) > 1
    for i, loss in enumerate(network.loss):
        path: tuple[str | int, ...] = ("loss", i) if listed else ("loss",)
        if loss.type in LOSSES_WITHOUT_TARGETS:
            continue
        if targets is None:
            yield Complaint(path, f"{loss.type} needs targets", "data: {targets: [[...]]}")
        else:
            yield from _which_targets(loss, targets, path)


def _which_targets(loss: LossSpec, known: tuple[str, ...], path: tuple[str | int, ...]) -> Iterator[Complaint]:
    if loss.targets is not None and loss.targets not in known:
        message = f"data.targets has no '{loss.targets}'"
        yield Complaint((*path, "targets"), message, known=known, got=loss.targets)
    elif loss.targets is None and len(known) > 1:
        yield Complaint(path, "which of the targets?", f"targets: {' or '.join(known)}")


def _data_names(data: Data) -> Iterator[Complaint]:
    """Aliases name one column each."""
    seen: set[str] = set()
    for section in ("inputs", "targets"):
        for i, name in enumerate(getattr(data.names, section) or ()):
            if name in seen:
                path = ("data", "names", section, i)
                yield Complaint(path, f"the name '{name}' is given twice", "each name once")
            seen.add(name)
    if isinstance(data.inputs, dict) and isinstance(data.targets, dict):
        for name in data.targets:
            if name in data.inputs:
                message = f"'{name}' is also an input"
                yield Complaint(("data", "targets", name), message, "a name of its own", at_key=True)
