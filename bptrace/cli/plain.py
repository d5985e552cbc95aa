"""Reads the plain lines, `run NET --flag value ...`, without Typer.

Importing Typer and running it takes longer than a small network. What is read here is only what leaves no doubt:
flags by their full names or short forms, one word each, with ordinary values. Every other line (help, completion,
abbreviations, mistakes) is for Typer, whose commands are made of the same table; `tests/test_cli_plain.py` holds
that both read the same lines in the same way.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from bptrace.cli.flags import Command, Flag, Flags

__all__ = ["PLAIN", "command_of", "read"]

PLAIN = ("run", "step", "export", "explain")
"""The commands that are declared in the table of flags."""

LONGEST_NUMBER = 9


def command_of(name: str) -> Command:
    """The declaration of one of the plain commands."""
    command: Command = import_module(f"bptrace.cli.{name}").COMMAND
    return command


def read(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[Command, Flags] | None:
    """The command of a plain line and its flags, or None: then Typer is to read the line."""
    if not arguments or arguments[0] not in PLAIN:
        return None
    if os.name == "nt" or any(name.startswith("_") and name.endswith("_COMPLETE") for name in environment):
        return None  # a shell that asks for completions; on Windows, patterns of file names are for Typer to expand
    command = command_of(arguments[0])
    flags = command.flags()
    texts = _texts(arguments[1:], flags)
    if texts is None:
        return None
    for name, flag in flags.items():
        if flag.variable is not None and name not in texts and environment.get(flag.variable):
            texts[name] = [environment[flag.variable]]
    values: dict[str, Any] = {}
    for name, written in texts.items():
        read_here = [_value(text, flags[name]) for text in written]
        if None in read_here:
            return None
        values[name] = read_here if flags[name].many else read_here[-1]
    if any(flag.required and name not in values for name, flag in flags.items()):
        return None
    return command, command.takes(**values)


def _texts(words: Sequence[str], flags: Mapping[str, Flag]) -> dict[str, list[str]] | None:
    """What was typed for each flag, a switch as the empty text; None where a word is no plain one."""
    names = {written: name for name, flag in flags.items() for written in flag.names}
    places = [name for name, flag in flags.items() if not flag.names]
    found: dict[str, list[str]] = {}
    rest = iter(words)
    for word in rest:
        if not word.startswith("-") or word == "-":
            if not places:
                return None
            found[places.pop(0)] = [word]
            continue
        written, equals, text = word.partition("=")
        name = names.get(written)
        if name is None or (equals and (flags[name].kind is bool or not written.startswith("--"))):
            return None
        if flags[name].kind is not bool and not equals:
            text = next(rest, "")
            if text.startswith("-") and text != "-":
                return None
        found.setdefault(name, []).append(text)
    return found


def _value(text: str, flag: Flag) -> str | int | bool | None:
    """The value of an ordinary text, or None."""
    if flag.kind is bool:
        return True
    if not text or not text.isprintable() or text != text.strip():
        return None
    if flag.kind is str:
        return text
    if not text.isascii() or not text.isdigit() or len(text) > LONGEST_NUMBER or (len(text) > 1 and text[0] == "0"):
        return None
    return int(text) if flag.least is None or int(text) >= flag.least else None
