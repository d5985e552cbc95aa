"""The ground that all models of the YAML stand on: strictness, numbers, arrays, names, refusals.

Layers and optimizers build their models from these. A model says no by raising `refuse(...)`; the
loader adds file, line and column.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler
from pydantic_core import core_schema

from bptrace.spec.refusal import Complaint, describe, refuse, refuse_all

__all__ = [
    "RESERVED",
    "AnyName",
    "Array",
    "Check",
    "Complaint",
    "Count",
    "Name",
    "NestedFloats",
    "Number",
    "Positive",
    "Strict",
    "Text",
    "array_schema",
    "checked_array",
    "checked_name",
    "describe",
    "number_fault",
    "refuse",
    "refuse_all",
    "shape_of",
]

LARGEST_INTEGER = 2**53
"""Beyond it, neighbouring integers are one float, and a digit that was typed would be lost."""

DEEPEST_ARRAY = 8

RESERVED = frozenset(
    ("x", "t", "loss", "grad", "new", "state", "local", "tangent", "step", "clipped", "setting", "data")
)
"""Names with a meaning of their own in ids (`grad.w5`, `loss`)."""

if TYPE_CHECKING:
    NestedFloats: TypeAlias = float | list["NestedFloats"]
else:
    NestedFloats = Any  # pydantic would try to follow the recursion; `Check` validates instead


class Strict(BaseModel):
    """A model that takes what is written as it is written: nothing unknown, nothing converted."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True, defer_build=True)


@dataclass(frozen=True, eq=False)
class Check:
    """Annotation of a field that one function of ours validates whole: `Annotated[str, Check(f, {...})]`."""

    function: Callable[[object], Any]
    json_schema: dict[str, Any]

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.function)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return dict(self.json_schema)


def number_fault(value: object) -> str:
    """Why this is no usable number, or nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"not a number: {describe(value)}"
    if isinstance(value, int):
        if abs(value) > LARGEST_INTEGER:
            return "an integer beyond 2^53 loses digits as a float"
    elif not math.isfinite(value):
        return "not a finite number"
    return ""


def _number(value: object) -> object:
    fault = number_fault(value)
    if fault:
        raise refuse(fault, "a finite number")
    assert isinstance(value, int | float)  # number_fault has looked
    return float(value)


Number = Annotated[float, BeforeValidator(_number)]
"""A finite float. Integers become floats; true, text, null, inf are refused."""

Positive = Annotated[Number, Field(gt=0)]
Count = Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]
"""A whole number from 1."""


def checked_array(value: object) -> NestedFloats:
    """The array with floats only, or a refusal that names every bad cell."""
    complaints: list[Complaint] = []
    array = _cells(value, (), complaints)
    if not complaints and isinstance(array, list):
        _same_lengths(array, complaints)
    if complaints:
        raise refuse_all(complaints)
    return array


def _cells(value: object, path: tuple[int, ...], complaints: list[Complaint]) -> NestedFloats:
    """Every cell as a float; each bad one is reported where it stands."""
    if isinstance(value, list):
        if len(path) == DEEPEST_ARRAY:
            complaints.append(Complaint(path, f"more than {DEEPEST_ARRAY} nested lists"))
            return []
        if not value:
            complaints.append(Complaint(path, "an empty list", "at least one number"))
        return [_cells(cell, (*path, i), complaints) for i, cell in enumerate(value)]
    fault = number_fault(value)
    if fault:
        expected = "a finite number" if path else "a number or a list of numbers"
        complaints.append(Complaint(path, fault, expected))
        return 0.0
    assert isinstance(value, int | float)  # number_fault has looked
    return float(value)


def _same_lengths(array: list[NestedFloats], complaints: list[Complaint]) -> None:
    """Complain about each row that is not as long as the first row of its depth."""
    shape = shape_of(array)

    def visit(value: NestedFloats, path: tuple[int, ...]) -> None:
        depth = len(path)
        if isinstance(value, float):
            if depth < len(shape):
                complaints.append(
                    Complaint(path, "a number among lists", f"a list of {shape[depth]} as in the first row")
                )
        elif depth == len(shape):
            complaints.append(Complaint(path, "a list among numbers", "a number as in the first row"))
        elif len(value) != shape[depth]:
            message = f"a row of {len(value)} where the first has {shape[depth]}"
            padded = "; unequal sequences are padded, with a mask in the layer" if depth == 1 and len(shape) > 2 else ""
            complaints.append(Complaint(path, message, f"rows of equal length{padded}"))
        elif depth + 1 < len(shape) or any(isinstance(cell, list) for cell in value):
            for i, cell in enumerate(value):
                visit(cell, (*path, i))

    visit(array, ())


def shape_of(array: NestedFloats) -> tuple[int, ...]:
    """The lengths of its axes: `[[1, 2, 3]]` is (1, 3), a number ()."""
    shape: list[int] = []
    while isinstance(array, list):
        shape.append(len(array))
        if not array:
            break
        array = array[0]
    return tuple(shape)


def array_schema() -> dict[str, Any]:
    """JSON Schema cannot say "rectangular"; depth and kind of the cells it can."""
    schema: dict[str, Any] = {"type": "number"}
    for _ in range(DEEPEST_ARRAY):
        schema = {"type": ["number", "array"], "minItems": 1, "items": schema}
    return schema


Array = Annotated[NestedFloats, Check(checked_array, array_schema())]
"""A number, or numbers in nested lists of equal lengths; the result holds floats only."""


def name_fault(name: str) -> str:
    """Why this cannot be a name, or nothing. Reserved names are not looked at."""
    if not name:
        return "a name cannot be empty"
    for character in name:
        if character not in "_'" and unicodedata.category(character)[0] not in "LM":
            if unicodedata.category(character) == "Nd":
                continue
            return f"{character!r} cannot stand in a name"
    if name[0] == "'" or not name.replace("'", "").isidentifier():
        return f"a name cannot begin with {name[0]!r}"
    return ""


NAME_RULE = "letters, digits, _ and ', not beginning with a digit"


def checked_name(value: object, allowed: Iterable[str] = ()) -> str:
    """The name in NFC, or a refusal; `allowed` are reserved names that may stand here."""
    if not isinstance(value, str):
        raise refuse(f"not a name: {describe(value)}", NAME_RULE)
    name = unicodedata.normalize("NFC", value)
    fault = name_fault(name)
    if fault:
        raise refuse(fault, NAME_RULE)
    if name in RESERVED and name not in allowed:
        raise refuse(f"the name '{name}' is reserved", f"a name other than {', '.join(sorted(RESERVED))}")
    return name


def _name(value: object) -> str:
    return checked_name(value)


def _any_name(value: object) -> str:
    return checked_name(value, RESERVED)


_NAME_SCHEMA = {"type": "string", "pattern": r"^[^\W\d]"}

Name = Annotated[str, Check(_name, _NAME_SCHEMA)]
"""A name that the user gives: letters of any script, digits, _ and '; NFC; not reserved."""

AnyName = Annotated[str, Check(_any_name, _NAME_SCHEMA)]
"""A name that refers to something, so that it may be a reserved one such as `x`."""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise refuse(f"not a text: {describe(value)}", "a text (put it in quotes)")
    kept = (c for c in value if c == "\n" or unicodedata.category(c) not in ("Cc", "Cs", "Cf"))
    return "".join(kept)


Text = Annotated[str, Check(_text, {"type": "string"})]
"""Free text, without control characters."""
