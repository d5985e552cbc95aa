"""Every printed line is true: each page is read back from its text and every line judged anew."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from functools import cache

import pytest

from bptrace.network import bundled
from bptrace.report.document import PageOf
from bptrace.writers.layout import width
from tests.support.page_arithmetic import UnreadableError, read_form
from tests.support.page_lines import (
    Equation,
    Judge,
    Read,
    pages,
    printed,
    read_markdown,
    read_text,
    values_in,
)
from tests.support.page_pictures import is_titles

ITERATIONS = 2
KINDS = {"equation", "caption", "heading", "sentence", "data", "result", "picture"}


@cache
def pages_of(name: str, digits: int) -> list[PageOf]:
    return pages(name, ITERATIONS, digits)


def read(page: PageOf, columns: int, markdown: bool) -> Read:
    lines = printed(page, columns, markdown=markdown)
    return read_markdown(lines) if markdown else read_text(lines)


@pytest.mark.parametrize("digits", [9, 4])
@pytest.mark.parametrize("columns", [80, 140])
@pytest.mark.parametrize("markdown", [False, True], ids=["text", "markdown"])
@pytest.mark.parametrize("name", bundled())
def test_every_line_is_true(name: str, markdown: bool, columns: int, digits: int) -> None:
    judge, found, expected = Judge(digits), 0, 0
    for page in pages_of(name, digits):
        back = read(page, columns, markdown)
        judge.page(back)
        # a row of a running sum is more than the document counts as one
        found += sum(1 for e in back.equations if e.counted)
        expected += values_in(page)
    assert not judge.problems, "\n".join([f"{len(judge.problems)} lines are untrue", *judge.problems[:20]])
    assert found == expected, "not every value on the page was found"
    assert judge.judged > expected // 5, "most lines only repeat a number"


@pytest.mark.parametrize("columns", [80, 140])
@pytest.mark.parametrize("name", bundled())
def test_every_line_has_a_kind_and_fits(name: str, columns: int) -> None:
    for page in pages_of(name, 9):
        lines = printed(page, columns)
        back = read_text(lines)
        assert [line for _, line in back.kinds] == [line for line in lines if line]
        assert {kind for kind, _ in back.kinds} <= KINDS
        too_wide = [line for kind, line in back.kinds if width(line) > columns]
        assert not too_wide, "\n".join(too_wide)


@pytest.mark.parametrize("name", bundled())
def test_values_stand_in_one_column(name: str) -> None:
    for page in pages_of(name, 9):
        for equation in read_text(printed(page, 80)).equations:
            if equation.counted:
                shown = [c for c in equation.lines[-1] if not unicodedata.combining(c)]  # the hat of m̂ has no width
                assert len(shown) == 79, equation.source


@pytest.mark.parametrize("name", bundled())
def test_fewer_digits_are_the_same_numbers_rounded(name: str) -> None:
    """A value after ≈ cannot be had from its own line: it is that of a page with more digits, rounded."""
    for short, long in zip(pages_of(name, 9), pages_of(name, 15), strict=True):
        one, other = (read_text(printed(page, 140)).equations for page in (short, long))
        for few, many in zip(one, other, strict=True):
            if "∞" in few.value:
                assert few.value == many.value
                continue
            unit = Decimal(1).scaleb(int(Decimal(few.value).as_tuple().exponent))
            # a tie may have gone either way, by the digits that follow
            within = unit / 2 + abs(Decimal(many.value)) * Decimal("1e-14")
            assert abs(Decimal(many.value) - Decimal(few.value)) <= within, (
                few.source,
                many.source,
            )


# a test that cannot fail is a defect: pages that were tampered with

TAMPERED = ["mazur", "two-losses", "nnfs-softmax-ce", "iamtrask-3layer"]


def tampered(lines: list[str], equation: Equation, new: str) -> list[str]:
    """The page with another last line of an equation."""
    places = [k for k, line in enumerate(lines) if line]
    place = places[equation.line + len(equation.lines) - 1]
    assert lines[place] == equation.lines[-1]
    return [*lines[:place], new, *lines[place + 1 :]]


def untrue(pages_before: list[list[str]], lines: list[str]) -> bool:
    judge = Judge(9)
    try:
        for before in pages_before:
            judge.page(read_text(before))
        return bool(judge.page(read_text(lines)).problems)
    except UnreadableError:
        return True


@pytest.mark.parametrize("name", TAMPERED)
def test_a_flipped_sign_is_caught(name: str) -> None:
    lines = printed(pages_of(name, 9)[0])
    equations = [e for e in read_text(lines).equations if e.sign and e.forms]
    assert len(equations) > 20
    for equation in equations:
        head, sign, tail = equation.lines[-1].rpartition(f"{equation.sign} ")
        flipped = tampered(lines, equation, head + {"=": "≈", "≈": "="}[sign[0]] + " " + tail)
        assert untrue([], flipped), equation.source


@pytest.mark.parametrize("name", TAMPERED)
def test_a_changed_value_is_caught(name: str) -> None:
    lines = printed(pages_of(name, 9)[0])
    for equation in read_text(lines).equations:
        # in the last digit where the line is exact, in the first where it is rounded
        value = equation.value
        place = len(value) - 1 if equation.sign == "=" and "e" not in value else re.search("[1-9]|$", value).start()  # type: ignore[union-attr]
        if place == len(value) or not equation.sign:
            continue
        changed = value[:place] + str((int(value[place]) + 1) % 10) + value[place + 1 :]
        line = equation.lines[-1]
        new = tampered(lines, equation, line.removesuffix(value) + changed)
        if equation.forms or name == "mazur":
            assert untrue([], new), equation.source


def test_a_changed_operand_is_caught() -> None:
    lines = printed(pages_of("mazur", 9)[0])
    for equation in read_text(lines).equations:
        line = equation.lines[-1]
        for found in re.finditer(r"(?<![\w.])0\.\d+", line.removesuffix(equation.value)):
            place = found.start() + re.search("[1-9]", found[0]).start()  # type: ignore[union-attr]
            changed = line[:place] + str(int(line[place]) % 9 + 1) + line[place + 1 :]
            assert untrue([], tampered(lines, equation, changed)), changed


def test_a_line_that_no_rule_explains_is_refused() -> None:
    lines = printed(pages_of("mazur", 9)[0])
    place = next(k for k, line in enumerate(lines) if line.startswith(" out_h1"))
    for stranger in (" roughly the same for out_h3", " out_h3 = 1/(1 + exp(-0.39", "        0.5 0.6"):
        with pytest.raises(UnreadableError):
            read_text([*lines[: place + 1], stranger, *lines[place + 1 :]])


def test_a_missing_line_is_noticed() -> None:
    page = pages_of("mazur", 9)[0]
    lines = printed(page)
    place = next(k for k, line in enumerate(lines) if line.startswith(" w5 "))
    assert len(read_text(lines[:place] + lines[place + 1 :]).equations) != values_in(page)


@pytest.mark.parametrize(
    "text", ["0.5 0.3", "2 -0.5", "0.5·-0.3·", "0.5 -0.3", "0.5- 0.3", "(0.5", "w1·0.5", "1 since 2", "- 0.5"]
)
def test_what_cannot_be_typed_is_refused(text: str) -> None:
    with pytest.raises(UnreadableError):
        read_form(text)


def judged(text: str) -> list[str]:
    return Judge(4).page(read_text(["a page", "", "f  f = x", f" f = {text}"])).problems


@pytest.mark.parametrize(
    "line",
    [
        "2 - 0.5·(-0.5)³    =  2.0625",
        "√2                 =  1.4142",
        "ln 0.5             = -0.6931",
        "-0·ln 0            =  0.0000",
        "sin(1)             =  0.8415",
        "cos(1)             =  0.5403",
        "erf(0.5)           =  0.5205",
        "tanh(-0.5)         = -0.4621",
        "max(0, -0.5)       =  0.0000",
        "min(1, |-0.5|)     =  0.5000",
        "4^(1/2)            =  2.0000",
        "1 since 0.0000 ≤ 0 =  1.0000",
        "0.25 since 0 = 0   =  0.2500",
        "1 since 4 = 4 since 0 ≠ 4 =  1.0000",
        "0.5/0.25·2⁻¹       =  1.0000",
        "(0.5 + 0.25)·2 = 0.75·2  =  1.5000",
        "0.3333·0.4999      ≈  0.1667",
        "1.00005            =  1.0001",
        "-1.00005           = -1.0001",
    ],
)  # fmt: skip
def test_the_judge_knows_every_form(line: str) -> None:
    assert judged(line) == []


@pytest.mark.parametrize(
    "line",
    [
        "0.3333·0.4999      =  0.1667",
        "0.3333·0.4999      ≈  0.1668",
        "0.5·0.5            ≈  0.2500",
        "1 since 0.5 ≤ 0    =  1.0000",
        "(0.5 + 0.25)·2 = 0.74·2  =  1.4800",
        "(0.5 + 0.25)·2 ≈ 0.75·2  =  1.5000",
        "(0.5 + 0.25)·2 = (0.5 + 0.25)·2  =  1.5000",
        "(0.5 + 0.25)·2 = 0.75 + 2  =  2.7500",
        "exp(0.5)           =  1.6488",
        "0.5·w              =  0.5000",
    ],
)  # fmt: skip
def test_the_judge_catches_every_untruth(line: str) -> None:
    assert judged(line) != []


# small matrices, and the patches beside the rows of a convolution


def changed_numbers(lines: list[str], k: int, start: int = 0, stop: int | None = None) -> list[tuple[str, list[str]]]:
    """The page with each number of a line changed in turn in its last digit."""
    made = []
    for found in re.finditer(r"\d+(?:\.\d+)?", lines[k][start:stop]):
        place = start + found.end() - 1
        new = lines[k][:place] + str((int(lines[k][place]) + 1) % 10) + lines[k][place + 1 :]
        made.append((new, [*lines[:k], new, *lines[k + 1 :]]))
    return made


@pytest.mark.parametrize("name", ["convolution-3x3", "convolution-sum", "d2l-conv", "tf-conv2d-stride"])
def test_a_changed_number_of_a_matrix_is_caught(name: str) -> None:
    lines = printed(pages_of(name, 9)[0])
    shown = [line for line in lines if line]
    pictures = {k for k, (kind, line) in enumerate(read_text(lines).kinds) if kind == "picture" and not is_titles(line)}
    assert len(pictures) > 2
    places = [k for k, line in enumerate(lines) if line]
    for k in pictures:
        assert lines[places[k]] == shown[k]
        for line, page in changed_numbers(lines, places[k]):
            assert untrue([], page), line


@pytest.mark.parametrize("name", ["convolution-3x3", "convolution-sum", "d2l-pooling", "d2l-transposed-conv"])
def test_a_changed_number_of_a_window_is_caught(name: str) -> None:
    lines = printed(pages_of(name, 9)[0])
    places = [k for k, line in enumerate(lines) if line]
    equations = [e for e in read_text(lines).equations if e.window]
    assert len(equations) > 7
    for equation in equations:
        text = equation.patch
        k = places[equation.line]
        start = lines[k].index(f" {text} ")
        for line, page in changed_numbers(lines, k, start, start + len(text) + 1):
            assert untrue([], page), line


def test_another_choice_of_a_window_is_caught() -> None:
    lines = printed(pages_of("d2l-pooling", 9)[0])
    chosen = [k for k, line in enumerate(lines) if "is the largest of" in line]
    assert len(chosen) == 4
    for k in chosen:
        stop = lines[k].index(":")
        for line, page in changed_numbers(lines, k, lines[k].index("x["), stop):
            assert untrue([], page), line


def test_another_output_that_was_fed_is_caught() -> None:
    lines = printed(pages_of("convolution-3x3", 9)[0])
    fed = [k for k, line in enumerate(lines) if re.search(r" z\d\d ", line)]
    assert len(fed) == 8
    for k in fed:
        for line, page in changed_numbers(lines, k, lines[k].index("z"), lines[k].rindex(" z") + 4):
            assert untrue([], page), line


# gates of a time step in one table, and matrices under the lines of a quantity


@pytest.mark.parametrize("block", ["lstm.z_i@1 lstm.z_f@1", "lstm.delta_o@2 lstm.delta_g@2", "grad.lstm.W_o  "])
def test_a_changed_number_of_a_gate_is_caught(block: str) -> None:
    lines = printed(pages_of("gomez-lstm-numerical-example", 9)[0])
    start = next(k for k, line in enumerate(lines) if line.startswith(block))
    stop = lines.index("", start)
    rows = [k for k in range(start, stop) if re.search(r"[=≈] +-?\d+\.\d{9}$", lines[k])]
    assert len(rows) > 1
    for k in rows:
        for found in re.finditer(r"\d+\.\d{9}", lines[k]):
            # in a digit that no rounding hides
            place = found.start() + found[0].index(".") + 4
            new = lines[k][:place] + str((int(lines[k][place]) + 1) % 10) + lines[k][place + 1 :]
            if found[0].strip("0.") or found.end() == len(lines[k]):
                assert untrue([], [*lines[:k], new, *lines[k + 1 :]]), new


@pytest.mark.parametrize("title", ["Q (", "scores (", "weights ("])
def test_a_changed_number_of_a_sequence_is_caught(title: str) -> None:
    lines = printed(pages_of("keras-attention-dot", 9)[0])
    start = next(k for k, line in enumerate(lines) if line.strip().startswith(title))
    for k in (start + 2, start + 3):
        name = re.match(r" +\S+", lines[k])
        assert name
        for line, page in changed_numbers(lines, k, name.end()):
            assert untrue([], page), line
