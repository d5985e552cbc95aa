"""Laying out plain text: widths as a terminal counts them, breaking long lines, the ASCII forms."""

from __future__ import annotations

import unicodedata

ASCII = {
    "≈": "~=", "·": "*", "Σ": "sum", "η": "lr", "×": "x", "δ": "delta", "∂": "d", "σ": "sigmoid", "√": "sqrt",
    "β": "beta", "ε": "eps", "λ": "lambda", "θ": "theta", "≤": "<=", "≥": ">=", "≠": "!=", "…": "...", "−": "-",
    "ᵀ": "^T", "⁰": "^0", "¹": "^1", "²": "^2", "³": "^3", "⁴": "^4", "⁵": "^5", "⁶": "^6", "⁷": "^7", "⁸": "^8",
    "⁹": "^9", "⁻": "^-", "∞": "inf", "⋆": "*", "∗": "*", "½": "1/2", "μ": "mu", "γ": "gamma", "α": "alpha", "→": "->",
    "‖": "||", "Δ": "d",
    "\u0302": "_hat",
}  # fmt: skip
"""The forms of LAYOUT's signs where the output cannot show them."""


def to_ascii(text: str) -> str:
    """The text in ASCII; letters that have no form of their own are written as code points."""
    text = text.replace("σ²", "var")  # the name of a variance; the square of a sigmoid is σ(z)²
    text = "".join(ASCII.get(character, character) for character in text)
    return text.encode("ascii", "backslashreplace").decode("ascii")


_NARROW: set[str] = set()
"""Characters seen so far that take one column; nearly all texts consist of these alone."""


def width(text: str) -> int:
    """Columns that a text takes on a terminal: a Chinese character is two, an accent none."""
    if text.isascii() or _NARROW.issuperset(text):
        return len(text)
    columns = 0
    for character in text:
        own = 0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if own == 1:
            _NARROW.add(character)
        columns += own
    return columns


BREAKS = (" + ", " - ", " = ", " ≈ ", "·", "/√", "/(", " ")


class Layout:
    """Pads and breaks lines; with `ascii` it measures the ASCII forms that the text will be shown in.

    Texts keep their signs until a line is finished (`shown`), so that both kinds are laid out alike.
    """

    def __init__(self, ascii: bool = False) -> None:
        self.ascii = ascii

    def width(self, text: str) -> int:
        return len(to_ascii(text)) if self.ascii else width(text)

    def shown(self, line: str) -> str:
        """A finished line as it goes out."""
        line = line.rstrip()
        return to_ascii(line) if self.ascii else line

    def padded(self, text: str, columns: int) -> str:
        return text + " " * (columns - self.width(text))

    def right(self, text: str, columns: int) -> str:
        return " " * (columns - self.width(text)) + text

    def centred(self, text: str, columns: int) -> str:
        return " " * ((columns - self.width(text) + 1) // 2) + text

    def broken(self, text: str, columns: int, indent: int) -> list[str]:
        """A line too long is broken before an operator, and the rest is indented. Nothing is cropped."""
        lines: list[str] = []
        while self.width(text) > columns:
            cut = self._cut(text, columns, indent)
            if cut <= indent:
                break
            lines.append(text[:cut].rstrip())
            text = " " * indent + text[cut:].lstrip()
        return [*lines, text]

    def _cut(self, text: str, columns: int, indent: int) -> int:
        """Where to break: the last operator outside brackets if there is one, else the last at all."""
        best: dict[tuple[int, int], int] = {}
        depth, used, started = 0, 0, False
        for place, character in enumerate(text):
            used += self.width(character)
            if used > columns and best:
                break
            depth += (character in "([") - (character in ")]")
            started = started or (place >= indent and character not in " =≈")
            for rank, operator in enumerate(BREAKS):
                if started and place > indent + 1 and text.startswith(operator, place):
                    best[(min(rank, 2) if rank < 4 else rank, depth)] = place
                    break
        if not best:
            return 0
        outer = min(best, key=lambda key: (key[1], key[0]))
        # a very early break outside brackets helps less than a later one inside
        if best[outer] < columns // 3:
            return max(best.values())
        return best[outer]
