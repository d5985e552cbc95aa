"""PyYAML's safe loader with the scalar rules of YAML 1.2 and a limit on depth.

PyYAML follows YAML 1.1, where `no` is false, `1e-3` is text and `010` is eight. The rules are put on
our own class: changed on `SafeLoader` they would change for every library in the process. The C
loader is never used, it crashes on deep nesting.
"""

from __future__ import annotations

import re

import yaml
from yaml.composer import ComposerError

__all__ = ["DEEPEST", "TAG", "TextLoader"]

DEEPEST = 100
"""Nested lists and mappings beyond this depth describe no network."""

TAG = "tag:yaml.org,2002:"


class TextLoader(yaml.SafeLoader):
    """Reads text into marked nodes; `bptrace.spec.yaml_text` makes values of them."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's API

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0
        self.composed = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        self.composed += 1
        if self.depth > DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise ComposerError(None, None, f"nested more than {DEEPEST} deep", mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def _resolve(kind: str, pattern: str, first: str) -> None:
    TextLoader.add_implicit_resolver(TAG + kind, re.compile(pattern), list(first) or [""])


_resolve("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF")
_resolve("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789")
_resolve(
    "float",
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
    "-+.0123456789",
)
_resolve("null", r"^(?:~|null|Null|NULL)$", "~nN")
_resolve("null", r"^$", "")
_resolve("merge", r"^<<$", "<")
