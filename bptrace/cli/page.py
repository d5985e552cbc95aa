"""What the flags mean for a page: checked, with the terminal's width and the locale's language."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bptrace.errors import UsageError

if TYPE_CHECKING:
    from bptrace.cli.flags import Flags
    from bptrace.export import PageStyle, Paint

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


def page_flags_of(given: Flags, *, to_terminal: bool, color: str | None = None) -> PageFlags:
    """The same of the flags of a command; `color` where the command has no such flag."""
    return page_flags(
        digits=given.digits, max_rows=given.max_rows, max_terms=given.max_terms, lang=given.lang, width=given.width,
        color=color or given.color, only=given.only, phase=given.phase, to_terminal=to_terminal,
    )  # fmt: skip


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
