"""The door of this package: what `data:` names is read, or every mistake in it reported."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bptrace.bundled import bundled_folder
from bptrace.data.source import DATASETS, ArrayRead, Complain, Source, UnreadableError
from bptrace.errors import Problem

if TYPE_CHECKING:
    from bptrace.spec.data import Data

DEFAULT_NAMES = {"inputs": "x", "targets": "t"}


def read(data: Data, folder: Path, complain: Complain, problems: list[Problem]) -> Source | None:
    """Read the file of `data`, relative to `folder`; None where something is wrong with it.

    Mistakes in the YAML go to `complain`, those of the file's own lines to `problems`.
    """
    kind = data.source
    before = len(problems)
    try:
        made = {"csv": _csv, "dataset": _csv, "npz": _npz, "png": _png}[kind](data, folder, complain)
    except UnreadableError as error:
        problems.extend(error.problems)
        if error.message:
            complain((kind,), error.message, error.expected)
        return None
    return made if len(problems) == before else None


def path_of(data: Data, folder: Path) -> Path:
    """Where the file is."""
    if data.dataset is not None:
        return bundled_folder() / "data" / DATASETS[data.dataset].file
    given: Any = getattr(data, data.source)
    return folder / (given if isinstance(given, str) else given.file)


def _csv(data: Data, folder: Path, complain: Complain) -> Source | None:
    from bptrace.data.csv_file import read_csv

    path = path_of(data, folder)
    dataset = DATASETS[data.dataset] if data.dataset else None
    options = {} if data.csv is None or isinstance(data.csv, str) else data.csv.model_dump(exclude={"file"})
    table = read_csv(path, **options)
    targets: Any = data.targets
    if targets is None and dataset is not None:
        targets = list(dataset.targets)
    categories = data.categories or dict.fromkeys(dataset.categories if dataset else ())
    autoencoder = targets == "inputs" and "inputs" not in table.header
    given = [] if autoencoder or targets is None else _named("targets", targets)
    used = {name for _, names, _ in given for name in names}
    inputs: Any = data.inputs
    if inputs is None:
        kept = dataset.targets if dataset else ()  # what a dataset is about is no input of its autoencoder
        inputs = [name for name in table.header if name not in used and name not in kept]
        if not inputs:
            complain(("inputs",), "no columns are left for the inputs", "the names of some columns")
            return None
    missing, wrong = data.missing != "refuse", False
    for name in categories:
        if name not in table.header:
            complain(("categories", name), f"no column '{name}'", "", table.header, name)
            wrong = True
    arrays: list[ArrayRead] = []
    classes: dict[str, tuple[str, ...]] = {}
    chosen = [("inputs", *item) for item in _named("inputs", inputs)]
    chosen += [("targets", *item) for item in given]
    for kind, name, columns, at in chosen:
        parts: list[list[list[float]]] = []
        labels: list[str] = []
        one_hot: list[bool] = []
        for k, column in enumerate(columns):
            if column not in table.header:
                place = (kind, *at, k) if _listed(getattr(data, kind), at) else (kind, *at)
                complain(place, f"no column '{column}'", "", table.header, column)
                wrong = True
                continue
            if column in columns[:k]:
                complain((kind, *at, k), f"the column '{column}' is taken twice", "each column once")
                wrong = True
            index = table.header.index(column)
            if column in categories:
                found, order = table.classes(index, categories[column])
                classes[column] = order
                parts.append([[float(k == which) for k in range(len(order))] for which in found])
                labels += [f"{column}_{word}" for word in order]
                one_hot += [True] * len(order)
            else:
                hint = f"a number, or data.categories: [{column}] where it is a class"
                parts.append([[value] for value in table.numbers(index, missing, hint)])
                labels.append(column)
                one_hot.append(False)
        if wrong:
            continue
        rows = [[value for part in parts for value in part[n]] for n in range(len(table.cells))]
        single = kind == "targets" and isinstance(_given(targets, at), str) and not one_hot[0]
        shape = () if single else (len(labels),)
        arrays.append(ArrayRead(name, kind, rows, shape, tuple(labels), tuple(one_hot)))
    table.check()
    if wrong:
        return None
    if autoencoder:
        arrays.append(_copied(arrays[0]))
    return Source(path.name, (path,), tuple(arrays), classes)


def _named(kind: str, given: Any) -> list[tuple[str, list[str], tuple[str, ...]]]:
    """Name of the array, names of its columns, and where these stand."""
    if isinstance(given, dict):
        return [(name, [item] if isinstance(item, str) else list(item), (name,)) for name, item in given.items()]
    return [(DEFAULT_NAMES[kind], [given] if isinstance(given, str) else list(given), ())]


def _given(value: Any, at: tuple[str, ...]) -> Any:
    return value[at[0]] if at else value


def _listed(value: Any, at: tuple[str, ...]) -> bool:
    return value is not None and isinstance(_given(value, at), list)


def _copied(inputs: ArrayRead) -> ArrayRead:
    """The targets of an autoencoder."""
    return ArrayRead("t", "targets", inputs.rows, inputs.shape, inputs.labels, inputs.one_hot)


def _npz(data: Data, folder: Path, complain: Complain) -> Source | None:
    from bptrace.data.npz_file import npz_names, read_npz

    path = path_of(data, folder)
    known = npz_names(path)
    chosen: list[tuple[str, str, str]] = []
    wrong = False
    autoencoder = data.targets == "inputs" and "inputs" not in known
    for kind in ("inputs", "targets"):
        given: Any = getattr(data, kind)
        if given is None and kind == "inputs":
            complain((), "'inputs' is missing", f"inputs: one of the arrays {', '.join(known)}")
            return None
        if given is None or (kind == "targets" and autoencoder):
            continue
        for name, arrays, at in _named(kind, given):
            if len(arrays) != 1:
                complain((kind, *at), "an input is one array of an npz", "one name, or name: array")
                wrong = True
            elif arrays[0] not in known:
                complain((kind, *at), f"no array '{arrays[0]}'", "", known, arrays[0])
                wrong = True
            else:
                chosen.append((kind, name, arrays[0]))
    if wrong:
        return None
    read = read_npz(path, dict.fromkeys(array for _, _, array in chosen))
    made: list[ArrayRead] = []
    for kind, name, key in chosen:
        array = read[key]
        if array.ndim < (2 if kind == "inputs" else 1):
            complain((kind,), f"the array '{key}' has the shape {list(array.shape)}", "(samples, ...)")
            wrong = True
            continue
        rows = array.reshape(array.shape[0], prod(array.shape[1:])).tolist()
        made.append(ArrayRead(name, kind, rows, array.shape[1:]))
    if wrong:
        return None
    if autoencoder:
        made.append(_copied(made[0]))
    return Source(path.name, (path,), tuple(made))


def _png(data: Data, folder: Path, complain: Complain) -> Source | None:
    from bptrace.data.png_file import read_png

    path = path_of(data, folder)
    tile = None if data.png is None or isinstance(data.png, str) else data.png.tile
    rows, shape, divisor, picture = read_png(path, tile)
    inputs = ArrayRead("x", "inputs", rows, shape)
    arrays = (inputs, _copied(inputs)) if data.targets == "inputs" else (inputs,)
    return Source(path.name, (path,), arrays, divisor=divisor, picture=picture)
