"""What reading a data file gives, the limits that are checked before reading, and the bundled datasets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from bptrace.errors import Problem

LARGEST_FILE = 100_000_000
"""Bytes of a data file."""
LARGEST_ARRAY = 20_000_000
"""Numbers of one array."""
MOST_PROBLEMS = 20
"""Mistakes of one data file that are listed."""

Rows: TypeAlias = list[list[float]]
Complain: TypeAlias = Callable[..., None]
"""`complain(path, message, expected, known, got)`: a mistake at a place of the YAML, below `data`."""


@dataclass(frozen=True)
class Dataset:
    """A bundled CSV and which of its columns are what, where the YAML does not say."""

    file: str
    targets: tuple[str, ...]
    categories: tuple[str, ...] = ()


DATASETS = {
    "iris": Dataset("iris.csv", ("species",), ("species",)),
    "digits": Dataset("digits.csv", ("digit",), ("digit",)),
    "diabetes": Dataset("diabetes.csv", ("progression",)),
}


@dataclass(frozen=True)
class ArrayRead:
    """One array of a file: `rows[n]` is flat, `shape` that of a row.

    `labels` name the columns as the file does (none for arrays and pictures); `one_hot` says of each
    whether it is a class's 0 or 1. Missing cells are NaN.
    """

    name: str
    kind: str
    rows: Rows
    shape: tuple[int, ...]
    labels: tuple[str, ...] = ()
    one_hot: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Picture:
    """The size of a picture in pixels, and the side of the square tiles that are its samples (None: it is one)."""

    channels: int
    height: int
    width: int
    tile: int | None = None

    @property
    def samples(self) -> int:
        return 1 if self.tile is None else self.height // self.tile * (self.width // self.tile)

    @property
    def numbers(self) -> int:
        """The numbers of one sample."""
        return self.channels * self.height * self.width // self.samples


@dataclass(frozen=True)
class Source:
    """All that was read: the arrays, the files that they come from, the classes of each category in
    order, and of a picture its size and by what its pixels were divided (1 elsewhere)."""

    file: str
    paths: tuple[Path, ...]
    arrays: tuple[ArrayRead, ...]
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    divisor: int = 1
    picture: Picture | None = None


class UnreadableError(Exception):
    """A data file that cannot be used; the mistakes are in `problems`, or, where the file has no lines,
    `message` and `expected` go to the place in the YAML that names it."""

    def __init__(self, message: str = "", expected: str = "", problems: Iterable[Problem] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.problems = tuple(problems)


def checked_file(path: Path) -> Path:
    """The path of a regular file that is not too large."""
    try:
        if path.is_dir():
            raise UnreadableError(f"{path} is a folder", "a file")
        if not path.exists():
            raise UnreadableError(f"{path}: no such file", "a path relative to the YAML")
        if not path.is_file():
            raise UnreadableError(f"{path} is no regular file", "a file")
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{path}: {getattr(error, 'strerror', None) or 'cannot be read'}") from None
    if size > LARGEST_FILE:
        raise UnreadableError(f"{path} has {size:,} bytes", f"at most {LARGEST_FILE:,}")
    return path


def read_bytes(path: Path) -> bytes:
    """The whole file."""
    try:
        return checked_file(path).read_bytes()
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror or 'cannot be read'}") from None
