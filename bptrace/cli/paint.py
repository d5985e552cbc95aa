"""Colour on a terminal, by rich; piped output never imports it."""

from __future__ import annotations

from collections.abc import Callable

TONES = {
    "forward": "cyan",
    "loss": "yellow",
    "backward": "magenta",
    "update": "green",
    "tangent": "blue",
    "title": "bold",
}


def painter() -> Callable[[str, str], str]:
    """A function that gives a line the colour of its phase. Colour adds, it never carries."""
    from rich.style import Style

    styles = {tone: Style.parse(style) for tone, style in TONES.items()}

    def paint(line: str, tone: str) -> str:
        style = styles.get(tone)
        return style.render(line) if style is not None and line else line

    return paint
