"""The catalogues of words: the same keys and places in every language, and no word outside them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path
from string import Formatter

import pytest

from bptrace.network import bundled, locate
from bptrace.report.document import PageOf
from bptrace.report.labels import LANGUAGES, Words, en, zh
from bptrace.writers.layout import width
from tests.support.page_lines import NUMBER, pages, printed

CHINESE = "[\u4e00-\u9fff]"
COLUMN_HEADS = [
    "unit", "weight", "parameter", "element", "sample", "sum", "running_sum", "product", "value", "contribution",
    "iteration", "epoch", "loss_before", "loss_after", "local_derivative", "arriving", "delta",
]  # fmt: skip
HEADINGS = [key for key in en.WORDS if key.startswith(("heading_", "convention_"))] + [
    "conventions", "data_and_parameters", "data",
]  # fmt: skip


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def is_chinese(character: str) -> bool:
    return bool(re.match(CHINESE, character))


def test_every_language_has_the_same_keys() -> None:
    assert set(LANGUAGES) == {"en", "zh"}
    assert list(zh.WORDS) == list(en.WORDS), "the same keys, in the same order"


@pytest.mark.parametrize("key", en.WORDS)
def test_every_language_has_the_same_places(key: str) -> None:
    assert places(zh.WORDS[key]) == places(en.WORDS[key])
    for words in (Words("en"), Words("zh")):
        words(key, **dict.fromkeys(places(en.WORDS[key]), "1"))


@pytest.mark.parametrize("key", [*COLUMN_HEADS, *HEADINGS])
def test_headings_are_short(key: str) -> None:
    assert sum(map(is_chinese, zh.WORDS[key])) <= 8
    if key in COLUMN_HEADS:
        assert width(en.WORDS[key]) <= 16 and width(zh.WORDS[key]) <= 16


@pytest.mark.parametrize("key", zh.WORDS)
def test_chinese_punctuation(key: str) -> None:
    """Full width in sentences only; no space inside a term."""
    text = zh.WORDS[key]
    assert not re.search(rf"{CHINESE}[,.;:!?()]|[,.;!?(]{CHINESE}", text)
    assert not re.search(rf"{CHINESE} {CHINESE}", text)
    outside = re.sub(r"\{[^{}]*\}", "x", text)
    assert not re.search(r"[，。：；（）] | [，。：；（）]", outside), "full-width signs bring their own space"
    if key in HEADINGS:
        assert not any(unicodedata.category(c).startswith("P") for c in text)


def test_layer_heading_in_chinese() -> None:
    words = Words("zh")
    heading = words(
        "layer_heading", name="h", type=words("dense"), inputs=words("input_many", count=2),
        units=words("unit_many", count=2), activation="sigmoid",
    )  # fmt: skip
    assert heading == "层 h：全连接层，2 个输入，2 个神经元，sigmoid"
    phases = [words(f"heading_{phase}") for phase in ("forward", "loss", "backward", "update", "result")]
    assert phases == ["前向传播", "损失", "反向传播", "更新", "结果"]


@cache
def pages_of(name: str, language: str) -> list[PageOf]:
    return pages(name, 2, language=language)


def numbers_of(lines: list[str]) -> list[str]:
    """The numbers with decimals; names with digits stand beside a row only where they fit."""
    return [number for number in NUMBER.findall(" ".join(lines)) if len(number.partition(".")[2]) > 2]


@pytest.mark.parametrize("name", bundled())
def test_pages_use_no_word_outside_the_catalogue(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    missing: set[str] = set()
    look_up = Words.__call__

    def noted(self: Words, key: str, **given: object) -> str:
        if key not in self.table:
            missing.add(key)
        return look_up(self, key, **given)

    monkeypatch.setattr(Words, "__call__", noted)
    for page in pages(name, 1):  # made anew, while the look-ups are noted
        printed(page)
    assert not missing


@pytest.mark.parametrize("name", bundled())
def test_the_chinese_page_says_the_same(name: str) -> None:
    for english, chinese in zip(pages_of(name, "en"), pages_of(name, "zh"), strict=True):
        first, second = printed(english), printed(chinese)
        # numbers, ids and symbols stay; a line may be broken and a small table placed elsewhere
        assert Counter(numbers_of(first)) == Counter(numbers_of(second))
        for line in second:
            assert width(line) <= 80 or any(width(other) > 80 for other in first), line


@pytest.mark.parametrize("name", bundled())
def test_the_chinese_page_has_no_english_labels(name: str) -> None:
    labels = {text for text in en.WORDS.values() if " " in text and "{" not in text}
    labels |= {en.WORDS[key] for key in (*COLUMN_HEADS, "both")} - {"loss", "data"}
    users = Path(locate(name)).read_text(encoding="utf-8")
    labels = {label for label in labels if label not in users}
    wanted = re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, sorted(labels)))})(?![\w.])")
    for page in pages_of(name, "zh"):
        for line in printed(page)[2 if page.iteration else 0 :]:
            assert not wanted.search(line), line
