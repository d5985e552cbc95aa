"""Typer's view of the table of flags: a parameter of each flag, a function of each command."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Annotated, Any

import typer

from bptrace.cli.flags import Command, Flag, Flags

__all__ = ["option", "typer_function"]


def option(name: str, table: type[Flags] = Flags) -> Any:
    """The annotation of a parameter that is the flag of this name."""
    return _info(table.table()[name])


def _info(flag: Flag) -> Any:
    if not flag.names:
        return typer.Argument(help=flag.help, metavar=flag.metavar, show_default=False)
    return typer.Option(*flag.names, help=flag.help, envvar=flag.variable, min=flag.least)


def typer_function(command: Command) -> Callable[..., None]:
    """A function as Typer reads it, by its signature, that does the command's work."""

    def function(**values: Any) -> None:
        command.work(command.takes(**values))

    parameters = []
    for name, flag in command.flags().items():
        kind: Any = list[flag.kind] if flag.many else flag.kind  # type: ignore[name-defined]
        if not flag.required and flag.default is None:
            kind = kind | None
        default = Parameter.empty if flag.required else flag.default
        annotation = Annotated[kind, _info(flag)]
        parameters.append(Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation))
    function.__name__ = command.name
    function.__doc__ = command.work.__doc__
    function.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return function
