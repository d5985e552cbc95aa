"""The catalogues of words: every word on a page, in each language.

A language is one file with a dictionary `WORDS`; sentences are whole templates with named places.
"""

from __future__ import annotations

from importlib import import_module

LANGUAGES = ("en", "zh")


class Words:
    """Looks up labels of one language: `words("weight")`, `words("rows_left_out", count=3, command=...)`."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.table: dict[str, str] = import_module(f"{__name__}.{language}").WORDS

    def __call__(self, key: str, **places: object) -> str:
        text = self.table.get(key)
        if text is None:
            return key.replace("_", " ")
        return text.format(**places) if places else text
