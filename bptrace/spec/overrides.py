"""`--set path=value`: changes to a document before it is validated."""

from __future__ import annotations

import re
from typing import Any

from bptrace.errors import SpecError, UsageError, nearest
from bptrace.spec.models import Network
from bptrace.spec.positions import Path
from bptrace.spec.translate import known_fields
from bptrace.spec.yaml_text import Document, read

__all__ = ["apply"]

_INDEX = re.compile(r"\[([0-9]{1,9})\]")


def apply(document: Document, override: str) -> None:
    """Change the document's values. `UsageError` where the path leads nowhere.

    Keys below the last existing mapping are made; whether they may exist is for validation to say.
    """
    path_text, equals, value_text = override.partition("=")
    if not equals or not path_text.strip():
        raise UsageError(f"--set {override}: expected path=value, such as training.iterations=5")
    try:
        parsed = read(value_text, "--set")
        if parsed.problems:
            raise SpecError(parsed.problems)
    except SpecError as error:
        said = error.problems[0]
        raise UsageError(f"--set {override}: {said.message}") from None
    target = document.value
    rest = path_text.strip()
    path: Path = ()
    while True:
        part, rest = _next(target, rest, override, path)
        path = (*path, part)
        if not rest:
            break
        target = _enter(target, part, override)
    target[part] = parsed.value
    document.positions.add_override(path, override, len(path_text) + 2)


def _next(target: Any, rest: str, override: str, path: Path) -> tuple[str | int, str]:
    """The first part of the path that is left, and what follows it."""
    index = _INDEX.match(rest)
    if isinstance(target, list):
        if index:
            if int(index[1]) >= len(target):
                raise UsageError(f"--set {override}: {_shown(path)} has {len(target)} items, counted from 0")
            return int(index[1]), rest[index.end() :].removeprefix(".")
        return _named(target, rest, override)
    if not isinstance(target, dict):
        raise UsageError(f"--set {override}: {_shown(path)} has no parts")
    exact = [key for key in target if rest == key or rest.startswith((key + ".", key + "["))]
    if exact:  # an id such as h.W[1,2] is one key: the longest that fits
        key = max(exact, key=len)
        return key, rest[len(key) :].removeprefix(".")
    key = rest if path[:1] == ("upstream",) else re.split(r"[.\[]", rest, maxsplit=1)[0]
    known = known_fields(Network)
    if not path and key not in known:
        raise UsageError(f"--set {override}: unknown key '{key}'{_hint(key, known)}")
    return key, rest[len(key) :].removeprefix(".")


def _named(target: list[Any], rest: str, override: str) -> tuple[int, str]:
    """A layer of a list by its name, which may be that of a layer in one of their branches."""
    wanted, _, after = rest.partition(".")
    wanted, bracket, inner = wanted.partition("[")
    for k, item in enumerate(target):
        names = _names(item)
        if wanted in names[:1]:
            return k, f"{bracket}{inner}.{after}" if bracket and after else bracket + inner + after
        if wanted in names:
            return k, f"layers.{rest}"
    known = [name for item in target for name in _names(item) if name is not None]
    raise UsageError(f"--set {override}: no item is named '{wanted}'{_hint(wanted, known)}")


def _names(item: Any) -> list[str | None]:
    """The name of a layer, and those of the layers in its branch."""
    if not isinstance(item, dict):
        return [None]
    name, inner = item.get("name"), item.get("layers")
    below = [found for part in inner for found in _names(part)] if isinstance(inner, list) else []
    return [name if isinstance(name, str) else None, *(found for found in below if found is not None)]


def _enter(target: Any, part: str | int, override: str) -> Any:
    if isinstance(target, dict) and target.get(str(part)) is None:
        target[part] = {}
    inner = target[part]
    if not isinstance(inner, dict | list):
        raise UsageError(f"--set {override}: '{part}' is a plain value and has no parts")
    return inner


def _hint(got: str, known: Any) -> str:
    near = nearest(got, known)
    return f"; did you mean '{near}'?" if near else f"; known: {', '.join(known)}" if known else ""


def _shown(path: Path) -> str:
    return ".".join(str(part) for part in path) or "the file"
