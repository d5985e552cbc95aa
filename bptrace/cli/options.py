"""Flags that mean the same in every command, and what they mean for a page."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from bptrace.errors import UsageError

if TYPE_CHECKING:
    from bptrace.export import PageStyle, Paint

Net = Annotated[
    str, typer.Argument(help="A YAML file, - for standard input, or a bundled network's name.", show_default=False)
]
Iterations = Annotated[int | None, typer.Option("--iterations", "-n", help="Run this many instead of the YAML's.")]
Show = Annotated[str | None, typer.Option("--show", help="Iterations to print: 1,2,last or all.")]
Only = Annotated[str, typer.Option("--only", help="Only this quantity: an id, a name, or a pattern such as 'grad.*'.")]
Phase = Annotated[str, typer.Option("--phase", help="Only forward, loss, backward, update or tangent.")]
Digits = Annotated[str, typer.Option("--digits", envvar="BPTRACE_DIGITS", help="Decimals of computed numbers, or all.")]
Exact = Annotated[bool, typer.Option("--exact", help="Compute with fractions.")]
MaxRows = Annotated[str, typer.Option("--max-rows", help="Rows of a table before the middle is left out, or all.")]
MaxTerms = Annotated[str, typer.Option("--max-terms", help="Terms of a sum before the middle is left out, or all.")]
Lang = Annotated[str | None, typer.Option("--lang", envvar="BPTRACE_LANG", help="en or zh.")]
Width = Annotated[int | None, typer.Option("--width", envvar="BPTRACE_WIDTH", help="Columns of the page.")]
Color = Annotated[str, typer.Option("--color", help="auto, always or never.")]
Output = Annotated[str | None, typer.Option("--output", "-o", help="Write to this file; - is standard output.")]
Format = Annotated[
    str | None, typer.Option("--format", help="text, markdown, json, csv or table; default: by the file's suffix.")
]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Change a value: layers.h.units=3.")]
Save = Annotated[str | None, typer.Option("--save", help="Write the parameters after the run to this checkpoint.")]
From = Annotated[str | None, typer.Option("--from", help="Start from the parameters of this checkpoint.")]
Record = Annotated[
    str | None,
    typer.Option("--record", help="Keep all numbers of each iteration, lean, or replay; default: by size."),
]
Memory = Annotated[str | None, typer.Option("--memory", help="What the rows kept may take: 512MB, 2GB.")]
Rows = Annotated[str | None, typer.Option("--trace", help="Write a row for each iteration to this .npy file.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Nothing on standard error but errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say on standard error what is done.")]
Json = Annotated[bool, typer.Option("--json", help="The result as JSON.")]

EVERYTHING = 10**9
PHASES = ("forward", "loss", "backward", "update", "tangent")


@dataclass(frozen=True)
class PageFlags:
    """The flags that say how a page looks."""

    digits: int | None = 9
    rows: int = 20
    terms: int = 8
    language: str = "en"
    columns: int = 80
    color: str = "auto"
    only: str = ""
    phase: str = ""


def page_flags(
    *,
    digits: str = "9",
    max_rows: str = "20",
    max_terms: str = "8",
    lang: str | None = None,
    width: int | None = None,
    color: str = "auto",
    only: str = "",
    phase: str = "",
    to_terminal: bool = True,
) -> PageFlags:
    """The page's flags, checked."""
    if color not in ("auto", "always", "never"):
        raise UsageError(f"--color {color}: auto, always or never")
    if phase and phase not in PHASES:
        raise UsageError(f"--phase {phase}: one of {', '.join(PHASES)}")
    if width is not None and width < 40:
        raise UsageError(f"--width {width}: at least 40")
    return PageFlags(
        digits=None if digits == "all" else _count(digits, "--digits", 0, 40),
        rows=EVERYTHING if max_rows == "all" else _count(max_rows, "--max-rows", 2),
        terms=EVERYTHING if max_terms == "all" else _count(max_terms, "--max-terms", 2),
        language=language(lang),
        columns=width if width is not None else _columns(to_terminal),
        color=color,
        only=only,
        phase=phase,
    )


def page_style(flags: PageFlags, net: str, ascii_only: bool = False, paint: Paint | None = None) -> PageStyle:
    """The flags as the report and the writers take them."""
    from bptrace.export import PageStyle

    return PageStyle(
        flags.language, flags.only, flags.phase, flags.rows, flags.terms, display_name(net), flags.digits,
        flags.columns, ascii_only, paint,
    )  # fmt: skip


def _count(text: str, flag: str, least: int, most: int = EVERYTHING) -> int:
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise UsageError(f"{flag} {text}: a whole number of at least {least}, or all")
    return int(text)


def language(flag: str | None) -> str:
    """The flag, or the locale's language where there is a catalogue for it, or English."""
    if flag is not None:
        if flag not in ("en", "zh"):
            raise UsageError(f"--lang {flag}: en or zh")
        return flag
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if os.environ.get(variable):
            return "zh" if os.environ[variable].startswith("zh") else "en"
    return "en"


def _columns(to_terminal: bool) -> int:
    """A terminal's width; 80 columns for pipes and files."""
    if to_terminal and sys.stdout.isatty():
        import shutil

        return max(60, shutil.get_terminal_size((80, 24)).columns)
    return 80


def shown(text: str | None, count: int, default: str) -> list[int]:
    """The iterations that `--show` names, in order: `1,2,last`, `3-5`, `all`."""
    found: set[int] = set()
    for part in (text or default).split(","):
        part = part.strip()
        first, dash, last = part.partition("-")
        if part == "all":
            return list(range(1, count + 1))
        if part == "last":
            found.add(count)
        elif first.isdigit() and (not dash or last.isdigit()):
            found.update(range(int(first), int(last or first) + 1))
        else:
            raise UsageError(f"--show {text}: iterations such as 1,2,last or 3-5 or all")
    wrong = [k for k in found if not k >= 1]
    if wrong:
        raise UsageError(f"--show {text}: iterations count from 1")
    return sorted(k for k in found if k <= count)


def display_name(net: str) -> str:
    """How the page's commands name the network: as it was typed."""
    return net if net != "-" else "net.yaml"


def read_stdin() -> str:
    """The YAML on standard input."""
    data = sys.stdin.buffer.read(10_000_001)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"-: the input is not UTF-8 (byte {error.start + 1})") from None
