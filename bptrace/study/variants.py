"""The runs that are compared: networks, and variants of them by `--vary path=value,value`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from bptrace.errors import Problem, SpecError, UsageError
from bptrace.network import Network, is_stored, load, read_trace
from bptrace.spec import overrides as override
from bptrace.spec.yaml_text import read

if TYPE_CHECKING:
    from bptrace.trace import Trace

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
BY_TYPE = ("optimizer", "initializer")
"""Keys of which a plain word means the type: `optimizer=adam` is `optimizer.type=adam`."""
FREE_TEXT = ("name", "source", "notes")


@dataclass(frozen=True)
class Variant:
    """One network to run; `changes` are the `path=value` that were varied, `settings` all that its YAML says.

    `stored` is the trace where the run has been done already.
    """

    letter: str
    network: Network
    changes: tuple[str, ...]
    settings: dict[str, Any]
    stored: Trace | None = None


def variants(
    sources: Sequence[Network | str], varied: Sequence[str] = (), sets: Sequence[str] = (), text: str | None = None
) -> list[Variant]:
    """Every network with every combination of the values that are varied; `text` is the YAML of the name `-`.

    Raises `SpecError` with the problems of all variants at once.
    """
    combinations = list(product(*(list(_values(item)) for item in varied)))
    count = len(sources) * len(combinations)
    if count > len(LETTERS):
        raise UsageError(f"{count} runs to compare; at most {len(LETTERS)}")
    found: list[Variant] = []
    problems: list[Problem] = []
    for source in sources:
        if isinstance(source, str) and is_stored(source) and (varied or sets):
            raise UsageError(f"{source}: a stored trace is what it is; leave out --vary and --set")
        for changes in combinations:
            try:
                network = _load(source, [*sets, *changes], text if source == "-" else None)
                network.assembly()  # what is wrong with its shapes and names comes out here
                stored = read_trace(source) if isinstance(source, str) and is_stored(source) else None
            except SpecError as error:
                variant = f" (in the variant {', '.join(changes)})" if changes else ""
                problems.extend(replace(problem, message=problem.message + variant) for problem in error.problems)
            else:
                found.append(Variant(LETTERS[len(found)], network, changes, flat(_document(network)), stored))
    if problems:
        raise SpecError(list(dict.fromkeys(problems)))
    return found


def _load(source: Network | str, changes: Sequence[str], text: str | None) -> Network:
    if isinstance(source, Network) and not changes:
        return source
    if isinstance(source, Network):
        return load(source.spec.file, text=source.spec.text, overrides=[*source.overrides, *changes])
    return load(source, text=text, overrides=changes)


def _document(network: Network) -> dict[str, Any]:
    """What the YAML says, with the changes made to it."""
    document = read(network.spec.text, network.spec.file)
    for change in network.overrides:
        override.apply(document, change)
    return {key: value for key, value in document.value.items() if key not in FREE_TEXT}


def _values(item: str) -> Iterator[str]:
    """`path=a,b` as `path=a` and `path=b`; commas in brackets and quotes belong to a value."""
    path, equals, text = item.partition("=")
    path = path.strip()
    found = split_at_commas(text)
    if not equals or not path or not all(found):
        raise UsageError(f"--vary {item}: expected path=value,value, such as optimizer.learning_rate=0.01,0.1")
    for value in found:
        plain = path in BY_TYPE and value[0] not in "{["
        yield f"{path}.type={value}" if plain else f"{path}={value}"


def split_at_commas(text: str) -> list[str]:
    """The parts of a text between commas that stand in no brackets or quotes."""
    return [part.strip() for part in _parts(text)]


def _parts(text: str) -> Iterator[str]:
    depth, quote, start = 0, "", 0
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "[{(":
            depth += 1
        elif character in "]})":
            depth -= 1
        elif character == "," and depth == 0:
            yield text[start:place]
            start = place + 1
    yield text[start:]


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """A document as one mapping from paths, as `--set` takes them, to plain values and arrays."""
    if isinstance(value, dict) and value:
        items = [(f"{path}.{key}" if path else str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        items = [(f"{path}.{item['name']}" if "name" in item else f"{path}[{k}]", item) for k, item in enumerate(value)]
    else:
        return {path: value}
    return {key: found for name, item in items for key, found in flat(item, name).items()}


def differing(variants: Sequence[Variant]) -> dict[str, list[Any]]:
    """The settings that are not the same in all, each with its value by variant (None where not given)."""
    paths = dict.fromkeys(path for variant in variants for path in variant.settings)
    table = {path: [variant.settings.get(path) for variant in variants] for path in paths}
    return {path: values for path, values in table.items() if any(value != values[0] for value in values)}


