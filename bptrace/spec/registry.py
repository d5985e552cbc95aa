"""Layers and optimizers: each type's model is found by its word and imported only when a file uses it.

`bptrace.layers.LAYERS` and `bptrace.optimizers.OPTIMIZERS` map a type to "module:Class". Every item is
validated on its own by its class. A model with nested layers has a field `layers: Layers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import BaseModel

from bptrace.spec.base import Check, Complaint, describe, refuse, refuse_all
from bptrace.spec.nesting import DEEPEST_NESTING, Path
from bptrace.spec.translate import Refused, validate

if TYPE_CHECKING:
    from bptrace.layers.base import LayerSpec
    from bptrace.optimizers.base import OptimizerSpec
else:
    LayerSpec = OptimizerSpec = Any  # models that name these fields need not load them

__all__ = ["Layers", "Optimizer", "layer_types", "model_of", "optimizer_types"]


def layer_types() -> Mapping[str, str]:
    """Every layer type with the place of its class."""
    types: Mapping[str, str] = import_module("bptrace.layers").LAYERS
    return types


def optimizer_types() -> Mapping[str, str]:
    """Every optimizer type with the place of its class."""
    types: Mapping[str, str] = import_module("bptrace.optimizers").OPTIMIZERS
    return types


def model_of(place: str) -> type[BaseModel]:
    """The class at "module:Class"."""
    module, _, name = place.partition(":")
    model: type[BaseModel] = getattr(import_module(module), name)
    return model


def _validated(value: object, what: str, types: Mapping[str, str]) -> Any:
    """One layer or optimizer by the class of its type."""
    example = next(iter(types), "")
    if not isinstance(value, dict):
        raise Refused([Complaint((), f"not a mapping: {describe(value)}", f"{{type: {example}, ...}}")])
    if "type" not in value:
        raise Refused([Complaint(("type",), "'type' is missing", known=tuple(types))])
    kind = value["type"]
    if not isinstance(kind, str) or kind not in types:
        got = kind if isinstance(kind, str) else ""
        said = f"unknown {what} type '{got}'" if got else f"not a type: {describe(kind)}"
        raise Refused([Complaint(("type",), said, known=tuple(types), got=got)])
    return validate(model_of(types[kind]), value)


def _layers(value: object) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise refuse(f"not a list: {describe(value)}", "a list of layers, each '- type: ...'")
    if not value:
        raise refuse("no layers", "at least one layer")
    deep = _too_deep(value)
    if deep is not None:
        raise refuse(f"more than {DEEPEST_NESTING} blocks within each other", "fewer", at=deep, at_key=True)
    types = layer_types()
    layers, complaints = [], []
    for i, item in enumerate(value):
        try:
            layers.append(_validated(item, "layer", types))
        except Refused as error:
            complaints += [complaint.under(i) for complaint in error.complaints]
    if complaints:
        raise refuse_all(complaints)
    return tuple(layers)


def _too_deep(layers: list[Any]) -> Path | None:
    """The place of a branch that lies in too many others, as far as these are mappings with `layers`."""
    waiting: list[tuple[Path, list[Any]]] = [((), layers)]
    while waiting:
        path, level = waiting.pop()
        if len(path) > 2 * DEEPEST_NESTING:
            return path
        for k, item in enumerate(level):
            if isinstance(item, dict) and isinstance(item.get("layers"), list):
                waiting.append(((*path, k, "layers"), item["layers"]))
    return None


def _optimizer(value: object) -> Any:
    try:
        return _validated(value, "optimizer", optimizer_types())
    except Refused as error:
        raise refuse_all(error.complaints) from None


Layers: TypeAlias = Annotated[tuple[LayerSpec, ...], Check(_layers, {"$comment": "layers"})]
"""A list of layers of any type; the field type of every place where layers nest."""

Optimizer: TypeAlias = Annotated[OptimizerSpec, Check(_optimizer, {"$comment": "optimizer"})]
"""An optimizer of any type."""
