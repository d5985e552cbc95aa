"""The flags of run, step, export and explain: each declared once, with its type, default and help.

A command takes an instance of `Flags`, or of a class of its own where a flag means something else there, and
names the flags that it has. Typer's commands (`bptrace.cli.app`) and the reader of plain lines
(`bptrace.cli.plain`) are both made of this table. Nothing is imported here that costs start-up time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Command", "Flag", "Flags", "NetFlags", "argument", "flag"]


@dataclass(frozen=True)
class Flag:
    """How a flag is written: its names (an argument has none), the type of its value, what `--help` says."""

    names: tuple[str, ...]
    help: str
    kind: type = str
    default: Any = None
    many: bool = False
    required: bool = False
    variable: str | None = None
    least: int | None = None
    metavar: str | None = None


def flag(
    *names: str, help: str, kind: type = str, default: Any = None, many: bool = False, variable: str | None = None,
    least: int | None = None,
) -> Any:  # fmt: skip
    """A flag as an attribute of `Flags`. `variable` is the environment's, `least` the smallest number."""
    return Flag(names, help, kind, default, many, variable=variable, least=least)


def argument(help: str, *, required: bool = True, metavar: str | None = None) -> Any:
    """A word without a flag, as an attribute of `Flags`."""
    return Flag((), help, required=required, metavar=metavar)


class Flags:
    """What was typed after a command; a flag that was not typed has its default."""

    def __init__(self, **values: Any) -> None:
        for name, declared in type(self).table().items():
            setattr(self, name, values.get(name, declared.default))

    @classmethod
    def table(cls) -> dict[str, Flag]:
        """The declaration of every attribute."""
        return {
            name: value
            for parent in reversed(cls.__mro__)
            for name, value in vars(parent).items()
            if isinstance(value, Flag)
        }

    iterations: int | None = flag("--iterations", "-n", kind=int, help="Run this many instead of the YAML's.")
    show: str | None = flag("--show", help="Iterations to print: 1,2,last or all.")
    only: str = flag("--only", default="", help="Only this quantity: an id, a name, or a pattern such as 'grad.*'.")
    phase: str = flag("--phase", default="", help="Only forward, loss, backward, update or tangent.")
    digits: str = flag(
        "--digits", default="9", variable="BPTRACE_DIGITS", help="Decimals of computed numbers, or all."
    )
    exact: bool = flag("--exact", kind=bool, default=False, help="Compute with fractions.")
    max_rows: str = flag(
        "--max-rows", default="20", help="Rows of a table before the middle is left out, or all."
    )
    max_terms: str = flag(
        "--max-terms", default="8", help="Terms of a sum before the middle is left out, or all."
    )
    lang: str | None = flag("--lang", variable="BPTRACE_LANG", help="en or zh.")
    width: int | None = flag("--width", kind=int, variable="BPTRACE_WIDTH", help="Columns of the page.")
    color: str = flag("--color", default="auto", help="auto, always or never.")
    output: str | None = flag("--output", "-o", help="Write to this file; - is standard output.")
    format: str | None = flag(
        "--format", help="text, markdown, json, csv or table; default: by the file's suffix."
    )
    set: list[str] | None = flag("--set", many=True, help="Change a value: layers.h.units=3.")
    save: str | None = flag("--save", help="Write the parameters after the run to this checkpoint.")
    from_: str | None = flag("--from", help="Start from the parameters of this checkpoint.")
    record: str | None = flag(
        "--record", help="Keep all numbers of each iteration, lean, or replay; default: by size."
    )
    memory: str | None = flag("--memory", help="What the rows kept may take: 512MB, 2GB.")
    trace: str | None = flag("--trace", help="Write a row for each iteration to this .npy file.")
    quiet: bool = flag("--quiet", "-q", kind=bool, default=False, help="Nothing on standard error but errors.")
    verbose: bool = flag("--verbose", "-v", kind=bool, default=False, help="Say on standard error what is done.")
    json: bool = flag("--json", kind=bool, default=False, help="The result as JSON.")

    @property
    def sets(self) -> tuple[str, ...]:
        """What was given by `--set`."""
        return tuple(self.set or ())


class NetFlags(Flags):
    """The same of a command that needs a network."""

    net: str = argument("A YAML file, - for standard input, or a bundled network's name.")


@dataclass(frozen=True)
class Command:
    """A command: what it does with its flags, their class, and those it has, in the order of its help."""

    name: str
    work: Callable[[Any], None]
    takes: type[Flags]
    order: tuple[str, ...]

    def flags(self) -> dict[str, Flag]:
        """The flags by the attribute of `takes` that they fill."""
        declared = self.takes.table()
        return {name: declared[name] for name in self.order}
