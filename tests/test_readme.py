"""The README is true: its commands are run, its Python is executed, its tables are those of the program.

After a wanted change of the output, `BPTRACE_UPDATE_GOLDEN=1 python -m pytest tests/test_readme.py` writes its
blocks and its list of networks anew.
"""

from __future__ import annotations

import doctest
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Answer, cleared

Command = Callable[..., Answer]

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
UPDATE = os.environ.get("BPTRACE_UPDATE_GOLDEN") == "1"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.M | re.S)
CONSOLE = [content for kind, content in BLOCKS if kind == "console"]


def section(heading: str) -> str:
    """The text under a heading, down to the next heading of its level or above."""
    level = heading.partition(" ")[0]
    found = re.search(rf"^{re.escape(heading)}$(.*?)(?=^#{{1,{len(level)}}} |\Z)", TEXT, re.M | re.S)
    assert found, f"the README has no heading {heading}"
    return found.group(1)


def tables(text: str) -> list[list[list[str]]]:
    """Its tables: rows of cells, without the lines of headings."""
    found: list[list[list[str]]] = []
    before = ""
    for line in text.splitlines():
        if line.startswith("|"):
            if not before.startswith("|"):
                found.append([])
            cells = re.split(r"(?<!\\)\|", line.strip("|"))
            found[-1].append([cell.strip() for cell in cells])
        before = line
    return [table[2:] for table in found]


def words(text: str) -> set[str]:
    """What stands in code marks, taken apart into words."""
    return {word for code in re.findall(r"`([^`]+)`", text) for word in re.findall(r"[A-Za-z_][A-Za-z0-9_]*", code)}


def keys(table: list[list[str]]) -> list[str]:
    """The code words of its first column."""
    return [code for row in table for code in re.findall(r"`([^`]+)`", row[0])]


# -- commands and their output


@pytest.mark.parametrize("block", CONSOLE, ids=lambda block: block.partition("\n")[0])
def test_output_is_what_the_command_prints(block: str) -> None:
    first, _, shown = block.partition("\n")
    assert first.startswith("$ bptrace ")
    function = f'bptrace() {{ "{sys.executable}" -m bptrace "$@"; }}; '
    done = subprocess.run(
        ["bash", "-c", function + first[2:]], cwd=ROOT, capture_output=True, text=True, encoding="utf-8",
        env=cleared(os.environ), stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    if UPDATE:
        README.write_text(
            README.read_text(encoding="utf-8").replace(block, f"{first}\n{done.stdout}"), encoding="utf-8"
        )
    else:
        assert shown == done.stdout


def test_python_is_executed() -> None:
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    examples = [content for kind, content in BLOCKS if kind == "python"]
    assert examples
    for content in examples:
        result = runner.run(parser.get_doctest(content, {}, "README.md", "README.md", 0))
        assert result.attempted
        assert not result.failed


@pytest.mark.parametrize(
    "text", [content for kind, content in BLOCKS if kind == "yaml"], ids=lambda t: t.partition("\n")[0]
)
def test_networks_run(command: Command, text: str) -> None:
    answer = command("run", "-", input=text)
    assert (answer.code, answer.err) == (0, "")


def test_the_two_commands_are_those_of_the_checks() -> None:
    install, test = (content.strip() for kind, content in BLOCKS if kind == "sh")
    assert install.endswith(".venv/bin/bptrace run networks/mazur.yaml")
    assert "\n" not in install + test
    pytest_line = test.rpartition("&& ")[2].removeprefix(".venv/bin/python ")
    assert pytest_line in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target
    for path in re.findall(r"`((?:bptrace|tests|networks)/[\w/.-]*)`", TEXT):
        assert (ROOT / path).exists(), path


# -- commands, flags, exit codes


def interface() -> dict[str, set[str]]:
    """Every command with its options."""
    import typer.main

    from bptrace.cli.app import app

    group: Any = typer.main.get_command(app)
    found = {name: {o for p in sub.params for o in p.opts if o.startswith("-")} for name, sub in group.commands.items()}
    return found | {"": {o for p in group.params for o in p.opts}}


def test_every_command_is_documented() -> None:
    documented = {key.split()[1] for key in keys(tables(section("## Commands"))[0])}
    assert documented == set(interface()) - {""}


def test_every_flag_is_documented() -> None:
    documented = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", section("## Commands")))
    defined = set().union(*interface().values()) | {"-h", "--help"}
    assert defined <= documented
    assert documented <= defined


def test_exit_codes() -> None:
    from bptrace.cli.start import INTERRUPTED
    from bptrace.errors import RunError, SpecError, UsageError

    documented = [int(code) for code in keys(tables(section("## Commands"))[2])]
    assert documented == [0, RunError.exit_code, UsageError.exit_code, 3, INTERRUPTED]
    assert SpecError.exit_code == UsageError.exit_code


def test_formats_phases_and_languages() -> None:
    from bptrace.cli.options import PHASES
    from bptrace.export import FORMATS
    from bptrace.report.labels import LANGUAGES

    rows = {row[0]: words(row[1]) for row in tables(section("## Commands"))[1]}
    assert set(PHASES) <= rows["`--phase PHASE`"]
    assert set(FORMATS) <= rows["`--format FORMAT`"]
    assert set(LANGUAGES) <= rows["`--lang LANG`"]


# -- the YAML reference against the JSON Schema


def schema() -> dict[str, Any]:
    from bptrace.spec.schema import schema

    return schema()


def properties(name: str) -> dict[str, Any]:
    found = schema()
    part = found if not name else found["$defs"][name]
    result: dict[str, Any] = part["properties"] if "properties" in part else part["anyOf"][1]["properties"]
    return result


def enumerated(part: Any) -> set[str]:
    """The words that a field may be."""
    found: set[str] = set()
    if isinstance(part, dict):
        found |= {word for word in part.get("enum", []) if isinstance(word, str)}
        found |= {part["const"]} if isinstance(part.get("const"), str) else set()
        for key in ("anyOf", "oneOf", "items"):
            found |= enumerated(part.get(key))
    elif isinstance(part, list):
        found = set().union(*map(enumerated, part))
    return found


@pytest.mark.parametrize(
    ("heading", "name", "table"),
    [
        ("### The top level", "", 0),
        ("### `data`", "Data", 0),
        ("### `initializer`", "Initializer", 0),
        ("### `loss`", "loss", 1),
        ("### `penalty`", "Penalty", 0),
        ("### `training`", "Training", 0),
        ("### `conventions`", "Conventions", 0),
    ],
)
def test_every_key_is_documented(heading: str, name: str, table: int) -> None:
    rows = tables(section(heading))[table]
    fields = properties(name)
    assert sorted(keys(rows)) == sorted(fields)
    described = {key: words(row[0] + row[1]) for row in rows for key in re.findall(r"`(\w+)`", row[0])}
    for key, part in fields.items():
        if (heading, key) != ("### `loss`", "type"):  # these have a table of their own
            assert enumerated(part) <= described[key], key


@pytest.mark.parametrize(
    ("heading", "name"), [("### `data`", "DataNames"), ("### `training`", "Stop"), ("### `conventions`", "Rounding")]
)
def test_every_inner_key_is_documented(heading: str, name: str) -> None:
    text = words(section(heading))
    for key, part in properties(name).items():
        assert {key} | enumerated(part) <= text


@pytest.mark.parametrize(("heading", "prefix"), [("### `layers`", "layer."), ("### `optimizer`", "optimizer.")])
def test_every_layer_and_optimizer_is_documented(heading: str, prefix: str) -> None:
    from bptrace.layers.functions import FUNCTIONS

    common, own = tables(section(heading))[:2]
    types = {
        name.removeprefix(prefix): part["properties"]
        for name, part in schema()["$defs"].items()
        if re.fullmatch(prefix + r"\w+", name)
    }
    shared = set.intersection(*map(set, types.values()))
    assert shared <= set(keys(common))
    assert sorted(keys(own)) == sorted(types)
    for row in own:
        for kind in re.findall(r"`(\w+)`", row[0]):
            fields = set(types[kind]) - set(keys(common))
            described = words(row[0] + row[1]) | {"epsilon_at", "outside", "inside", "uncorrected"}
            assert fields <= described, kind
            for key in fields:
                assert enumerated(types[kind][key]) - set(FUNCTIONS) <= described, f"{kind}.{key}"


def test_every_schedule_and_way_of_clipping_is_documented() -> None:
    from bptrace.optimizers.schedule import SCHEDULES

    text = words(section("### `optimizer`"))
    for kind, model in SCHEDULES.items():
        assert {kind, *model.model_fields} <= text, kind
    assert set(properties("optimizer.sgd.Clip")) <= text


def test_every_loss_and_activation_is_documented() -> None:
    from bptrace.layers.functions import CONSTANTS, FUNCTIONS
    from bptrace.spec.words import LOSSES

    assert sorted(keys(tables(section("### `loss`"))[0])) == sorted(LOSSES)
    paragraph = section("### `layers`").partition("Activations:")[2]
    assert set(FUNCTIONS) | {name for constants in CONSTANTS.values() for name in constants} <= words(paragraph)


def test_every_function_of_graphs_is_documented() -> None:
    from bptrace.layers.functions import FUNCTIONS as ACTIVATIONS
    from bptrace.spec.functions import FUNCTIONS

    row = next(row for row in tables(section("### The top level"))[0] if row[0] == "`graph`")
    assert set(FUNCTIONS) - set(ACTIVATIONS) <= words(row[1])


# -- the list of networks


def test_every_bundled_network_is_listed(command: Command) -> None:
    listing = json.loads(command("examples", "--json").out)
    expected = [[f"`{entry['name']}`", entry["title"], entry["source"]] for entry in listing]
    expected = [[cell.replace("|", r"\|") for cell in row] for row in expected]
    if UPDATE:
        text, old = README.read_text(encoding="utf-8"), section("## The bundled networks")
        head = re.search(r".*?^\|---\|---\|---\|\n", old, re.M | re.S)
        assert head
        lines = "".join(f"| {' | '.join(row)} |\n" for row in expected)
        README.write_text(text.replace(old, f"{head.group()}{lines}\n"), encoding="utf-8")
    else:
        assert tables(section("## The bundled networks")) == [expected]


def test_the_description_is_one_sentence() -> None:
    import tomllib

    first = TEXT.split("\n\n")[1].replace("\n", " ")
    assert first.count(". ") == 0
    with (ROOT / "pyproject.toml").open("rb") as file:
        assert tomllib.load(file)["project"]["readme"] == Path(README.name).as_posix()
