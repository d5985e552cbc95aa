"""`data:` of the YAML: arrays that stand there, or a file, and what is done with its rows.

The words are those of pandas (`missing`, `categories`, `delimiter`, `decimal`), scikit-learn (`standard`,
`min_max`, the splits) and PyTorch (`dataset`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from bptrace.spec.base import Check, Complaint, Count, Name, Number, Strict, array_schema, describe, refuse, refuse_all
from bptrace.spec.fields import ArrayOrArrays, checked_inputs, checked_targets

__all__ = ["CsvFile", "Data", "DataNames", "Divide", "Folds", "PngFile", "Rows", "Scale", "Split", "Value"]

NotZero = Annotated[Number, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, le=2**53)]
Character = Annotated[str, Field(min_length=1, max_length=1)]
SOURCES = ("csv", "npz", "png", "dataset")


class DataNames(Strict):
    """Aliases of the columns, in order."""

    inputs: list[Name] | None = None
    targets: list[Name] | None = None


class CsvFile(Strict):
    """A file of separated values; `header: false` names the columns c1, c2, ..."""

    file: str
    delimiter: Character = ","
    decimal: Literal[".", ","] = "."
    header: bool = True

    @model_validator(mode="after")
    def _two_characters(self) -> CsvFile:
        if self.delimiter == self.decimal:
            raise refuse("the delimiter is also the decimal sign", "delimiter: ';'", at=["decimal"])
        if self.delimiter in '\r\n"' or self.delimiter.isalnum():
            raise refuse(f"{self.delimiter!r} cannot separate values", "',' ';' or a tab", at=["delimiter"])
        return self


class PngFile(Strict):
    """A picture: one sample (channels, height, width), or with `tile` one a square of that side."""

    file: str
    tile: Count | None = None


class Value(Strict):
    """Missing cells get this number."""

    value: Number


class Divide(Strict):
    """Every number is divided by this one."""

    divide: NotZero


class Scale(Strict):
    """How the columns of inputs and targets are scaled; constants come from the rows trained on.

    `constant` says what becomes of a column that does not vary in these: an error, or divided by 1.
    """

    inputs: Literal["none", "standard", "min_max"] | Divide = "none"
    targets: Literal["none", "standard", "min_max"] | Divide = "none"
    constant: Literal["refuse", "keep"] = "refuse"


class Split(Strict):
    """Shares of the rows (below 1) or numbers of rows that are not trained on; with `stratify` shares of each class."""

    validation: Number = 0.0
    test: Number = 0.0
    order: Literal["shuffle", "given"] = "shuffle"
    seed: Seed = 0
    stratify: bool = False

    @model_validator(mode="after")
    def _some_are_left(self) -> Split:
        for part in ("validation", "test"):
            size = getattr(self, part)
            if size < 0 or (size >= 1 and size != int(size)):
                raise refuse(f"cannot be {describe(size)}", "a share below 1, or a whole number of rows", at=[part])
        if self.validation < 1 and self.test < 1 and self.validation + self.test >= 1:
            raise refuse("no rows are left to train on", "shares that add up to less than 1", at=["validation"])
        whole = next((part for part in ("validation", "test") if getattr(self, part) >= 1), None)
        if self.stratify and whole is not None:
            raise refuse("a number of rows, of which classes have no equal share", "a share below 1", at=[whole])
        return self


class Folds(Strict):
    """The rows in `count` parts of nearly equal size, of which number `hold_out` validates."""

    count: Annotated[int, Field(ge=2, le=2**53)]
    hold_out: Count = 1
    order: Literal["shuffle", "given"] = "shuffle"
    seed: Seed = 0

    @model_validator(mode="after")
    def _exists(self) -> Folds:
        if self.hold_out > self.count:
            raise refuse(f"there is no fold {self.hold_out}", f"1 to {self.count}", at=["hold_out"])
        return self


class Rows(Strict):
    """Only the rows from `first` to `last`, counted from 1."""

    first: Count = 1
    last: Count | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Rows:
        if self.last is not None and self.last < self.first:
            raise refuse(f"the last row is before the first, {self.first}", "a larger number", at=["last"])
        return self


def _inputs(value: object) -> Any:
    return _columns(value) if _is_names(value) else checked_inputs(value)


def _targets(value: object) -> Any:
    return _columns(value) if _is_names(value) else checked_targets(value)


def _is_names(value: object) -> bool:
    if isinstance(value, dict):
        return any(_is_names(item) for item in value.values())
    if isinstance(value, list):
        return any(isinstance(item, str) for item in value)
    return isinstance(value, str)


def _columns(value: object) -> Any:
    """Names of columns or arrays: one, a list, or either by the name of an input."""
    complaints: list[Complaint] = []
    items = value if isinstance(value, dict) else {None: value}
    for key, item in items.items():
        at: tuple[str | int, ...] = () if key is None else (key,)
        if isinstance(item, list):
            complaints += [
                Complaint((*at, k), f"not a name: {describe(name)}", "the name of a column")
                for k, name in enumerate(item)
                if not isinstance(name, str)
            ]
        elif not isinstance(item, str):
            complaints.append(Complaint(at, f"not a name: {describe(item)}", "the name of a column, or a list of them"))
    if complaints:
        raise refuse_all(complaints)
    return value


def _categories(value: object) -> dict[str, tuple[Any, ...] | None]:
    """Column -> its classes in order, None where they are sorted."""
    if isinstance(value, list):
        value = dict.fromkeys(value) if all(isinstance(name, str) for name in value) else value
    if not isinstance(value, dict):
        expected = "a list of columns, or column: [classes in order]"
        raise refuse(f"not columns: {describe(value)}", expected)
    complaints: list[Complaint] = []
    for column, classes in value.items():
        if classes is None or classes == "sorted":
            continue
        if not isinstance(classes, list) or len(classes) < 2:
            complaints.append(Complaint((column,), f"cannot be {describe(classes)}", "a list of two classes or more"))
            continue
        texts = [_class_text(item) for item in classes]
        for k, text in enumerate(texts):
            if text is None:
                complaints.append(Complaint((column, k), f"not a class: {describe(classes[k])}", "a text or a number"))
            elif text in texts[:k]:
                complaints.append(Complaint((column, k), f"the class '{text}' is given twice", "each class once"))
    if complaints:
        raise refuse_all(complaints)
    return {
        column: tuple(map(_class_text, classes)) if isinstance(classes, list) else None
        for column, classes in value.items()
    }


def _class_text(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value)


_NAMES = [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]
_ARRAY = array_schema()
_SCHEMA = {
    "anyOf": [_ARRAY, *_NAMES, {"type": "object", "additionalProperties": {"anyOf": [_ARRAY, *_NAMES]}}]
}

if TYPE_CHECKING:
    Chosen: TypeAlias = ArrayOrArrays | str | list[str] | dict[str, str | list[str]]
else:
    Chosen = Any

Inputs: TypeAlias = Annotated[Chosen, Check(_inputs, _SCHEMA)]
Targets: TypeAlias = Annotated[Chosen, Check(_targets, _SCHEMA)]
Categories: TypeAlias = Annotated[
    dict[str, tuple[str, ...] | None],
    Check(
        _categories,
        {"anyOf": [_NAMES[1], {"type": "object", "additionalProperties": {"type": ["array", "string", "null"]}}]},
    ),
]


class Data(Strict):
    """Arrays (samples, ...), several by name; or the columns of a file."""

    inputs: Inputs | None = None
    targets: Targets | None = None
    names: DataNames = Field(default_factory=DataNames)
    csv: str | CsvFile | None = None
    npz: str | None = None
    png: str | PngFile | None = None
    dataset: str | None = None
    categories: Categories = Field(default_factory=dict)
    missing: Literal["refuse", "mean", "median"] | Value = "refuse"
    rows: Rows = Field(default_factory=Rows)
    scale: Scale = Field(default_factory=Scale)
    split: Split | None = None
    folds: Folds | None = None

    @property
    def source(self) -> str:
        """Which kind of file the data come from; empty where they stand in the YAML."""
        return next((kind for kind in SOURCES if getattr(self, kind) is not None), "")

    @property
    def target_names(self) -> tuple[str, ...] | None:
        """The names of the targets; None where there are none."""
        if isinstance(self.targets, dict):
            return tuple(self.targets)
        return None if self.targets is None and self.dataset is None else ("t",)

    @model_validator(mode="after")
    def _one_source(self) -> Data:
        given = [kind for kind in SOURCES if getattr(self, kind) is not None]
        if len(given) > 1:
            raise refuse(f"{given[0]} and {given[1]} are both given", "one of them", at=[given[1]], at_key=True)
        if self.dataset is not None:
            from bptrace.data.source import DATASETS  # not needed for data that stand in the YAML

            if self.dataset not in DATASETS:
                said = f"unknown dataset '{self.dataset}'"
                raise refuse(said, at=["dataset"], known=tuple(DATASETS), got=self.dataset)
        if not given and self.inputs is None:
            raise refuse("'inputs' is missing", "inputs: [[...]], or a csv, npz, png or dataset", at=["inputs"])
        for key in ("inputs", "targets"):
            value = getattr(self, key)
            if value is None:
                continue
            if not given and _is_names(value) and not (key == "targets" and value == "inputs"):
                raise refuse("names of columns without a file", "numbers, or a csv, npz or dataset", at=[key])
            numbers = given and not _is_names(value)
            if numbers and not (self.png is not None and key == "targets"):
                raise refuse(f"numbers beside a {given[0]}", "names of its columns", at=[key])
        if self.png is not None and self.inputs is not None:
            raise refuse("a png is the inputs itself", "no 'inputs'", at=["inputs"], at_key=True)
        if self.png is not None and _is_names(self.targets) and self.targets != "inputs":
            raise refuse("a png has no columns", "targets: inputs, or numbers", at=["targets"])
        for key in ("categories", "missing"):
            if key in self.model_fields_set and not (self.csv or self.dataset):
                raise refuse(f"'{key}' belongs to a csv or dataset", at=[key], at_key=True)
        if self.split is not None and self.folds is not None and self.split.validation:
            raise refuse("folds hold rows out for validation", "split: {test: ...} beside folds", at=["folds"])
        return self
