"""YAML text: every way in which it can be damaged ends in a SpecError with a place, or in success."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bptrace.errors import Problem, SpecError, UsageError
from bptrace.spec.load import load
from bptrace.spec.yaml_text import LARGEST_FILE, read

GRAPH = """\
name: CS231n gates
inputs: {x: -2, y: 5, z: -4}
graph:
  q: x + y
  f: q * z
output: f
"""


def problems(text: str) -> list[str]:
    """The first line of each problem of a text."""
    with pytest.raises(SpecError) as caught:
        load("net.yaml", text)
    return [str(problem).splitlines()[0] for problem in caught.value.problems]


def test_a_correct_text_loads() -> None:
    spec = load("net.yaml", GRAPH)
    assert spec.network.inputs == {"x": -2.0, "y": 5.0, "z": -4.0}
    assert spec.order == ("q", "f")


def test_scalars_are_those_of_yaml_1_2() -> None:
    text = "[1e-3, 1e-05, 1E5, .5, 5., 010, 0o10, 0x1f, no, y, on, 12:30:45, 1_000, 2020-01-01, ~, '']"
    assert read(text, "n").value == [
        0.001, 1e-05, 1e5, 0.5, 5.0, 10, 8, 31, "no", "y", "on", "12:30:45", "1_000", "2020-01-01", None, "",
    ]  # fmt: skip
    special = read("[.inf, -.inf, .nan]", "n").value
    assert special[:2] == [math.inf, -math.inf]
    assert math.isnan(special[2])


def test_the_loader_does_not_change_pyyaml() -> None:
    import yaml

    assert yaml.safe_load("[no, 010, 1e-3]") == [False, 8, "1e-3"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3", "net.yaml:3:1: key 'a' given twice (first at line 1); expected each key once"),
        ("<<: {a: 1}", "net.yaml:1:1: merge keys ('<<') are not supported; expected the keys written out"),
        ("a: &a [1, *a]", "net.yaml:1:4: an alias that contains itself; expected the values written out"),
        ("a: 1\n---\nb: 2", "net.yaml:2:1: a second document begins here; expected one network a file"),
        ("[" * 2000, "net.yaml:1:101: nested more than 100 deep"),
        ("a: " + "9" * 5000, "net.yaml:1:4: an integer of 5000 characters; expected at most 2^53"),
        (
            "a: 1.0e+400",
            "net.yaml:1:4: a number too large for 64-bit floats; expected at most 1.7976931348623157e308",
        ),
        ("1: 2", "net.yaml:1:1: a key must be text: 1; expected a name (or quotes)"),
        ("? [a]\n: b", "net.yaml:1:3: a list or mapping cannot be a key; expected a name"),
        ("a: !!python/object:os.x 1", "the tag '!!python/object:os.x' does not fit here"),
        ("a: !!int abc", "net.yaml:1:4: the tag '!!int' does not fit here; expected a plain value"),
        ("a: 'x", "net.yaml:1:6: the text ends inside quotes; expected a closing quote"),
        ("a:\n\tb: 1", "net.yaml:2:1: a tab; expected spaces"),
        ("f: *z", "'*' begins an alias, and there is no such anchor; expected quotes around the text"),
        ("f: @w", "net.yaml:1:4: this character cannot begin a value; expected quotes around the text"),
        ("a: \x07", "net.yaml:1:4: the character U+0007 cannot stand in YAML; expected printable text"),
        ('a: "\\UFFFFFFFF"', "net.yaml:1:7: this is not YAML"),
        ("lr：0.5\nb: 1", "net.yaml:1:3: this is no punctuation of YAML; expected ':' in place of a full"),
        ("lr： 0.5", "net.yaml:1:3: this is no punctuation of YAML; expected ':' in place of a full"),
        ("a: [1，2", "expected ',' in place of a full-width '，'"),
        ("tangents: [x1, h.W[1,2]]", "expected quotes around an id with brackets, \"h.W[1,2]\""),
        ("", "net.yaml:1:1: the file is empty; expected keys such as name, source, notes, layers or graph"),
        ("[1, 2]", "net.yaml:1:1: not a network: a list"),
    ],
)  # fmt: skip
def test_damage_is_named_and_placed(text: str, expected: str) -> None:
    assert any(expected in line for line in problems(text))


def test_chinese_text_is_no_slip() -> None:
    text = "notes: 说明，好（一）\na: b: c\n"
    assert problems(text)[0].startswith("net.yaml:2:5: a ':' where no key can stand")


def test_an_alias_bomb_is_refused_quickly() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    start = time.perf_counter()
    assert "aliases multiply into too many values" in problems("\n".join(lines))[0]
    assert time.perf_counter() - start < 1


def test_a_merge_bomb_is_refused_quickly() -> None:
    lines = ["a0: &a0 {k: 1}"]
    lines += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 12)]
    start = time.process_time()  # a machine that does other things too must not decide this
    problems("\n".join(lines))
    assert time.process_time() - start < 1


def test_numbers_only_and_finite_each_at_its_position() -> None:
    text = "inputs:\n  x: [true, '0.5', .inf, null, 9007199254740993, .nan, 1]\ngraph: {f: x}"
    assert [line.split("; ")[0] for line in problems(text)] == [
        "net.yaml:2:7: inputs.x[0]: not a number: true",
        "net.yaml:2:13: inputs.x[1]: not a number: the text '0.5'",
        "net.yaml:2:20: inputs.x[2]: not a finite number",
        "net.yaml:2:26: inputs.x[3]: not a number: nothing (null)",
        "net.yaml:2:32: inputs.x[4]: an integer beyond 2^53 loses digits as a float",
        "net.yaml:2:50: inputs.x[5]: not a finite number",
    ]


def test_ragged_arrays_are_placed_at_the_row() -> None:
    text = "inputs:\n  x: [[1, 2], [3], 4, [5, [6]]]\ngraph: {f: x}"
    assert problems(text) == [
        "net.yaml:2:15: inputs.x[1]: a row of 1 where the first has 2; expected rows of equal length",
        "net.yaml:2:20: inputs.x[2]: a number among lists; expected a list of 2 as in the first row",
        "net.yaml:2:27: inputs.x[3][1]: a list among numbers; expected a number as in the first row",
    ]


def test_all_errors_come_at_once_in_file_order() -> None:
    text = "nam: x\ninputs: {x: yes}\nseed: -1\nseed: 2\ngraph: {f: x^2, g: h}\nloss: mse\n"
    found = problems(text)
    assert [line.split(":")[1] for line in found] == ["1", "2", "3", "4", "5", "5", "6"]
    assert "did you mean 'name'?" in found[0]


def test_the_caret_counts_terminal_columns() -> None:
    problem = Problem("n.yaml", 1, 4, "a", "wrong", source="名字：x")
    assert str(problem) == "n.yaml:1:4: a: wrong\n  名字：x\n        ^"
    assert "\x1b" not in str(Problem("n\x1b[31m", 1, 1, "", "m", source="\x1b[0m x"))


def test_a_very_long_line_is_shown_in_part() -> None:
    text = "inputs: {x: [" + "1, " * 5000 + "no]}\ngraph: {f: x}"
    with pytest.raises(SpecError) as caught:
        load("net.yaml", text)
    shown = str(caught.value).splitlines()
    assert len(shown[1]) < 200
    assert shown[1][len(shown[2]) - 1 :].startswith("no]")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        load(tmp_path / "missing.yaml")
    with pytest.raises(UsageError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(UsageError, match="is no regular file"):
        load(os.devnull)
    big = tmp_path / "big.yaml"
    big.write_bytes(b"#" * (LARGEST_FILE + 1))
    with pytest.raises(UsageError, match="10,000,001 bytes"):
        load(big)
    with pytest.raises(SpecError, match="longer than"):
        load("big", "#" * (LARGEST_FILE + 1))
    with pytest.raises(UsageError):
        load("a\0b")


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    file = tmp_path / "n.yaml"
    file.write_bytes("name: ok\nnotes: 网络".encode("gb18030"))
    with pytest.raises(SpecError) as caught:
        load(file)
    assert "n.yaml:2:8: the file is not UTF-8; expected a file saved as UTF-8" in str(caught.value)
    file.write_bytes("name: x".encode("utf-16"))
    with pytest.raises(SpecError, match="UTF-16"):
        load(file)
    file.write_bytes(GRAPH.encode("utf-8-sig"))
    assert load(file).order == ("q", "f")


SAMPLE = (
    GRAPH + "data: {inputs: [[1, 2]], names: {inputs: [a, b]}}\nupstream: {f: 1}\n# c\nnotes: |\n  text\n"
)
PIECES = st.sampled_from(
    [
        *"[]{},:&*!|>'\"%@`#?-~<=^\n\t \\é：\x00\x85\u2028\ufeff",
        *("&a ", "*a", "<<: ", "---\n", "...\n", "? ", "!!set "),
    ]
)


@given(st.lists(st.tuples(st.integers(0, len(SAMPLE)), st.integers(0, 6), PIECES), min_size=1, max_size=5))
@settings(max_examples=300, deadline=None)
def test_damaged_text_is_an_error_with_a_place_or_success(damage: list[tuple[int, int, str]]) -> None:
    text = SAMPLE
    for at, gone, piece in damage:
        text = text[:at] + piece + text[at + gone :]
    must_answer(text)


@given(st.text(max_size=80))
@settings(max_examples=300, deadline=None)
@example("%YAML 1.1\n")
@example("? ")
@example("- - - -")
@example("\ufeff\ufeff")
@example("!<")
@example('"\\x')
@example("a: !!float\n")
@example("&a")
def test_any_text_is_an_error_with_a_place_or_success(text: str) -> None:
    must_answer(text)


def must_answer(text: str) -> None:
    start = time.perf_counter()
    try:
        load("net.yaml", text)
    except SpecError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.line >= 1
            assert problem.column >= 1
            assert problem.message
            assert "pydantic" not in str(problem)
    assert time.perf_counter() - start < 1
