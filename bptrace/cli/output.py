"""Where results go: standard output in its encoding, or a file that is complete or not there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from bptrace.errors import RunError
from bptrace.files import in_blocks, write_file


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


def write(chunks: Iterable[str | bytes], destination: str | None, *, inputs: Iterable[str] = ()) -> None:
    """Write to standard output (None, `-`) or to a file, which replaces another only when whole.

    Raises `UsageError` where the file is one of the inputs or a folder.
    """
    if destination is None or destination == "-":
        _print(chunks)
    else:
        write_file(destination, chunks, inputs=inputs)


def _print(chunks: Iterable[str | bytes]) -> None:
    """Write to standard output. A full disk is no bug, so it is reported; a closed pipe passes through."""
    for block in in_blocks(chunks):
        try:
            if isinstance(block, bytes):
                sys.stdout.buffer.write(block)
                continue
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
