"""The reader of plain lines and Typer's commands are two readers of one table: they must not differ."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import pytest
import typer
import typer.main
from conftest import ROOT, cleared
from hypothesis import given, settings
from hypothesis import strategies as st

from bptrace.cli.flags import Command, Flag, Flags
from bptrace.cli.plain import PLAIN, command_of, read
from bptrace.cli.typed import typer_function
from bptrace.errors import SpecError
from bptrace.network import load

REFUSED = "refused"
VARIABLES = ("BPTRACE_DIGITS", "BPTRACE_LANG", "BPTRACE_WIDTH")

ORDINARY = ["1", "40", "0", "mazur", "w5", "h.W[1,2]", "1,last", "2-5", "-", "layers.h.units=3", "a b", "网络"]
ODD = ["", " 5", "5 ", "007", "+5", "1_000", "٣", "2.0", "1e3", "9" * 30, "-1", "--", "-h", "=", "\t", "\udcff"]
TEXTS = [*ORDINARY, *ODD]


@cache
def program() -> tuple[Any, list[Flags]]:
    """Typer's program of the plain commands, and the list of what reaches them."""
    reached: list[Flags] = []
    app = typer.Typer(pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]})
    app.callback()(lambda: None)
    for name in PLAIN:
        command = command_of(name)
        app.command()(typer_function(Command(name, reached.append, command.takes, command.order)))
    return typer.main.get_command(app), reached


def typed(arguments: Sequence[str]) -> Mapping[str, Any] | str:
    """What Typer reads: the values that reach the command, or that it refuses the line (or shows the help)."""
    main, reached = program()
    reached.clear()
    try:
        main.main(list(arguments), standalone_mode=False)
    except Exception:  # each version of Typer has errors of its own
        return REFUSED
    return values(reached[0]) if reached else REFUSED


def values(flags: Flags) -> dict[str, Any]:
    """Every field with its value; flags that were not given at all are alike empty."""
    return vars(flags) | {"set": flags.set or None}


def agree(arguments: Sequence[str]) -> bool:
    """Whether the plain reader took the line; if it did, it read what Typer reads."""
    plain = read(arguments, os.environ)
    if plain is None:
        return False
    assert values(plain[1]) == typed(arguments), arguments
    return True


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def words_of(flag: Flag, text: str) -> Iterator[list[str]]:
    """The ways to write a flag with a value."""
    for name in flag.names:
        if flag.kind is bool:
            yield from ([name], [f"{name}={text}"])
        else:
            yield from ([name, text], [f"{name}={text}"], [f"{name}{text}"], [name])
    if not flag.names:
        yield [text]


def required(command: Command) -> list[str]:
    return ["mazur" if name == "net" else "w5" for name, flag in command.flags().items() if flag.required]


@pytest.mark.parametrize("name", PLAIN)
def test_every_flag_with_every_kind_of_text(name: str) -> None:
    command = command_of(name)
    taken = 0
    for flag in command.flags().values():
        if flag.required:
            continue
        for text in TEXTS if flag.kind is not bool else ["1", "true"]:
            for words in words_of(flag, text):
                taken += agree([name, *required(command), *words])
                agree([name, *words, *required(command)])
    assert taken > 50


@pytest.mark.parametrize("name", PLAIN)
def test_ordinary_values_need_no_typer(name: str) -> None:
    """The reader that refused everything would agree with Typer as well."""
    command = command_of(name)
    for flag in command.flags().values():
        if flag.names:
            text = "5" if flag.kind is int else "5,last"
            for written in flag.names:
                line = [name, *required(command), written] + ([] if flag.kind is bool else [text])
                assert agree(line), line


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("text", TEXTS)
def test_arguments(name: str, text: str) -> None:
    for line in ([name], [name, text], [name, "mazur", text], [name, "mazur", "w5", text], [text, name]):
        agree(line)


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """A command with flags and words of the table in any order and number."""
    name = draw(st.sampled_from(PLAIN))
    flags = list(command_of(name).flags().values())
    parts = draw(
        st.lists(
            st.one_of(
                st.sampled_from(ORDINARY).map(lambda text: [text]),
                st.tuples(st.sampled_from(flags), st.sampled_from(ORDINARY), st.integers(0, 7)).map(
                    lambda it: (ways := list(words_of(it[0], it[1])))[it[2] % len(ways)]
                ),
            ),
            max_size=5,
        )
    )
    return [name, *(word for part in parts for word in part)]


@given(lines())
@settings(max_examples=300, deadline=None)
def test_any_line_of_the_table(line: list[str]) -> None:
    agree(line)


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("text", [text for text in TEXTS if text != "\udcff"])
def test_settings_of_the_environment(variable: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, text)
    for line in (["run", "mazur"], ["run", "mazur", "--digits", "4", "--lang", "en", "--width", "50"]):
        agree(line)


@pytest.mark.parametrize(
    "line",
    [[], ["--help"], ["-h"], ["--version", "run"], ["run", "--help"], ["run", "mazur", "-h"], ["run"],
     ["explain", "mazur"], ["run", "mazur", "--iteration", "5"], ["run", "mazur", "--digits"], ["run", "a", "b"],
     ["examples"], ["runs", "mazur"], ["step", "-n", "0"], ["run", "mazur", "--exact=1"], ["run", "mazur", "-qv"],
     ["run", "--", "mazur"]],
)  # fmt: skip
def test_what_is_left_to_typer(line: list[str]) -> None:
    assert read(line, {}) is None


def test_completion_is_left_to_typer() -> None:
    assert read(["run", "mazur"], {}) is not None
    assert read(["run", "mazur"], {"_BPTRACE_COMPLETE": "complete_bash"}) is None


def test_a_flag_is_declared_once() -> None:
    for name in PLAIN:
        command = command_of(name)
        names = [written for flag in command.flags().values() for written in flag.names]
        assert len(names) == len(set(names))
        assert len(set(command.order)) == len(command.order)


NOT_NEEDED = {"typer", "click", "rich", "numpy", "argparse", "difflib"}
OF_OTHER_FILES = {
    f"bptrace.{name}"
    for name in (
        "build.expressions", "build.fisher", "cli.app", "data.read", "engine.metrics", "formula.latex", "layers.lstm",
        "optimizers.clip", "optimizers.fisher", "optimizers.mask", "optimizers.schedule", "ops.sequence",
        "spec.expression", "spec.schema",
    )
}  # fmt: skip
"""What a file without a graph, clipping, a schedule, ... has no use for."""


@pytest.mark.parametrize(
    "line",
    [["run", "networks/mazur.yaml"], ["export", "mazur", "--format", "table"], ["explain", "mazur", "w5"]],
    ids=" ".join,
)  # fmt: skip
def test_what_a_plain_command_imports(line: list[str]) -> None:
    """The start is short because these are not imported."""
    loaded = modules_after("from bptrace.cli import main; main()", *line)
    assert "bptrace.network" in loaded
    assert not {name for name in loaded if name.partition(".")[0] in NOT_NEEDED}
    assert not loaded & OF_OTHER_FILES


def test_the_version_imports_nothing() -> None:
    before = modules_after("import atexit, gc, os, sys", "--version")
    loaded = modules_after("from bptrace.cli import main; main()", "--version")
    assert loaded - before == {"__future__", "bptrace", "bptrace.cli"}


def modules_after(source: str, *arguments: str) -> set[str]:
    """The modules that a process has imported at its end."""
    report = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    done = subprocess.run(
        [sys.executable, "-c", f"{report}\n{source}", *arguments], cwd=ROOT, env=cleared(os.environ),
        capture_output=True, text=True, encoding="utf-8", timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def test_a_part_on_demand_is_refused_like_any_other() -> None:
    """The place and the words are those of a model that stands in the file's own model."""
    text = (ROOT / "networks" / "mazur.yaml").read_text(encoding="utf-8")
    assert "learning_rate: 0.5" in text
    for value, said in (
        ("{norm: 0}", "optimizer.clip.norm: cannot be 0"),
        ("{nrm: 1}", "optimizer.clip.nrm: unknown key 'nrm'"),
        ("5", "optimizer.clip: cannot be 5"),
    ):
        with pytest.raises(SpecError) as refused:
            load("mazur", text=text, overrides=[f"optimizer.clip={value}"])
        assert said in str(refused.value)
