"""The door of this package: a YAML file or text becomes a validated `Spec`, or all its problems at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bptrace.errors import Problem, SpecError, UsageError
from bptrace.spec import overrides as override
from bptrace.spec.base import Complaint, describe
from bptrace.spec.models import Network
from bptrace.spec.positions import Positions, split_lines
from bptrace.spec.rules import check_network
from bptrace.spec.translate import Refused, known_fields, validate
from bptrace.spec.yaml_text import LARGEST_FILE, Document, full_width, read

if TYPE_CHECKING:
    from bptrace.data.source import Source
    from bptrace.spec.data import Data
    from bptrace.spec.expression import Expression
    from bptrace.spec.graph import GraphCheck

__all__ = ["Spec", "load"]


@dataclass(frozen=True, eq=False)
class Spec:
    """A validated network with the places of all its parts.

    `expressions` and `order` are the parsed `graph:` and the order in which it can be computed,
    `source` what was read from the file that `data:` names.
    """

    network: Network
    file: str
    text: str
    positions: Positions
    expressions: Mapping[str, Expression] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    source: Source | None = None

    @property
    def files(self) -> list[str]:
        """Every file that was read, which no result may be written over."""
        return [self.file, *(str(path) for path in (self.source.paths if self.source else ()))]

    def problem(
        self,
        path: tuple[str | int, ...],
        message: str,
        expected: str = "",
        known: Iterable[str] = (),
        got: str = "",
        *,
        at_key: bool = False,
        offset: int | None = None,
    ) -> Problem:
        """A problem at `path`, for stages after validation: collect them, raise `SpecError(problems)`.

        `known` are the names that would have been right for `got`; `offset` is a character of an
        expression, from 0.
        """
        return self.positions.problem(path, message, expected, known, got, at_key=at_key, offset=offset)


def load(source: str | Path, text: str | None = None, overrides: Sequence[str] = ()) -> Spec:
    """Read and validate a network.

    source: a path; with `text`, only the name under which problems report it.
    overrides: `path=value` strings of `--set`, applied before validation.

    Raises `SpecError` with every problem, or `UsageError` for a file or `--set` path that is none.
    """
    file = str(source)
    if text is None:
        text = _read_file(Path(source), file)
    document = read(text, file)
    if not isinstance(document.value, dict):
        raise SpecError([*document.problems, _not_a_mapping(document)])
    for item in overrides:
        override.apply(document, item)
    graph = _graph(document.value)
    complaints: list[Complaint] = []
    network: Network | None = None
    try:
        network = validate(Network, document.value)
        complaints += check_network(network)
    except Refused as error:
        complaints += error.complaints
    complaints += graph.complaints if graph else ()
    problems = document.problems + [document.positions.complaint(complaint) for complaint in complaints]
    read_from: Source | None = None
    if network is not None and network.data is not None and network.data.source:
        read_from = _data(network.data, file, document, problems)
    if problems or network is None:
        ours = (file, "--set")  # those of a data file follow
        raise SpecError(sorted(dict.fromkeys(problems), key=lambda p: (p.file not in ours, p.line, p.column)))
    expressions, order = (graph.expressions, graph.order) if graph else ({}, ())
    return Spec(network, file, text, document.positions, expressions, order, read_from)


def _data(data: Data, file: str, document: Document, problems: list[Problem]) -> Source | None:
    """The file that `data:` names, relative to the YAML; of a YAML from standard input to this folder."""
    from bptrace.data.read import read as read_data

    def complain(
        path: tuple[str | int, ...], message: str, expected: str = "", known: Iterable[str] = (), got: str = ""
    ) -> None:
        problems.append(document.positions.problem(("data", *path), message, expected, known, got))

    return read_data(data, Path(file).parent, complain, problems)


def _graph(document: Mapping[str, Any]) -> GraphCheck | None:
    """Check the expressions, if there are any, even where other parts of the file are wrong."""
    graph = document.get("graph")
    if not isinstance(graph, dict):
        return None
    from bptrace.spec.graph import check_graph  # not needed for layers

    texts = {
        name: value if isinstance(value, str) else repr(value)
        for name, value in graph.items()
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    }
    given: list[str] = []
    for section in ("inputs", "parameters"):
        if isinstance(document.get(section), dict):
            given += document[section]
    return check_graph(texts, given, names=[*graph])


def _not_a_mapping(document: Document) -> Problem:
    message = "the file is empty" if document.value is None else f"not a network: {describe(document.value)}"
    expected = f"keys such as {', '.join(known_fields(Network)[:3])}, layers or graph"
    for number, line in enumerate(document.positions.lines[:20], start=1):
        found = full_width(line)
        if found and isinstance(document.value, str):
            offset, expected = found
            return document.positions.at(number, offset + 1, "this is no punctuation of YAML", expected)
    return document.positions.problem((), message, expected)


def _read_file(path: Path, file: str) -> str:
    """The text of a regular file in UTF-8."""
    try:
        if path.is_dir():
            raise UsageError(f"{file}: is a folder; expected a YAML file")
        if not path.exists():
            raise UsageError(f"{file}: no such file")
        if not path.is_file():
            raise UsageError(f"{file}: is no regular file; pipe the YAML in and write - instead")
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise UsageError(f"{file}: {size:,} bytes; at most {LARGEST_FILE:,} are read")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "cannot be read"
        raise UsageError(f"{file}: {reason}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError([_not_utf8(data, error, file)]) from None


def _not_utf8(data: bytes, error: UnicodeDecodeError, file: str) -> Problem:
    before = data[: error.start].decode("utf-8-sig", errors="replace")
    lines = split_lines(before)
    after = data[error.start : error.start + 60].decode("utf-8", errors="replace")
    source = lines[-1] + split_lines(after)[0]
    message = "UTF-16 text" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "the file is not UTF-8"
    expected = "a file saved as UTF-8"
    return Problem(file, len(lines), len(lines[-1]) + 1, "", message, expected, "", source)
