"""How a validator says no: a complaint with a path inside its value; the loader adds file and line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pydantic_core import PydanticCustomError

__all__ = ["Complaint", "describe", "refuse", "refuse_all"]


@dataclass(frozen=True)
class Complaint:
    """What is wrong at `path`, counted from the value being validated; the loader finds its place.

    `known` are the names that would have been right for `got`; `at_key` points at the key instead
    of its value, `offset` at a character within a text.
    """

    path: tuple[str | int, ...]
    message: str
    expected: str = ""
    known: tuple[str, ...] = ()
    got: str = ""
    at_key: bool = False
    offset: int | None = None

    def under(self, *prefix: str | int) -> Complaint:
        """The same complaint seen from further up."""
        return replace(self, path=(*prefix, *self.path))


def refuse_all(complaints: Sequence[Complaint]) -> PydanticCustomError:
    """One exception for a validator to raise that carries several complaints."""
    return PydanticCustomError("bptrace", "refused", {"complaints": tuple(complaints)})


def refuse(
    message: str,
    expected: str = "",
    *,
    at: Sequence[str | int] = (),
    known: Iterable[str] = (),
    got: str = "",
    at_key: bool = False,
) -> PydanticCustomError:
    """The exception for a validator to raise: `raise refuse("must be odd", at=["kernel", 0])`."""
    return refuse_all([Complaint(tuple(at), message, expected, tuple(known), got, at_key)])


def describe(value: object) -> str:
    """A short name of a YAML value for messages: `true`, `the text '0.5'`, `a list`."""
    match value:
        case None:
            return "nothing (null)"
        case bool():
            return "true" if value else "false"
        case str():
            return f"the text '{value if len(value) <= 40 else value[:39] + '…'}'"
        case list() | tuple():
            return "a list"
        case dict():
            return "a mapping"
        case float() | int():
            return str(value) if abs(value) < 1e300 else "a number too large"
        case _:
            return type(value).__name__
