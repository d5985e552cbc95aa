"""Golden pages: real files that read well in review. BPTRACE_UPDATE_GOLDEN=1 writes them anew."""

from __future__ import annotations

import os
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from tests.support.page_lines import pages, printed

GOLDEN = Path(__file__).parent / "golden"
ACTUAL = GOLDEN / "actual"

CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    # file: network, how its pages are made, how they are printed
    "mazur-80.txt": ("mazur", {}, {}),
    "mazur-140.txt": ("mazur", {}, {"columns": 140}),
    "mazur.md": ("mazur", {}, {"markdown": True}),
    "mazur-zh.txt": ("mazur", {"language": "zh"}, {}),
    "mazur-ascii.txt": ("mazur", {}, {"ascii": True}),
    "two-losses-80.txt": ("two-losses", {}, {}),
    "cs231n-fxyz-80.txt": ("cs231n-fxyz", {}, {}),
    "nnfs-layer-80.txt": ("nnfs-layer", {}, {}),
    "convolution-3x3-80.txt": ("convolution-3x3", {}, {}),
    "convolution-sum.md": ("convolution-sum", {}, {"markdown": True}),
    "d2l-pooling-80.txt": ("d2l-pooling", {}, {}),
    "gomez-lstm-80.txt": ("gomez-lstm-numerical-example", {}, {}),
    "keras-attention-dot-zh.txt": ("keras-attention-dot", {"language": "zh"}, {}),
}


def document(name: str, made: dict[str, Any], style: dict[str, Any]) -> str:
    """All pages of one iteration, as a file."""
    lines: list[str] = []
    for page in pages(name, 1, **made):
        lines += [*([""] if lines and not style.get("markdown") else []), *printed(page, **style)]
    return "\n".join(lines).rstrip("\n") + "\n"


@pytest.mark.parametrize("file", CASES)
def test_golden_page(file: str) -> None:
    text = document(*CASES[file])
    golden = GOLDEN / file
    if os.environ.get("BPTRACE_UPDATE_GOLDEN") == "1":
        golden.write_text(text, encoding="utf-8")
    if not golden.exists() or golden.read_text(encoding="utf-8") != text:
        ACTUAL.mkdir(exist_ok=True)
        (ACTUAL / file).write_text(text, encoding="utf-8")
        pytest.fail(f"{file} is not what it was; compare with {ACTUAL / file}, or set BPTRACE_UPDATE_GOLDEN=1")


def test_every_golden_file_is_compared() -> None:
    files = {path.name for path in GOLDEN.iterdir() if path.is_file() and not path.name.startswith(".")}
    assert files == {*CASES, "layout-2.txt"}


def test_ascii_page_is_ascii() -> None:
    assert document(*CASES["mazur-ascii.txt"]).isascii()


RULE_WINS = [
    # the line of LAYOUT 2's mock-up, and the page's, where a rule says otherwise:
    # results stand in one place in every table of the page
    (" unit        out         - t    = ∂E/∂out", " unit        out         - t                    = ∂E/∂out"),
    # headings are in general symbols, `out_h` and not `input`; the result has its symbol
    (" weight        δ         · input", " weight       δ          · out_h                = ∂E/∂w"),
    (" weight        δ         · input", " weight       δ          · i                    = ∂E/∂w"),
    # headings are centred over their column
    (
        " weight    w             - η·∂E/∂w              = new w",
        " weight       w          - η·∂E/∂w              = new w",
    ),
    # shapes end where settings end, at the right
    (
        "grad.o.W  gradient of the weights  ∂E/∂w = δ·out_h          (2×2) = (2)·(2)ᵀ",
        "grad.o.W  gradient of the weights  ∂E/∂w = δ·out_h             (2×2) = (2)·(2)ᵀ",
    ),
    (
        "grad.h.W  gradient of the weights  ∂E/∂w = δ·i              (2×2) = (2)·(2)ᵀ",
        "grad.h.W  gradient of the weights  ∂E/∂w = δ·i                 (2×2) = (2)·(2)ᵀ",
    ),
    # a symbol of another layer carries that layer's name; the block's own do not
    (
        "grad.h.a  error passed back  ∂E/∂out_h = Wᵀ·δ_o             (2) = (2×2)ᵀ·(2)",
        "grad.h.a  error passed back  ∂E/∂out = W_oᵀ·δ_o                (2) = (2×2)ᵀ·(2)",
    ),
]


def test_page_is_that_of_the_mock_up() -> None:
    mock = (GOLDEN / "layout-2.txt").read_text(encoding="utf-8").splitlines()
    page = document(*CASES["mazur-80.txt"]).splitlines()
    other = [(drawn, real) for drawn, real in zip_longest(mock, page) if drawn != real]
    unexplained = [pair for pair in other if pair not in RULE_WINS]
    assert not unexplained
    assert [pair for pair in RULE_WINS if pair not in other] == [], "lines that no longer differ"
