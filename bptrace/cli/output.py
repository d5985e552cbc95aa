"""Where results go: standard output in its encoding, or a file that is complete or not there."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from bptrace.errors import RunError, UsageError

BLOCK = 256
"""Lines that are written at once."""


def needs_ascii(destination: str | None) -> bool:
    """Whether standard output cannot show δ, ∂ and Σ."""
    if destination not in (None, "-"):
        return False
    encoding = sys.stdout.encoding or "ascii"
    try:
        "δ∂Σ≈·×√ᵀ²".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        if not sys.stdout.isatty():
            reconfigure = getattr(sys.stdout, "reconfigure", None)
            if reconfigure is not None and encoding.lower() not in ("ascii", "ansi_x3.4-1968", "us-ascii"):
                reconfigure(encoding="utf-8")
                return False
        return True
    return False


def write(chunks: Iterable[str], destination: str | None, *, inputs: Iterable[str] = ()) -> None:
    """Write text to standard output (None, `-`) or to a file, which replaces another only when whole.

    Raises `UsageError` where the file is one of the inputs or a folder.
    """
    if destination in (None, "-"):
        _print(chunks)
        return
    assert destination is not None
    path = Path(destination)
    for source in inputs:
        if source != "-" and path.exists() and Path(source).exists() and path.samefile(source):
            raise UsageError(f"-o {destination}: that is the network itself")
    if path.is_dir():
        raise UsageError(f"-o {destination}: that is a folder; name a file in it")
    try:
        if path.exists() and not path.is_file():
            with path.open("w", encoding="utf-8", newline="\n") as stream:  # a pipe, a device
                stream.writelines(_blocks(chunks))
            return
        _replace(path, chunks)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise RunError(f"-o {destination}: {error.strerror or error}") from None


def _print(chunks: Iterable[str]) -> None:
    """Write to standard output. A full disk is no bug, so it is reported; a closed pipe passes through."""
    for block in _blocks(chunks):
        try:
            try:
                sys.stdout.write(block)
            except UnicodeEncodeError:  # a format that has no ASCII forms
                sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
                sys.stdout.write(block)
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            abandon_stdout()
            raise RunError(f"standard output: {error.strerror or error}") from None


def abandon_stdout() -> None:
    """Nothing more can be said there, and Python must not try again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _replace(path: Path, chunks: Iterable[str]) -> None:
    """Write beside the file, then rename, so that no half-written file takes the place of a good one."""
    handle, temporary = tempfile.mkstemp(dir=path.resolve().parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(_blocks(chunks))
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        Path(temporary).chmod(mode)
        Path(temporary).replace(path.resolve())
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _blocks(chunks: Iterable[str]) -> Iterator[str]:
    waiting: list[str] = []
    for chunk in chunks:
        waiting.append(chunk)
        if len(waiting) >= BLOCK:
            yield "".join(waiting)
            waiting.clear()
    yield "".join(waiting)


def colored(destination: str | None, color: str) -> bool:
    """Whether lines are coloured: on a terminal, unless NO_COLOR or --color says otherwise."""
    if destination not in (None, "-") or color == "never":
        return False
    if color == "always":
        return True
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def note(text: str, quiet: bool = False) -> None:
    """A remark on standard error."""
    if not quiet:
        print(text, file=sys.stderr)
