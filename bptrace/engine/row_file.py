"""Rows of float64 in a file that `numpy.load` reads: appended as they come, the header set at the end.

A file is written beside its name and takes it only when it is whole.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from bptrace.errors import RunError, UsageError

BUFFER_BYTES = 1 << 20
"""Rows that are written at once."""


class RowFile:
    """A file of rows of `width` numbers each, being written; what a `Recorder` keeps is in it."""

    def __init__(self, path: Path, width: int) -> None:
        from numpy.lib import format as npy

        self.path = path
        self.width = width
        self.count = 0
        self._npy = npy
        try:
            folder = path.resolve().parent
            handle, self._temporary = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.", suffix=".part")
        except OSError as error:
            raise RunError(f"{path}: {error.strerror or error}") from None
        self._stream: BinaryIO = os.fdopen(handle, "w+b", buffering=0)
        self._header(0)
        self._start = self._stream.tell()

    def write(self, rows: Any, count: int, width: int) -> None:
        """Append rows of `width` numbers, the shorter ones filled up with NaN."""
        try:
            self._stream.seek(self._start + 8 * self.count * self.width)
            if width == self.width:
                self._all(rows)
            else:
                rest = array("d", [float("nan")] * (self.width - width)).tobytes()
                self._all(b"".join(bytes(rows[k * width : (k + 1) * width]) + rest for k in range(count)))
        except OSError as error:
            raise RunError(f"{self.path}: {error.strerror or error}") from None
        self.count += count

    def _all(self, data: Any) -> None:
        left = memoryview(data).cast("B")
        while left:
            left = left[self._stream.write(left) :]

    def append(self, row: Sequence[float]) -> None:
        self.write(memoryview(array("d", row)), 1, self.width)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int) -> Any:
        return read_row(self._stream, self._start, self.width, k)

    def close(self) -> None:
        """The file is whole: give it its header and its name."""
        try:
            self._stream.truncate(self._start + 8 * self.count * self.width)
            self._stream.seek(0)
            self._header(self.count)
            umask = os.umask(0)
            os.umask(umask)
            Path(self._temporary).chmod(0o666 & ~umask)
            Path(self._temporary).replace(self.path.resolve())
        except OSError as error:
            raise RunError(f"{self.path}: {error.strerror or error}") from None

    def _header(self, count: int) -> None:
        # NumPy leaves room in the header for the first axis to grow
        shape = {"descr": self._npy.dtype_to_descr(_float64()), "fortran_order": False, "shape": (count, self.width)}
        self._npy.write_array_header_1_0(self._stream, shape)

    def __del__(self) -> None:
        _close(self)

    def abandon(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError):
            self._stream.close()
            Path(self._temporary).unlink(missing_ok=True)


class StoredRows:
    """A finished file of rows, read a row at a time. Raises `UsageError` where it is none or not whole."""

    def __init__(self, path: Path) -> None:
        from numpy.lib import format as npy

        try:
            self._stream = path.open("rb")
            if npy.read_magic(self._stream) != (1, 0):
                raise ValueError("no file of rows")
            shape, fortran, dtype = npy.read_array_header_1_0(self._stream)
        except FileNotFoundError:
            raise UsageError(f"{path}: no such file") from None
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: no stored trace, or damaged ({error})") from None
        if len(shape) != 2 or fortran or dtype != _float64():
            raise UsageError(f"{path}: no stored trace: an array of {dtype} of shape {list(shape)}")
        self.path = path
        self.count, self.width = shape
        self._start = self._stream.tell()
        held, whole = path.stat().st_size, self._start + 8 * self.count * self.width
        if held != whole:
            raise UsageError(f"{path}: half written: {held:,} bytes, its header says {whole:,}")

    def __del__(self) -> None:
        _close(self)

    def __len__(self) -> int:
        return int(self.count)

    def __getitem__(self, k: int) -> Any:
        return read_row(self._stream, self._start, self.width, k)


def _close(rows: RowFile | StoredRows) -> None:
    """Rows are read for as long as their trace is there, so only its end closes the file."""
    stream = getattr(rows, "_stream", None)
    if stream is not None:
        with contextlib.suppress(OSError):
            stream.close()


def read_row(stream: BinaryIO, start: int, width: int, k: int) -> Any:
    stream.seek(start + 8 * k * width)
    data = b""
    while len(data) < 8 * width:
        part = stream.read(8 * width - len(data))
        if not part:
            raise RunError(f"row {k + 1} of a trace file cannot be read: the file has become shorter")
        data += part
    return memoryview(data).cast("d")


def _float64() -> Any:
    import numpy

    return numpy.dtype(numpy.float64)


class FileRecorder:
    """Keeps every row of a run in a file; has the methods of `Recorder`."""

    def __init__(self, rows: RowFile | StoredRows) -> None:
        self.rows = rows
        self.after: dict[int, Sequence[float]] = {}
        self.sizes: dict[int, int] = {}
        self._chunk: Any = None
        self._width = 0

    def store(self, batch_size: int, row_size: int) -> FileRecorder:
        self.sizes[batch_size] = self._width = row_size
        return self

    def reserve(self, wanted: int) -> tuple[Any, int, int]:
        """The same memory each time: what is in it is in the file when `add` has been called."""
        if self._chunk is None:
            most = max(1, BUFFER_BYTES // (8 * self.rows.width))
            self._chunk = memoryview(bytearray(8 * most * self.rows.width)).cast("d")
        return self._chunk, 0, min(wanted, max(1, len(self._chunk) // max(1, self._width)))

    def add(self, iteration: int, count: int, batch_size: int) -> None:
        assert isinstance(self.rows, RowFile) and iteration == self.rows.count
        width = self.sizes[batch_size]
        self.rows.write(self._chunk[: count * width], count, width)

    def drop(self, count: int) -> None:
        self.rows.count -= count

    def row(self, iteration: int) -> Sequence[float] | None:
        return self.rows[iteration] if 0 <= iteration < self.rows.count else None

    @property
    def iterations(self) -> range:
        return range(self.rows.count)
