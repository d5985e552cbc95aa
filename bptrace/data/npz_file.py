"""npz: arrays of NumPy. Kind and size of each are read from its header before any of its numbers."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from bptrace.data.source import LARGEST_ARRAY, UnreadableError, checked_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LARGEST_HEADER = 10_000
"""Bytes of the text that describes an array."""


def npz_names(path: Path) -> tuple[str, ...]:
    """The names of the arrays in a file."""
    with _opened(path) as archive:
        return tuple(name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy"))


def read_npz(path: Path, names: Iterable[str]) -> dict[str, NDArray[np.float64]]:
    """The arrays of these names, as float64."""
    with _opened(path) as archive:
        return {name: _array(path, archive, name) for name in names}


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(checked_file(path))
    except (zipfile.BadZipFile, OSError, EOFError, ValueError):
        raise UnreadableError(f"{path} is no npz", "a file written by numpy.savez") from None


def _array(path: Path, archive: zipfile.ZipFile, name: str) -> NDArray[np.float64]:
    import numpy as np

    what = f"{path}: the array '{name}'"
    try:
        member = archive.getinfo(f"{name}.npy")
        with archive.open(member) as stream:
            shape, dtype = _header(stream, what)
            size = prod(shape) * dtype.itemsize
            if dtype.hasobject:
                raise UnreadableError(f"{what} holds Python objects (a pickle)", "an array of numbers")
            if dtype.kind not in "biuf":
                raise UnreadableError(f"{what} holds {dtype.name}", "an array of real numbers")
            if prod(shape) > LARGEST_ARRAY:
                raise UnreadableError(f"{what} has {prod(shape):,} numbers", f"at most {LARGEST_ARRAY:,}")
            if size > member.file_size:
                raise UnreadableError(f"{what} is shorter than its header says", "a whole file")
        with archive.open(member) as stream:
            array = np.lib.format.read_array(stream, allow_pickle=False)
    except UnreadableError:
        raise
    except KeyError:
        raise UnreadableError(f"{path} has no array '{name}'") from None
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError, RuntimeError):
        raise UnreadableError(f"{what} is damaged", "a file written by numpy.savez") from None
    if not array.size:
        raise UnreadableError(f"{what} is empty: its shape is {list(array.shape)}", "at least one row")
    numbers = array.astype(np.float64)
    if dtype.kind in "iu" and np.abs(numbers).max() > 2**53:
        raise UnreadableError(f"{what} holds integers beyond 2^53, which lose digits as floats", "smaller numbers")
    if not np.isfinite(numbers).all():
        place = np.argwhere(~np.isfinite(numbers))[0]
        index = ",".join(str(k + 1) for k in place)
        raise UnreadableError(f"{what} holds {numbers[tuple(place)]} at [{index}]", "finite numbers")
    return numbers


def _header(stream: IO[bytes], what: str) -> tuple[tuple[int, ...], Any]:
    """Shape and kind of the numbers that follow."""
    import numpy as np

    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise UnreadableError(f"{what} is of an unknown version", "a file written by numpy.savez")
    shape, _, dtype = read(stream, max_header_size=LARGEST_HEADER)
    return shape, dtype
