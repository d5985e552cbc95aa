"""Flags as annotations, for commands whose parameters Typer reads from their signatures."""

from __future__ import annotations

from typing import Annotated

from bptrace.cli.flags import NetFlags
from bptrace.cli.page import (
    PHASES,
    PageFlags,
    display_name,
    language,
    page_flags,
    page_style,
    read_stdin,
    shown,
)
from bptrace.cli.typed import option

__all__ = [
    "PHASES",
    "Color",
    "Digits",
    "Format",
    "Iterations",
    "Json",
    "Lang",
    "MaxRows",
    "Net",
    "Output",
    "PageFlags",
    "Quiet",
    "Sets",
    "Show",
    "Width",
    "display_name",
    "language",
    "page_flags",
    "page_style",
    "read_stdin",
    "shown",
]

Net = Annotated[str, option("net", NetFlags)]
Iterations = Annotated[int | None, option("iterations")]
Show = Annotated[str | None, option("show")]
Digits = Annotated[str, option("digits")]
MaxRows = Annotated[str, option("max_rows")]
Lang = Annotated[str | None, option("lang")]
Width = Annotated[int | None, option("width")]
Color = Annotated[str, option("color")]
Output = Annotated[str | None, option("output")]
Format = Annotated[str | None, option("format")]
Sets = Annotated[list[str] | None, option("set")]
Quiet = Annotated[bool, option("quiet")]
Json = Annotated[bool, option("json")]
