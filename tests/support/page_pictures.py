"""Reads the small matrices of a page back, and judges windows by them, with nothing but the text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.support.page_arithmetic import Tree, UnreadableError, read_form

TITLE = re.compile(
    r"(?<!\S)(?:(?P<sign>⋆ᵀ?|∗|\+|=)  )?(?P<name>\S+) \((?P<rows>\d+)×(?P<columns>\d+)\)(?P<part>, \d+-\d+)?(?=\s|$)"
)
SIGNS = {"⋆", "⋆ᵀ", "∗", "+", "="}
LARGEST = 8


@dataclass
class Matrix:
    """A matrix as it is printed: its name, the sign before it, and its cells, row by row."""

    name: str
    sign: str
    rows: int
    columns: int
    cells: list[list[str]] = field(default_factory=list)
    named: bool = False
    """Whether its rows and columns have names."""
    part: bool = False
    """Whether it is a group of its columns."""

    @property
    def whole(self) -> bool:
        return not self.part and all("…" not in row for row in self.cells)

    @property
    def flat(self) -> list[str]:
        return [cell for row in self.cells for cell in row if cell != "…"]


def titles(line: str) -> list[re.Match[str]]:
    """The titles on a line, if it holds nothing else."""
    found = list(TITLE.finditer(line))
    return found if found and not TITLE.sub("", line).strip() else []


def is_titles(line: str) -> bool:
    return line.startswith("  ") and bool(titles(line))


def read_band(lines: Sequence[str], named: bool = False) -> tuple[list[Matrix], int]:
    """The matrices that stand side by side from a line of titles on, and how many lines they take."""
    heads = titles(lines[0])
    starts = [head.start("name") for head in heads]
    made = [Matrix(h["name"], "", int(h["rows"]), int(h["columns"]), part=bool(h["part"])) for h in heads]
    taken = 1
    while taken < len(lines) and re.match(r"   ", lines[taken]) and not is_titles(lines[taken]):
        line = lines[taken]
        rows: list[list[str]] = [[] for _ in made]
        for token in re.finditer(r"\S+", line):
            k = sum(start <= token.start() for start in starts) - 1
            if token[0] in SIGNS:
                made[k + 1].sign = token[0]
            else:
                rows[max(k, 0)].append(token[0])
        for matrix, row in zip(made, rows, strict=True):
            matrix.cells += [row] if row else []
        taken += 1
    for matrix in made:
        _checked(matrix)
    return made, taken


def _checked(matrix: Matrix) -> None:
    """The cells without the names of rows and columns; as many as the title says."""
    shown = matrix.rows if matrix.rows <= LARGEST else LARGEST - 1
    if len(matrix.cells) == shown + 1:
        matrix.cells = [row[1:] for row in matrix.cells[1:]]
        matrix.named = True
    wide = {len(row) for row in matrix.cells}
    if len(matrix.cells) != shown or len(wide) != 1:
        raise UnreadableError(f"{matrix.name} is not {matrix.rows}×{matrix.columns}: {matrix.cells}")


def read_boxes(lines: Sequence[str]) -> list[Matrix]:
    """The matrices among the boxes of the data."""
    made: list[Matrix] = []
    for k, line in enumerate(lines):
        heads = list(TITLE.finditer(line))
        for n, head in enumerate(heads):
            stop = heads[n + 1].start() if n + 1 < len(heads) else None
            rows, columns = int(head["rows"]), int(head["columns"])
            cells = [text[head.start() : stop].split() for text in lines[k + 1 : k + 1 + rows]]
            if len(cells) == rows and all(len(row) == columns for row in cells):
                made.append(Matrix(head["name"], "", rows, columns, cells))
    return made


# what a form reads


def factors(text: str) -> tuple[list[str], list[str]]:
    """The first and the last factors of a sum of products, or the single terms (of max, of a mean)."""
    first: list[str] = []
    last: list[str] = []
    for term in _terms(read_form(text)):
        match term:
            case ("product", pair):
                first.append(_text(pair[0][1]))
                last.append(_text(pair[-1][1]))
            case _:
                last.append(_text(term))
    return first, last


def _terms(tree: Tree) -> Iterator[Tree]:
    match tree:
        case ("sum", terms):
            for sign, term in terms:
                yield term if sign > 0 else ("minus", term)
        case ("function", "max", arguments):
            yield from arguments
        case ("product", ((_, ("sum", _) as inner), ("/", _))):
            yield from _terms(inner)
        case ("minus", ("product", pair)):
            yield ("product", [("·", ("minus", pair[0][1])), *pair[1:]])
        case _:
            yield tree


def _text(tree: Tree) -> str:
    match tree:
        case ("number", text):
            return str(text)
        case ("minus", of):
            text = _text(of)
            return text[1:] if text.startswith("-") else f"-{text}"
    return "?"


def lies_in(window: Sequence[Sequence[str]], cells: Sequence[Sequence[str]]) -> bool:
    """Whether a patch stands in a matrix, its rows and its columns equally far apart."""
    height, wide = len(window), len(window[0])
    if any(len(row) != wide for row in window):
        return False
    rows, columns = len(cells), len(cells[0])
    for top in range(rows):
        for left in range(columns):
            for down in range(1, rows + 1) if height > 1 else (1,):
                for across in range(1, columns + 1) if wide > 1 else (1,):
                    if top + (height - 1) * down >= rows or left + (wide - 1) * across >= columns:
                        continue
                    if all(
                        cells[top + i * down][left + j * across] == window[i][j]
                        for i in range(height)
                        for j in range(wide)
                    ):
                        return True
    return False


def judge_pictures(
    pictures: Sequence[tuple[int, str, list[Matrix]]],
    chosen: Sequence[tuple[str, str]],
    equations: Sequence[Any],
    partial: set[int],
) -> Iterator[str]:
    """Matrices of one name agree; windows are what the formulas read, and stand in the matrices; the
    matrix of a result has the values of its rows."""
    known: dict[tuple[str, str], Matrix] = {}
    for _, layer, matrices in pictures:
        for matrix in matrices:
            own = ("", matrix.name) if ("", matrix.name) in known else (layer, matrix.name)
            before = known.get(own) or known.get(("", f"{layer}.{matrix.name}"))
            if before is not None and matrix.whole and before.whole and before.cells != matrix.cells:
                yield f"the matrix {matrix.name} stood on the page with other numbers"
            if matrix.whole and (before is None or not before.whole):
                known[own] = matrix
    blocks: dict[int, list[Any]] = {}
    for equation in equations:
        blocks.setdefault(equation.block, []).append(equation)
    for block, rows in blocks.items():
        here = [(layer, m) for number, layer, matrices in pictures if number == block for m in matrices]
        layer = rows[0].layer
        near = {name: m for (own, name), m in known.items() if own in (layer, "") or not layer}
        near |= {name.removeprefix(f"{layer}."): m for name, m in near.items() if name.startswith(f"{layer}.")}
        near |= {m.name: m for _, m in here}
        errors = [m for (own, name), m in known.items() if name.startswith(("δ", "∂")) and (own == layer or not layer)]
        if block in partial:  # of what is laid over, a part is not on the page
            near = {name: m for name, m in near.items() if all(m is not shown for _, shown in here)}
        result = [m for _, m in here if m.sign == "=" and block not in partial]
        yield from _judge_rows(rows, near, result, errors)
    for sentence, layer in chosen:
        yield from _judge_choice(sentence, {n: m for (own, n), m in known.items() if own in (layer, "")})


def judge_listed(listed: Sequence[tuple[int, Matrix]], equations: Sequence[Any]) -> Iterator[str]:
    """The matrix under the lines of a quantity has their values."""
    for block, matrix in listed:
        values: dict[str, set[str]] = {}
        for equation in equations:
            if equation.block == block:
                values.setdefault(equation.name, set()).add(equation.value)
        base, _, outer = matrix.name.partition("[")
        before = f"{outer.rstrip(']')}," if outer else ""
        for i, row in enumerate(matrix.cells if matrix.whole else []):
            for j, cell in enumerate(row):
                found = values.get(f"{base}[{before}{i + 1},{j + 1}]") or values.get(f"{base}[{i + 1},{j + 1}]")
                if found and cell not in found:
                    yield f"{base}[{before}{i + 1},{j + 1}] is {cell} in the matrix, and {sorted(found)} above"


def _judge_rows(
    rows: Sequence[Any], pictures: dict[str, Matrix], result: Sequence[Matrix], errors: Sequence[Matrix]
) -> Iterator[str]:
    values = Counter(row.value for row in rows if row.place)
    shown = Counter(cell for matrix in result for cell in matrix.flat)
    whole = bool(result) and all(matrix.whole for matrix in result)
    if whole and values - shown and shown - values:
        yield f"values that the matrix of the result does not have: {sorted((values - shown).elements())}"
    for row in rows:
        if row.fed:
            yield from _judge_fed(row, errors)
        if not row.window:
            continue
        first, last = factors(row.forms[0][1])
        flat = [number for line in row.window for number in line]
        if last[: len(flat)] != flat:
            yield f"the window {flat} is not what the formula reads: {row.forms[0][1]}"
        moving, _, over = row.beside.partition(" under ")
        read = _candidates(pictures, moving)
        if over and read and not any(lies_in(row.window, matrix.cells) for matrix in read):
            yield f"the window {flat} does not stand in {moving}"
        kernels = _candidates(pictures, over)
        if over and kernels and not any(not Counter(first) - Counter(matrix.flat) for matrix in kernels):
            yield f"the factors {first} do not stand in {over}"


def _judge_fed(row: Any, errors: Sequence[Matrix]) -> Iterator[str]:
    """The errors of the outputs that a place fed are the first factors of its formula."""
    places = [re.sub(r"^.*?(\d\d)$", r"\1", word) for word in row.fed.split()]
    if not errors or not all(len(place) == 2 and place.isdigit() for place in places):
        return
    first, last = factors(row.forms[0][1])
    wanted = first or last
    for matrix in errors:
        if all(int(i) <= matrix.rows and int(j) <= matrix.columns for i, j in places):
            found = [matrix.cells[int(i) - 1][int(j) - 1] for i, j in places]
            if found == wanted:
                return
    yield f"{row.fed} are not the errors {wanted}"


def _judge_choice(sentence: str, pictures: dict[str, Matrix]) -> Iterator[str]:
    """The element that a window chooses is its largest."""
    found = re.fullmatch(r"(?:\d+  ?)?(?:\[\S+\] +)?(.+) (?:is|are) the largest of (.+): .+", sentence)
    if not found:
        yield f"no choice: {sentence}"
        return
    window = [row.split() for row in found[2].split(" / ")]
    largest = max((cell for row in window for cell in row), key=Decimal)
    for name in found[1].split(", "):
        said = ""
        whole, _, place = name.rstrip("]").partition("[")
        at = [int(k) for k in place.split(",") if k]
        # channels stand first or last
        for outer, inner in ((at[:-2], at[-2:]), (at[2:], at[:2])):
            matrix = pictures.get(f"{whole}[{','.join(map(str, outer))}]" if outer else whole)
            if matrix is None or len(inner) != 2 or (at[:-2] and not outer):
                continue
            if inner[0] > matrix.rows or inner[1] > matrix.columns:
                said = f"{name} is outside {whole}: {sentence}"
            elif matrix.cells[inner[0] - 1][inner[1] - 1] != largest:
                said = f"{name} is not {largest}: {sentence}"
            elif not lies_in(window, matrix.cells):
                said = f"the window does not stand in {whole}: {sentence}"
            else:
                break
        else:
            if any(_names(title, whole) for title in pictures):
                yield said or f"no {name} on the page"


def _candidates(pictures: dict[str, Matrix], symbol: str) -> list[Matrix]:
    return [matrix for name, matrix in pictures.items() if _names(name, symbol) and matrix.whole]


def _names(title: str, symbol: str) -> bool:
    return title == symbol or title.startswith(f"{symbol}[")
