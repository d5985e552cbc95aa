"""Writing files: complete or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from bptrace.errors import RunError, UsageError

BLOCK = 256
"""Pieces of text that are written at once."""


def write_file(destination: str | Path, chunks: Iterable[str | bytes], *, inputs: Iterable[str | Path] = ()) -> None:
    """Write to a file, which replaces another only when whole; to a pipe or device as it comes.

    Raises `UsageError` where the file is one of the `inputs` or a folder, `RunError` where it cannot
    be written.
    """
    path = Path(destination)
    for number, source in enumerate(inputs):
        if str(source) != "-" and path.exists() and Path(source).exists() and path.samefile(source):
            what = "the network itself" if number == 0 else "a data file of the network"
            raise UsageError(f"{destination}: that is {what}")
    if path.is_dir():
        raise UsageError(f"{destination}: that is a folder; name a file in it")
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as stream:
                stream.writelines(_encoded(chunks))
            return
        _replace(path, chunks)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise RunError(f"{destination}: {error.strerror or error}") from None


def _replace(path: Path, chunks: Iterable[str | bytes]) -> None:
    """Write beside the file, then rename."""
    import tempfile  # most commands write to standard output

    handle, temporary = tempfile.mkstemp(dir=path.resolve().parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.writelines(_encoded(chunks))
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        Path(temporary).chmod(mode)
        Path(temporary).replace(path.resolve())
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def _encoded(chunks: Iterable[str | bytes]) -> Iterator[bytes]:
    """Text as UTF-8, bytes as they are."""
    return (block if isinstance(block, bytes) else block.encode("utf-8") for block in in_blocks(chunks))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def in_blocks(chunks: Iterable[str | bytes]) -> Iterator[str | bytes]:
    """The same text in fewer, larger pieces; bytes as they come."""
    waiting: list[str] = []
    for chunk in chunks:
        if isinstance(chunk, bytes):
            yield chunk
            continue
        waiting.append(chunk)
        if len(waiting) >= BLOCK:
            yield "".join(waiting)
            waiting.clear()
    yield "".join(waiting)
