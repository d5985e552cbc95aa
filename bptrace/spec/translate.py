"""Validation by pydantic, with its findings as complaints in our words.

Pydantic's own sentences and links never reach a reader: each finding is translated by its type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bptrace.spec.base import Complaint, describe

__all__ = ["Refused", "known_fields", "validate"]

Model = TypeVar("Model", bound=BaseModel)
Path = tuple[str | int, ...]


class Refused(ValueError):
    """A value does not fit its model; `complaints` say why, with paths inside the value."""

    def __init__(self, complaints: list[Complaint]) -> None:
        super().__init__("refused")
        self.complaints = complaints


def validate(model: type[Model], value: Any) -> Model:
    """The validated model, or `Refused` with every complaint."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise Refused(list(_complaints(error, model, value))) from None


def known_fields(model: type[BaseModel]) -> tuple[str, ...]:
    """The keys that a model takes, as they are written."""
    return tuple(field.alias or name for name, field in model.model_fields.items())


def _complaints(error: ValidationError, model: type[BaseModel], value: Any) -> Iterator[Complaint]:
    """In order of the findings; those about the alternatives of one value become one."""
    alternatives: dict[Path, list[tuple[str | int, Path, ErrorDetails]]] = {}
    for details in error.errors(include_url=False):
        path, tag = _real_path(details, value)
        if tag is None:
            yield from _translate(details, path, model)
        else:
            base, name = tag
            alternatives.setdefault(base, []).append((name, path, details))
    for base, found in alternatives.items():
        yield from _best_alternative(base, found, model)


def _real_path(details: ErrorDetails, value: Any) -> tuple[Path, tuple[Path, str | int] | None]:
    """Pydantic's location without what is no key or index of the document.

    Such parts name the alternative of a union that was tried; the first one comes back with the path
    at which the alternatives part.
    """
    path: list[str | int] = []
    tag: tuple[Path, str | int] | None = None
    location = details["loc"]
    for i, part in enumerate(location):
        inside = part in value if isinstance(value, dict) else False
        if isinstance(value, list) and isinstance(part, int):
            inside = part < len(value)
        if inside:
            value = value[part]
        elif i == len(location) - 1 and (details["type"] == "missing" or part == "[key]"):
            if part == "[key]":
                break
        else:
            tag = tag or (tuple(path), part)
            continue
        path.append(part)
    return tuple(path), tag


def _best_alternative(
    base: Path, found: list[tuple[str | int, Path, ErrorDetails]], model: type[BaseModel]
) -> Iterator[Complaint]:
    """Of a value that fits no alternative: the findings of the nearest, or all expectations in one."""
    branches: dict[str | int, list[Complaint]] = {}
    for tag, path, details in found:
        branches.setdefault(tag, []).extend(_translate(details, path, model))
    entered = [branch for branch in branches.values() if any(len(c.path) > len(base) for c in branch)]
    if entered:
        yield from min(entered, key=len)
        return
    complaints = [complaint for branch in branches.values() for complaint in branch]
    expected = list(dict.fromkeys(c.expected for c in complaints if c.expected))
    known = tuple(dict.fromkeys(name for c in complaints for name in c.known))
    got = next((c.got for c in complaints if c.got), "")
    yield Complaint(base, f"cannot be {describe(found[0][2]['input'])}", " or ".join(expected), known, got)


_EXPECTED = {
    "string_type": "a text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "none_required": "nothing (null)",
}
_BOUNDS = {
    "greater_than": ("gt", "a number above {}"),
    "greater_than_equal": ("ge", "a number of at least {}"),
    "less_than": ("lt", "a number below {}"),
    "less_than_equal": ("le", "a number of at most {}"),
    "multiple_of": ("multiple_of", "a multiple of {}"),
    "too_short": ("min_length", "at least {} items"),
    "too_long": ("max_length", "at most {} items"),
    "string_too_short": ("min_length", "a text of at least {} characters"),
    "string_too_long": ("max_length", "a text of at most {} characters"),
}


def _translate(details: ErrorDetails, path: Path, model: type[BaseModel]) -> Iterator[Complaint]:
    kind, context, value = details["type"], details.get("ctx", {}), details["input"]
    if kind == "bptrace":
        for complaint in context["complaints"]:
            at_key = complaint.at_key or "[key]" in details["loc"]
            yield replace(complaint.under(*path), at_key=at_key)
    elif kind == "missing":
        yield Complaint(path, f"'{path[-1]}' is missing")
    elif kind == "extra_forbidden":
        known = tuple(dict.fromkeys(name for m in _models_at(model, path[:-1]) for name in known_fields(m)))
        got = str(path[-1])
        yield Complaint(path, f"unknown key '{got}'", known=known, got=got, at_key=True)
    elif kind in ("literal_error", "enum"):
        words = str(context["expected"]).replace("False", "false").replace("True", "true")
        known = tuple(re.findall(r"'([^']*)'", words))
        message = f"cannot be {describe(value)}"
        yield Complaint(path, message, words.replace("'", ""), known, value if isinstance(value, str) else "")
    elif kind in _BOUNDS:
        bound, expected = _BOUNDS[kind]
        limit = context[bound]
        shown = int(limit) if isinstance(limit, float) and limit.is_integer() else limit
        yield Complaint(path, f"cannot be {describe(value)}", expected.format(shown))
    elif kind in ("value_error", "assertion_error"):
        yield Complaint(path, str(context["error"]))
    else:
        yield Complaint(path, f"cannot be {describe(value)}", _EXPECTED.get(kind, ""))


def _models_at(model: type[BaseModel], path: Path) -> list[type[BaseModel]]:
    """The models that may describe the mapping at `path`."""
    models = [model]
    for part in path:
        if isinstance(part, str):
            fields = [m.model_fields[part] for m in models if part in m.model_fields]
            inner = [m for field in fields for m in _models_in(field.annotation)]
            models = inner or models
    return models


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
