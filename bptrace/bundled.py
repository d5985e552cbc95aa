"""Where the bundled networks and their data are."""

from __future__ import annotations

from pathlib import Path


def bundled_folder() -> Path:
    """In the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / "_networks"
    return inside if inside.is_dir() else package.parent / "networks"
