"""Which bundled networks are compared with what their sources print, and in which modules."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parent.parent


def compared_elsewhere(bundled: set[str]) -> set[str]:
    """Those of the bundled networks that a `test_published_*.py` names, as a text of its own."""
    found: set[str] = set()
    for file in TESTS.glob("test_published_*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found & bundled
