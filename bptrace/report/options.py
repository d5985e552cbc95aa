"""What a reader may ask of a page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Language, which part (`only`: ids or names; `phase`), what is left out, the network's name."""

    language: str = "en"
    only: str = ""
    phase: str = ""
    rows: int = 20
    terms: int = 8
    net: str = "net.yaml"
