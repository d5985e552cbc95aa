"""The JSON Schema of the YAML, for editors: composed from the models and all registered types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bptrace.spec.models import LossSpec, Network
from bptrace.spec.registry import layer_types, model_of, optimizer_types
from bptrace.spec.words import LOSSES

__all__ = ["schema"]


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a whole file. What a schema cannot say (shapes, cycles) `load` checks."""
    definitions: dict[str, Any] = {}
    root = _adopted(Network.model_json_schema(), "", definitions)
    one_loss = _adopted(LossSpec.model_json_schema(), "", definitions)
    one_loss["properties"]["type"] = {"enum": list(LOSSES)}
    definitions["loss"] = {"anyOf": [{"enum": list(LOSSES)}, one_loss]}
    definitions["losses"] = {
        "anyOf": [
            {"$ref": "#/$defs/loss"},
            {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/loss"}},
        ]
    }
    definitions["layer"] = _by_type(layer_types(), "layer", definitions)
    definitions["layers"] = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/layer"}}
    definitions["optimizer"] = _by_type(optimizer_types(), "optimizer", definitions)
    root |= {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "bptrace network",
        "oneOf": [{"required": ["layers"]}, {"required": ["graph"]}],
        "$defs": definitions,
    }
    return root


def _by_type(types: Mapping[str, str], what: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """The word in `type` decides which model holds, so that an editor names one type's mistakes only."""
    cases = []
    for kind, place in types.items():
        name = f"{what}.{kind}"
        definitions[name] = _adopted(model_of(place).model_json_schema(), name + ".", definitions)
        definitions[name].setdefault("properties", {})["type"] = {"const": kind}
        cases.append(
            {
                "if": {"properties": {"type": {"const": kind}}, "required": ["type"]},
                "then": {"$ref": f"#/$defs/{name}"},
            }
        )
    return {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": list(types)}},
        "allOf": cases,
    }


def _adopted(model: dict[str, Any], prefix: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """A model's schema with its own definitions moved, under a prefix, to the common ones."""
    inner = model.pop("$defs", {})
    for name, definition in inner.items():
        definitions[prefix + name] = _rewritten(definition, prefix)
    adopted: dict[str, Any] = _rewritten(model, prefix)
    return adopted


def _rewritten(part: Any, prefix: str) -> Any:
    """References follow their definitions; marks left by the registry become references; defaults go."""
    if isinstance(part, list):
        return [_rewritten(item, prefix) for item in part]
    if not isinstance(part, dict):
        return part
    if part.get("$comment") in ("layers", "optimizer", "losses"):
        return {"$ref": f"#/$defs/{part['$comment']}"}
    kept = {key: _rewritten(value, prefix) for key, value in part.items() if key != "default"}
    if isinstance(kept.get("$ref"), str):
        kept["$ref"] = kept["$ref"].replace("#/$defs/", f"#/$defs/{prefix}")
    return kept
