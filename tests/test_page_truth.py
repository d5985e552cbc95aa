"""Every printed line is true: each page is read back from its text and every line judged anew."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from functools import cache

import pytest

from bptrace.network import bundled
from bptrace.report.document import PageOf
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

ITERATIONS = 2


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
        found += sum(1 for e in back.equations if e.counted) + len(back.unjudged)
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
        assert {kind for kind, _ in back.kinds} <= {"equation", "caption", "heading", "sentence", "data", "result"}
        too_wide = [line for kind, line in back.kinds if len(line) > columns]
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
