"""Trace files: `t.npy` has a row an iteration, and three of a name make the whole.

`t.npy` is an array of float64, a row an iteration, which `numpy.load` reads; `t.npy.json` says where
in a row each quantity stands (`nodes`) and holds the network; `t.npy.states.npy` has the states that
were kept, the last row being that after the last update.
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from bptrace import __version__
from bptrace.engine.row_file import FileRecorder, RowFile
from bptrace.errors import UsageError

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly
    from bptrace.engine.record import Record

FORMAT = "bptrace-rows"
VERSION = 1


def header_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def states_path(path: Path) -> Path:
    return path.with_name(path.name + ".states.npy")


class TraceFile:
    """The files of a run that is being recorded; `finish` gives them their names."""

    def __init__(self, file: str, run: Record, network: Mapping[str, object]) -> None:
        path = Path(file)
        self._network = dict(network)
        if path.suffix != ".npy":
            raise UsageError(f"--trace {file}: a file that ends in .npy")
        if path.is_dir() or (path.exists() and not path.is_file()):
            raise UsageError(f"--trace {file}: no regular file")
        self.path = path
        sizes = {run.schedule.batch_size(0), run.schedule.batch_size(run.schedule.an_epoch - 1)}
        width = max(1, *(run.engines.recorded(size).row for size in sizes))
        self._rows = RowFile(path, width)
        self.states = RowFile(states_path(path), max(1, run.engines.layout(run.schedule.size).state_size))
        self.recorder = FileRecorder(self._rows)
        self.losses = FileLosses(self.recorder, run)

    def finish(self, run: Record) -> None:
        """Write the header and put everything in its place. The rows come last: with them it is whole."""
        state = list(run.state) or [0.0]
        self.states.append(state)
        text = json.dumps(self._header(run), ensure_ascii=False, indent=1) + "\n"
        from bptrace.files import write_file

        self.states.close()
        write_file(header_path(self.path), [text])
        self._rows.close()

    def abandon(self) -> None:
        self._rows.abandon()
        self.states.abandon()

    def _header(self, run: Record) -> dict[str, Any]:
        sizes = sorted({run.schedule.batch_size(0), run.schedule.batch_size(run.schedule.an_epoch - 1)}, reverse=True)
        return {
            "format": FORMAT,
            "version": VERSION,
            "bptrace": __version__,
            "network": self._network,
            "iterations": run.count,
            "width": self._rows.width,
            "record": run.recording.policy,
            "states_every": run.recording.every,
            "states": len(self.states),
            "engine": {**run.description, "threads": os.environ.get("OPENBLAS_NUM_THREADS") or os.cpu_count()},
            "planned": run.asked,
            "done": run.schedule.done,
            "resumed": run.resumed,
            "interrupted": run.interrupted,
            "stopped": str(run.stopped) if run.stopped is not None else None,
            "digest": digest(self._rows, self.states),
            "data": data_digest(run.whole),
            "metrics": run.evaluation.columns if run.evaluation is not None else None,
            "nodes": {str(size): node_entries(run, size) for size in sizes},
        }


def node_entries(run: Record, size: int) -> list[dict[str, Any]]:
    """Where each quantity stands in a row of a batch size: id, first number, shape."""
    layout = run.engines.recorded(size)
    return [
        {"id": node.id, "at": place - layout.begin, "shape": list(node.shape)}
        for node, place in layout.offsets.items()
        if place >= layout.begin
    ]


def digest(rows: Any, states: Any) -> str:
    """What tells that rows and states belong together: the hash of the first and last row and the last state."""
    found = sha256(f"{len(rows)} {rows.width} {len(states)} {states.width}".encode())
    for part in ([rows[0], rows[len(rows) - 1]] if len(rows) else []) + [states[len(states) - 1]]:
        found.update(part)
    return found.hexdigest()


def data_digest(assembly: Assembly) -> str:
    """What tells whether the data are still those of the run."""
    found = sha256()
    for name, table in sorted(assembly.tables.items()):
        found.update(repr((name, table.shape, table.columns, len(table.rows))).encode())
        for row in table.rows:
            found.update(array("d", row))
    return found.hexdigest()


class FileLosses(Sequence[float | None]):
    """The loss of each iteration, read from the rows where they stand anyway."""

    def __init__(self, recorder: FileRecorder, run: Record) -> None:
        self._recorder = recorder
        self._run = run
        self._places: dict[int, int | None] = {}

    def __len__(self) -> int:
        return int(self._recorder.rows.count)

    @overload
    def __getitem__(self, k: int) -> float | None: ...
    @overload
    def __getitem__(self, k: slice) -> list[float | None]: ...
    def __getitem__(self, k: int | slice) -> float | list[float | None] | None:
        if isinstance(k, slice):
            return [self[place] for place in range(*k.indices(len(self)))]
        if not -len(self) <= k < len(self):
            raise IndexError(k)
        place = self._place(k % len(self))
        row = self._recorder.row(k % len(self))
        return None if place is None or row is None else float(row[place])

    def _place(self, k: int) -> int | None:
        size = self._run.schedule.batch_size(k)
        if size not in self._places:
            layout = self._run.engines.recorded(size)
            loss = layout.assembly.graph.loss
            at = layout.offsets.get(loss) if loss is not None else None
            self._places[size] = None if at is None or at < layout.begin else at - layout.begin
        return self._places[size]

    def __iter__(self) -> Iterator[float | None]:
        return (self[k] for k in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def extend(self, losses: Sequence[float | None]) -> None:
        """They are in the rows."""

    def __delitem__(self, k: slice) -> None:
        """They go with the rows."""


def read_header(file: str | Path) -> dict[str, Any]:
    """What a trace file says of itself. Raises `UsageError` where it is none."""
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"{file}: no such file")
    beside = header_path(path)
    try:
        document = json.loads(beside.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{file}: no stored trace, or half written: there is no {beside.name} beside it") from None
    except (ValueError, OSError) as error:
        raise UsageError(f"{beside}: damaged, or not written by bptrace ({error})") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UsageError(f"{beside}: not the header of a stored trace")
    if document.get("version") != VERSION:
        raise UsageError(f"{beside}: version {document.get('version')} of the format; this bptrace reads {VERSION}")
    return document


def differences(header: dict[str, Any], run: Record, rows: Any, states: Any) -> Iterator[str]:
    """In what a trace file differs from what this network would write."""
    if len(rows) != header["iterations"] or rows.width != header["width"]:
        yield (
            f"it has {len(rows):,} rows of {rows.width:,} numbers, its header says {header['iterations']:,} "
            f"of {header['width']:,}"
        )
    if digest(rows, states) != header["digest"]:
        yield "its rows, states and header do not belong together"
    if data_digest(run.whole) != header["data"]:
        yield "its data are others than those of the network now"
    for size, entries in header["nodes"].items():
        here = {entry["id"]: entry for entry in node_entries(run, int(size))}
        there = {entry["id"]: entry for entry in entries}
        for id in there.keys() - here.keys():
            yield f"it has {id}, this network has not"
        for id in here.keys() - there.keys():
            yield f"it has no {id}"
        for id in here.keys() & there.keys():
            if here[id] != there[id]:
                was, now = there[id], here[id]
                yield f"{id} is {was['shape']} at {was['at']} there and {now['shape']} at {now['at']} here"


