"""The YAML's `state:`: values that states and counters start from, `{m: {h.W: [[...]]}, step: 11}`."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic_core import PydanticCustomError

from bptrace.spec.base import Check, Complaint, array_schema, checked_array, describe, number_fault, refuse, refuse_all


def _state(value: object) -> Any:
    if not isinstance(value, dict):
        raise refuse(f"not a mapping: {describe(value)}", "{m: {h.W: [[...]]}}")
    found: dict[str, Any] = {}
    complaints: list[Complaint] = []
    for name, given in value.items():
        if not isinstance(name, str):
            complaints.append(Complaint((name,), f"not a name: {describe(name)}", at_key=True))
        elif isinstance(given, dict):
            found[name] = {}
            for id, array in given.items():
                try:
                    found[name][str(id)] = checked_array(array)
                except PydanticCustomError as error:
                    said: tuple[Complaint, ...] = (error.context or {})["complaints"]
                    complaints += [complaint.under(name, id) for complaint in said]
        elif fault := number_fault(given):
            complaints.append(Complaint((name,), fault, "{parameter: values}, or a number for the step"))
        else:
            found[name] = float(given)
    if complaints:
        raise refuse_all(complaints)
    return found


_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": {"anyOf": [{"type": "number"}, {"type": "object", "additionalProperties": array_schema()}]},
}

State: TypeAlias = Annotated[dict[str, Any], Check(_state, _SCHEMA)]
"""State name: parameter: numbers; `step` and other counters: a number."""
