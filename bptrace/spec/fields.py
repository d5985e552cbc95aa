"""Field types of the top level that take more than one form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic_core import PydanticCustomError

from bptrace.spec.base import (
    Check,
    Complaint,
    NestedFloats,
    array_schema,
    checked_array,
    checked_name,
    describe,
    number_fault,
    refuse,
    refuse_all,
)

__all__ = ["ArrayOrArrays", "Expressions", "GivenArrays", "Ids", "Inputs", "checked_inputs", "checked_targets"]

GRAPH_NAMES = ("x", "t", "loss")
"""Reserved names that a node of a graph may have; `loss` only where no `loss:` is given."""


def _by_name(
    value: object, check: Callable[[object], Any], what: str, allowed: Iterable[str]
) -> dict[str, Any]:
    """A mapping whose keys are names and whose values pass `check`; all that is wrong at once."""
    if not isinstance(value, dict):
        raise refuse(f"not a mapping: {describe(value)}", what)
    checked: dict[str, Any] = {}
    complaints: list[Complaint] = []
    for key, item in value.items():
        try:
            name = checked_name(key, allowed)
            if name in checked:
                complaints.append(Complaint((key,), f"the name '{name}' is given twice", at_key=True))
        except PydanticCustomError as error:
            name = ""
            complaints += [Complaint((key,), c.message, c.expected, at_key=True) for c in _said(error)]
        try:
            checked[name] = check(item)
        except PydanticCustomError as error:
            complaints += [complaint.under(key) for complaint in _said(error)]
    if complaints:
        raise refuse_all(complaints)
    return checked


def _said(error: PydanticCustomError) -> tuple[Complaint, ...]:
    complaints: tuple[Complaint, ...] = (error.context or {})["complaints"]
    return complaints


def checked_inputs(value: object) -> Any:
    """Arrays of inputs: (samples, ...), or several by name."""
    return _arrays(value, "x")


def checked_targets(value: object) -> Any:
    """The same; the reserved name that may stand among the names is `t`, not `x`."""
    return _arrays(value, "t")


def _arrays(value: object, reserved: str) -> Any:
    if isinstance(value, dict):
        if not value:
            raise refuse("an empty mapping", "name: array")
        return _by_name(value, checked_array, "name: array", (reserved,))
    return checked_array(value)


def _given(value: object) -> dict[str, Any]:
    return _by_name(value, checked_array, "name: number or array", GRAPH_NAMES)


def _inputs(value: object) -> dict[str, Any]:
    return _by_name(value, _input, "name: number, array or the word data", GRAPH_NAMES)


def _input(value: object) -> Any:
    if value == "data":
        return value
    if isinstance(value, str):
        raise refuse(f"not a number: {describe(value)}", "a number, an array, or the word data")
    return checked_array(value)


def _expressions(value: object) -> dict[str, str]:
    if value == {}:
        raise refuse("an empty graph", "name: expression")
    return _by_name(value, _expression, "name: expression", GRAPH_NAMES)


def _expression(value: object) -> str:
    """Its text; a number alone is an expression too, though YAML has made a number of it."""
    if isinstance(value, str):
        return value
    if value is None:
        raise refuse("an empty expression", "an expression such as x + y")
    if number_fault(value):
        raise refuse(f"not an expression: {describe(value)}", "a text such as: x + y")
    return repr(value)


def _ids(value: object) -> Any:
    if value in ("none", "inputs"):
        return value
    if not isinstance(value, list):
        got = value if isinstance(value, str) else ""
        expected = "none, inputs, or a list of ids"
        raise refuse(f"cannot be {describe(value)}", expected, known=("none", "inputs"), got=got)
    complaints = [
        Complaint((i,), f"not an id: {describe(item)}", "a text such as h.W[1,2]")
        for i, item in enumerate(value)
        if not isinstance(item, str)
    ]
    if complaints:
        raise refuse_all(complaints)
    return tuple(value)


if TYPE_CHECKING:
    ArrayOrArrays: TypeAlias = NestedFloats | dict[str, NestedFloats]
    ArrayOrData: TypeAlias = NestedFloats | Literal["data"]
else:
    ArrayOrArrays = ArrayOrData = Any  # see NestedFloats

_ARRAY = array_schema()
_ARRAYS = {"type": "object", "additionalProperties": _ARRAY}

GivenArrays: TypeAlias = Annotated[dict[str, NestedFloats], Check(_given, _ARRAYS)]
"""Parameters of a graph by name."""

Inputs: TypeAlias = Annotated[
    dict[str, ArrayOrData],
    Check(_inputs, {"type": "object", "additionalProperties": {"anyOf": [{"const": "data"}, _ARRAY]}}),
]
"""Inputs of a graph by name; the word `data` stands for the rows of `data.inputs`."""

Expressions: TypeAlias = Annotated[
    dict[str, str],
    Check(_expressions, {"type": "object", "additionalProperties": {"type": ["string", "number"]}}),
]
"""Texts of a graph by name; `bptrace.spec.graph` parses them."""

Ids: TypeAlias = Annotated[
    Literal["none", "inputs"] | tuple[str, ...],
    Check(_ids, {"anyOf": [{"enum": ["none", "inputs"]}, {"type": "array", "items": {"type": "string"}}]}),
]
"""`none`, `inputs`, or a list of ids."""
