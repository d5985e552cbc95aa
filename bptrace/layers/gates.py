"""The fields in which recurrent layers take their parameters: arrays by gate, packed, or one for all."""

from __future__ import annotations

from typing import Annotated, Any

from bptrace.spec.base import (
    Check,
    Complaint,
    Strict,
    array_schema,
    checked_array,
    describe,
    refuse,
    refuse_all,
)
from bptrace.spec.translate import Refused, validate

__all__ = ["Gates", "Parts", "Second", "State"]


def _mapping(value: object, one: Any, what: str) -> Any:
    """A mapping whose values pass `one`, with every complaint about them."""
    if not isinstance(value, dict):
        return one(value)
    complaints: list[Complaint] = []
    found: dict[str, Any] = {}
    for key, item in value.items():
        try:
            found[str(key)] = one(item) if key != "order" else item
        except Exception as error:  # pydantic's own class, which carries our complaints
            said = getattr(error, "context", None)
            if not said:
                raise
            complaints += [complaint.under(key) for complaint in said["complaints"]]
    if complaints:
        raise refuse_all(complaints)
    if not found:
        raise refuse("an empty mapping", what)
    return found


def _array_or_false(value: object) -> Any:
    return False if value is False else checked_array(value)


def _by_gate(value: object) -> Any:
    return _mapping(value, _array_or_false, "{gate: array}")


def _array_or_name(value: object) -> Any:
    return value if isinstance(value, str) else checked_array(value)


def _state(value: object) -> Any:
    return _mapping(value, _array_or_name, "{h: array}")


Gates = Annotated[Any, Check(_by_gate, {"anyOf": [{"const": False}, array_schema(), {"type": "object"}]})]
"""Arrays by gate, `{packed: array, order: ifgo}`, or a number or false for all gates."""

State = Annotated[Any, Check(_state, {"anyOf": [array_schema(), {"type": "string"}, {"type": "object"}]})]
"""`{h: ..., c: ...}`, or one array, number, or name of a layer for all; each may be the name of a layer or node."""


class Parts(Strict):
    """The parameters and the initial state of one direction."""

    weights: Gates | None = None
    recurrent: Gates | None = None
    bias: Gates | None = None
    recurrent_bias: Gates | None = None
    initial_state: State | None = None


def _second(value: object) -> Any:
    """The second direction: no, yes with drawn parameters, or with these."""
    if isinstance(value, bool):
        return Parts() if value else None
    if not isinstance(value, dict):
        raise refuse(f"cannot be {describe(value)}", "true, or the second direction's weights, recurrent, bias")
    try:
        return validate(Parts, value)
    except Refused as error:
        raise refuse_all(error.complaints) from None


Second = Annotated[Any, Check(_second, {"anyOf": [{"type": "boolean"}, {"type": "object"}]})]
