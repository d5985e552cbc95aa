"""What each flag does. Texts of `--help` and of Typer's own errors are left alone: they change with its version."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Answer

Command = Callable[..., Answer]

MAZUR = (ROOT / "networks" / "mazur.yaml").read_text(encoding="utf-8")
BRANCHES = """\
name: three samples, ten inputs
seed: 3
data:
  inputs: [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [0, 1, 0, 1, 0, 1, 0, 1, 0, 1], [5, 4, 3, 2, 1, 5, 4, 3, 2, 1]]
  targets: [[1], [0], [1]]
layers:
  - {type: dense, name: h, units: 1}
loss: half_squared_error
optimizer: {type: sgd, learning_rate: 0.01}
training: {iterations: 3}
"""


def headings(text: str) -> list[int]:
    """The iterations whose pages were printed."""
    return [int(k) for k in re.findall(r"iteration ([0-9]+) of [0-9]+$", text, re.M)]


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "net.yaml"
    path.write_text(BRANCHES, encoding="utf-8")
    return path


def test_version(command: Command) -> None:
    import bptrace

    assert command("--version") == Answer(0, f"bptrace {bptrace.__version__}\n", "")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_names_every_command(command: Command, flag: str) -> None:
    answer = command(flag)
    assert answer.code == 0
    assert not answer.err
    for name in ("run", "step", "export", "explain", "examples", "new", "schema"):
        assert re.search(rf"\b{name}\b", answer.out)
        assert command(name, flag).code == 0


def test_no_arguments_is_help_and_a_usage_error(command: Command) -> None:
    answer = command()
    assert answer.code == 2
    assert "run" in answer.out + answer.err


# -- where the network comes from


def test_bundled_by_name_by_path_and_from_stdin(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # here is no folder `networks`
    pages = [command("run", "mazur"), command("run", "networks/mazur.yaml"), command("run", "-", input=MAZUR)]
    assert {(page.code, page.err) for page in pages} == {(0, "")}
    assert len({page.out for page in pages}) == 1
    assert "0.291027774" in pages[0].out


def test_a_byte_order_mark_is_no_part_of_the_yaml(command: Command) -> None:
    assert command("run", "-", input=b"\xef\xbb\xbf" + MAZUR.encode()).out == command("run", "mazur").out


def test_a_file_comes_before_a_bundled_network(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "networks").mkdir()
    (tmp_path / "networks" / "mazur.yaml").write_text(BRANCHES, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert command("run", "networks/mazur.yaml").out.startswith("three samples")


def test_step_without_network(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    bundled = command("step")
    assert bundled.out.startswith("Mazur's")
    assert bundled.err == "network: mazur\n"
    (tmp_path / "net.yaml").write_text(BRANCHES, encoding="utf-8")
    assert command("step").err == "network: net.yaml\n"
    assert command("step", "-q").err == ""


# -- which part of the trace


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        ([], [1, 3]),
        (["--show", "all"], [1, 2, 3]),
        (["--show", "2"], [2]),
        (["--show", "last"], [3]),
        (["--show", "1,last"], [1, 3]),
        (["--show", "2-3"], [2, 3]),
        (["--show", "3,1"], [1, 3]),
        (["--show", "2,99"], [2]),
        (["--iterations", "5"], [1, 5]),
        (["-n", "2", "--show", "last"], [2]),
        (["-n", "1"], [1]),
    ],
)
def test_show_and_iterations_of_run(command: Command, net: Path, flags: list[str], shown: list[int]) -> None:
    answer = command("run", net, *flags)
    assert answer.code == 0
    assert headings(answer.out) == shown


@pytest.mark.parametrize(("flags", "shown"), [([], [1]), (["-n", "3"], [1, 2, 3]), (["-n", "3", "--show", "2"], [2])])
def test_show_and_iterations_of_step(command: Command, net: Path, flags: list[str], shown: list[int]) -> None:
    assert headings(command("step", net, *flags).out) == shown


def test_more_iterations_go_on_round_the_data(command: Command) -> None:
    answer = command("run", "mazur", "--iterations", "10000")
    assert answer.code == 0
    assert headings(answer.out) == [1, 10000]
    result = answer.out.partition("RESULT")[2].splitlines()
    lines = [line for line in result if re.match(r" +[0-9,]+ +[0-9.e-]+ +[0-9.e-]+$", line)]
    assert 2 <= len(lines) <= 21  # the losses are thinned
    assert "0.000035102" in result[-1] + "".join(lines) or "3.5" in lines[-1]


@pytest.mark.parametrize(
    "quantity", ["w5", "grad.w5", "new.w5", "h.z", "o.delta", "grad.o.W", "δ_o1", "net_h1", "h.W[1,2]"]
)
def test_only_one_quantity(command: Command, quantity: str) -> None:
    whole, part = command("run", "mazur").out, command("run", "mazur", "--only", quantity)
    assert part.code == 0
    values = [line for line in part.out.splitlines() if re.search(r"[=≈] +-?[0-9.]+$", line)]
    assert 0 < len(values) < 13 or quantity in ("w5", "h.W[1,2]")  # given numbers have no working
    assert all(line in whole for line in values)


def test_only_keeps_the_order_of_the_elements(command: Command) -> None:
    out = command("run", "mazur", "--only", "h.z").out
    assert out.index("net_h1 =") < out.index("net_h2 =")


def test_only_the_loss_shows_its_working(command: Command) -> None:
    assert re.search(r" E .*= +0\.298371109$", command("run", "mazur", "--only", "loss").out, re.M)


def test_only_a_pattern(command: Command) -> None:
    out = command("run", "mazur", "--only", "grad.*").out
    assert "grad.o.W" in out
    assert "grad.h.W" in out
    assert "h.z  pre-activation" not in out


@pytest.mark.parametrize("phase", ["forward", "loss", "backward", "update"])
def test_phase(command: Command, phase: str) -> None:
    out = command("run", "mazur", "--phase", phase).out
    rules = re.findall(r"^([A-Z]+) -+$", out, re.M)
    assert rules == [phase.upper()]


def test_phase_and_only_together(command: Command) -> None:
    out = command("run", "mazur", "--phase", "backward", "--only", "h.*").out
    assert "h.delta" in out
    assert "h.z  " not in out


# -- how numbers and pages look


@pytest.mark.parametrize(
    ("digits", "number"),
    [("4", "0.2984"), ("12", "0.298371108760"), ("all", r"0\.29837110876000[0-9]+"), ("9", "0.298371109")],
)
def test_digits(command: Command, digits: str, number: str) -> None:
    assert re.search(rf"= +{number}$", command("run", "mazur", "--digits", digits).out, re.M)
    assert re.search(rf"= +{number}$", command("run", "mazur", BPTRACE_DIGITS=digits).out, re.M)


def test_exact_gives_fractions(command: Command) -> None:
    answer = command("run", "pytorch-blitz-27", "--exact", "--json")
    assert answer.code == 0
    text = command("run", "statquest-gd-line", "--exact", "-n", "1")
    assert text.code == 0
    assert not text.err


def test_max_terms_and_max_rows(command: Command, net: Path) -> None:
    short, long = command("run", net, "--show", "1").out, command("run", net, "--show", "1", "--max-terms", "all").out
    assert "--max-terms all" in short  # how to see what was left out
    assert "--max-terms all" not in long
    assert len(long.splitlines()) > len(short.splitlines())
    wide = BRANCHES.replace("units: 1", "units: 30").replace(
        "targets: [[1], [0], [1]]", "targets: " + str([[1] * 30] * 3)
    )
    few, all_rows = (
        command("run", "-", "--show", "1", "--max-terms", "2", *flags, input=wide).out
        for flags in ([], ["--max-rows", "all"])
    )
    assert "--max-rows all" in few
    assert "--max-rows all" not in all_rows


def test_language(command: Command) -> None:
    english, chinese = command("run", "mazur"), command("run", "mazur", "--lang", "zh")
    assert chinese.code == 0
    assert re.search("[\u4e00-\u9fff]", chinese.out)
    assert not re.search("[\u4e00-\u9fff]", english.out)
    numbers = [sorted(re.findall(r"-?[0-9]+\.[0-9]+", answer.out)) for answer in (english, chinese)]
    assert numbers[0] == numbers[1]
    assert command("run", "mazur", BPTRACE_LANG="zh").out == chinese.out
    assert command("run", "mazur", LC_ALL="zh_CN.UTF-8").out == chinese.out
    assert command("run", "mazur", "--lang", "en", BPTRACE_LANG="zh").out == english.out


def test_width(command: Command) -> None:
    narrow, wide = (command("run", "mazur", "--width", str(n)).out for n in (60, 140))
    assert max(map(len, narrow.splitlines())) <= 60
    assert len(wide.splitlines()) < len(narrow.splitlines())
    assert command("run", "mazur", BPTRACE_WIDTH="140").out == wide


def test_color(command: Command) -> None:
    plain = command("run", "mazur").out
    assert "\x1b" not in plain
    painted = command("run", "mazur", "--color", "always").out
    assert "\x1b[" in painted
    assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == plain  # colour adds, it never carries
    assert command("run", "mazur", "--color", "never").out == plain
    assert command("run", "mazur", FORCE_COLOR="1", NO_COLOR="1").out == plain


# -- changes and checkpoints


def test_set(command: Command) -> None:
    changed = command("run", "-", input=MAZUR.replace("learning_rate: 0.5", "learning_rate: 0.1"))
    assert command("run", "mazur", "--set", "optimizer.learning_rate=0.1").out == changed.out
    several = command(
        "run", "mazur", "--set", "training.iterations=3", "--set", "layers.h.activation=tanh", "--show", "all"
    )
    assert headings(several.out) == [1, 2, 3]
    assert "tanh" in several.out
    assert "w1 9" in command("run", "mazur", "--set", "layers.h.weights[0][0]=9").out


def test_save_and_from_go_on_where_the_run_ended(command: Command, tmp_path: Path) -> None:
    checkpoint = tmp_path / "after3.json"
    assert command("run", "mazur", "-n", "3", "--save", checkpoint).code == 0
    first = json.loads(command("run", "mazur", "-n", "5", "--show", "4,5", "--json").out)
    second = json.loads(command("run", "mazur", "-n", "2", "--from", checkpoint, "--json").out)
    assert [step["values"]["h.W"] for step in first["iterations"]] == [
        step["values"]["h.W"] for step in second["iterations"]
    ]
    assert first["final"] == second["final"]


@pytest.mark.parametrize("damage", ["", "{}", "{", '{"format": "bptrace-trace", "version": 1}'])
def test_a_damaged_checkpoint_is_refused(command: Command, tmp_path: Path, damage: str) -> None:
    (tmp_path / "broken.json").write_text(damage, encoding="utf-8")
    answer = command("run", "mazur", "--from", tmp_path / "broken.json")
    assert answer.code in (1, 2)
    assert not answer.out
    assert "broken.json" in answer.err


def test_a_checkpoint_of_another_network_is_refused(command: Command, tmp_path: Path) -> None:
    checkpoint = tmp_path / "other.json"
    assert command("run", "statquest-gd-line", "-n", "1", "--save", checkpoint).code == 0
    answer = command("run", "mazur", "--from", checkpoint)
    assert answer.code in (1, 2)
    assert not answer.out
    assert "other.json" in answer.err


# -- formats


def test_json(command: Command) -> None:
    answer = command("run", "mazur", "--json")
    trace = json.loads(answer.out)
    assert trace["format"] == "bptrace-trace"
    assert trace["version"] == 1
    assert trace["name"] == "Mazur's 2-2-2 network"
    assert trace["iterations"][0]["values"]["h.z"] == [[0.3775, 0.39249999999999996]]
    assert trace["iterations"][0]["loss"] == pytest.approx(0.298371108760003, abs=1e-15)
    assert trace["final"]["loss"] == pytest.approx(0.29102777369359933, abs=1e-15)
    assert command("run", "mazur", "--format", "json").out == answer.out
    assert command("export", "mazur", "--format", "json").out == answer.out


def test_json_and_csv_have_all_iterations(command: Command, net: Path) -> None:
    assert [step["iteration"] for step in json.loads(command("run", net, "--json").out)["iterations"]] == [1, 2, 3]
    some = json.loads(command("run", net, "--json", "--show", "2").out)
    assert [step["iteration"] for step in some["iterations"]] == [2]
    rows = list(csv.reader(command("export", net, "--format", "csv").out.splitlines()))
    assert rows[0] == ["iteration", "id", "index", "value"]
    assert {row[0] for row in rows[1:]} >= {"1", "2", "3"}


def test_csv_values_are_those_of_the_library(command: Command) -> None:
    import bptrace

    trace = bptrace.load("mazur").run()
    rows = list(csv.DictReader(command("export", "mazur", "--format", "csv").out.splitlines()))
    found = {(row["id"], row["index"]): float(row["value"]) for row in rows if row["iteration"] == "1"}
    assert found["grad.o.W", "1,2"] == trace["grad.w6"]


def test_markdown(command: Command) -> None:
    page = command("export", "mazur", "--format", "markdown").out
    assert page.startswith("# Mazur")
    assert "0.291027774" in page
    assert command("run", "mazur", "--format", "markdown").out == page


def test_verbose_and_quiet_speak_on_standard_error(command: Command, tmp_path: Path) -> None:
    plain, loud = command("run", "mazur"), command("run", "mazur", "-v")
    assert loud.out == plain.out
    assert not plain.err
    assert "engine" in loud.err
    target = tmp_path / "page.md"
    assert command("run", "mazur", "-o", target) == Answer(0, "", f"wrote {target}\n")
    assert command("run", "mazur", "-q", "-o", target) == Answer(0, "", "")


# -- the small commands


def test_examples(command: Command, tmp_path: Path) -> None:
    names = sorted(path.stem for path in (ROOT / "networks").glob("*.yaml"))
    listed = command("examples")
    assert [line.split()[0] for line in listed.out.splitlines()] == names
    found = json.loads(command("examples", "--json").out)
    assert [entry["name"] for entry in found] == names
    for entry in found:
        document = yaml.safe_load((ROOT / "networks" / f"{entry['name']}.yaml").read_text(encoding="utf-8"))
        assert (entry["title"], entry["source"]) == (document["name"], document["source"])
    assert command("examples", "mazur").out == MAZUR
    assert command("examples", "mazur", "--copy", tmp_path).code == 0
    assert (tmp_path / "mazur.yaml").read_text(encoding="utf-8") == MAZUR
    again = command("examples", "mazur", "--copy", tmp_path)
    assert again.code == 2
    assert "mazur.yaml" in again.err


@pytest.mark.parametrize("flags", [[], ["--graph"]])
def test_new_makes_a_network_that_runs(command: Command, tmp_path: Path, flags: list[str]) -> None:
    target = tmp_path / "mine.yaml"
    assert command("new", target, *flags).code == 0
    assert command("run", target).code == 0
    before = target.read_bytes()
    assert command("new", target, *flags).code == 2
    assert target.read_bytes() == before


def test_schema(command: Command, tmp_path: Path) -> None:
    from bptrace.spec.schema import schema

    assert json.loads(command("schema").out) == schema()
    assert command("schema", "-o", tmp_path / "s.json").out == ""
    assert json.loads((tmp_path / "s.json").read_text(encoding="utf-8")) == schema()


@pytest.mark.parametrize("quantity", ["w5", "grad.w5", "new.w5", "grad.h.W[1,2]", "h.delta[1]", "loss"])
def test_explain(command: Command, quantity: str) -> None:
    import bptrace

    answer = command("explain", "mazur", quantity)
    assert answer.code == 0
    value = bptrace.load("mazur").run()[quantity]
    shown = f"{value:.9f}" if quantity != "w5" else "0.4"
    assert shown in answer.out


# -- what is refused


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["run"], ""),
        (["frobnicate"], "frobnicate"),
        (["run", "mazur", "--frobnicate"], "--frobnicate"),
        (["run", "mazur", "victor-zhou"], "victor-zhou"),
        (["run", "mazr"], "did you mean 'mazur'?"),
        (["run", "missing.yaml"], "missing.yaml"),
        (["run", "{folder}"], "folder"),
        (["run", "/dev/null"], "/dev/null"),
        (["run", "mazur", "--digits", "x"], "--digits"),
        (["run", "mazur", "--digits", "-1"], "--digits"),
        (["run", "mazur", "--digits", "99"], "--digits"),
        (["run", "mazur", "--show", "x"], "--show"),
        (["run", "mazur", "--show", "0"], "--show"),
        (["run", "mazur", "--show", "2"], "--show 2: the run has 1 iteration"),
        (["run", "mazur", "--show", "1,,2"], "--show"),
        (["run", "mazur", "--iterations", "0"], "--iterations"),
        (["run", "mazur", "--iterations", "-1"], "--iterations"),
        (["run", "mazur", "--iterations", "1000000000000"], "1,000,000,000,000"),
        (["run", "mazur", "--iterations", "two"], "--iterations"),
        (["run", "mazur", "--max-rows", "1"], "--max-rows"),
        (["run", "mazur", "--max-terms", "some"], "--max-terms"),
        (["run", "mazur", "--lang", "fr"], "--lang"),
        (["run", "mazur", "--width", "20"], "--width"),
        (["run", "mazur", "--color", "pink"], "--color"),
        (["run", "mazur", "--phase", "sideways"], "--phase"),
        (["run", "mazur", "--only", "w99"], "w99"),
        (["run", "mazur", "--format", "pdf"], "--format pdf"),
        (["run", "mazur", "-o", "{folder}/page.pdf"], ".pdf"),
        (["run", "mazur", "-o", "{folder}", "--format", "text"], "folder"),
        (["run", "mazur", "--set", "units"], "--set"),
        (["run", "mazur", "--set", "layers.z.units=3"], "--set"),
        (["run", "mazur", "--set", "layers[0].units=x"], "units"),
        pytest.param(["run", "mazur", "--from", "{folder}/missing.json"], "missing.json"),
        (["export", "mazur"], "-o"),
        (["examples", "mazr"], "did you mean 'mazur'?"),
        (["examples", "--copy", "x.yaml"], "--copy"),
        (["new", "net.txt"], ".yaml"),
        (["explain", "mazur"], ""),
        (["explain", "mazur", "w99"], "w99"),
    ],
)
def test_usage_errors(command: Command, tmp_path: Path, arguments: list[str], named: str) -> None:
    answer = command(*(word.replace("{folder}", str(tmp_path)) for word in arguments))
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err
    assert "Traceback" not in answer.err
    assert re.sub(r"[\s│]+", "", named) in re.sub(r"[\s│]+", "", answer.err)  # Typer frames and wraps its own


def test_all_mistakes_of_the_yaml_at_once_with_their_places(command: Command, net: Path) -> None:
    net.write_text(
        BRANCHES.replace("units: 1", "units: 1, activation: sigmod").replace("iterations", "iteratoins"),
        encoding="utf-8",
    )
    answer = command("run", net)
    assert answer.code == 2
    assert answer.out == ""
    lines = [line for line in answer.err.splitlines() if line.startswith(str(net))]
    assert re.fullmatch(
        rf"{re.escape(str(net))}:7:[0-9]+: layers\[0\]\.activation: .*did you mean 'sigmoid'\?", lines[0]
    )
    assert re.fullmatch(
        rf"{re.escape(str(net))}:10:[0-9]+: training\.iteratoins: .*did you mean 'iterations'\?", lines[1]
    )


def test_mistakes_on_standard_input(command: Command) -> None:
    answer = command("run", "-", input=MAZUR.replace("units: 2", "units: two"))
    assert answer.code == 2
    assert answer.err.startswith("-:")
    assert command("run", "-", input=b"\xff\xfe").code == 2
    assert command("run", "-", input=b"").code == 2


def test_an_irrational_function_in_exact_mode(command: Command) -> None:
    answer = command("run", "mazur", "--exact")
    assert answer.code == 1
    assert answer.out == ""
    assert "leave out --exact" in answer.err


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_run_that_overflows_keeps_its_trace_and_fails(command: Command, flags: list[str]) -> None:
    answer = command("run", "statquest-gd-line", "--set", "optimizer.learning_rate=1e200", "-n", "9", *flags)
    assert answer.code == 1
    assert answer.out  # the trace so far
    assert re.search("iteration [0-9]", answer.err)
    assert "Traceback" not in answer.err


# -- names and texts that look like something else


def test_markup_is_text(command: Command) -> None:
    text = MAZUR.replace("name: Mazur's 2-2-2 network", r'name: "[red]a[/red] :smile: `b` | $c$ <i>"')
    assert command("run", "-", input=text).out.startswith("[red]a[/red] :smile: `b` | $c$ <i>")
    assert "[red]a[/red] :smile:" in command("run", "-", "--color", "always", input=text).out
    error = command("run", "-", input=MAZUR.replace("activation: sigmoid", 'activation: "[bold]x :smile:"')).err
    assert "'[bold]x :smile:'" in error
    assert "[bold]:x:" in command("run", "mazur", "--only", "[bold]:x:").err


def test_control_characters_never_reach_the_terminal(command: Command) -> None:
    text = MAZUR.replace("name: Mazur's 2-2-2 network", r'name: "a\e[31mb\u0007c\u202e"')
    answer = command("run", "-", input=text)
    assert "\x1b" not in answer.out + answer.err
    assert "\x07" not in answer.out + answer.err
    refused = command("run", "-", input=MAZUR.replace("name: h", r'name: "h\e[31m"'))
    assert refused.code == 2
    assert "\x1b" not in refused.err
