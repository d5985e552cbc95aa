"""The fields of attention layers that take more than one form: projections, the scale, the mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from bptrace.spec.base import (
    Array,
    Check,
    Complaint,
    NestedFloats,
    Strict,
    array_schema,
    checked_array,
    describe,
    number_fault,
    refuse,
    refuse_all,
    shape_of,
)

__all__ = ["Mask", "Projection", "Scale"]


class Projection(Strict):
    """W and b of the queries, keys, values or the output; without `bias` there is none."""

    weights: Array | None = None
    bias: Array | Literal[False] | None = None


def _scale(value: object) -> Any:
    if value == "sqrt":
        return value
    got = value if isinstance(value, str) else ""
    if isinstance(value, str) or number_fault(value):
        raise refuse(f"cannot be {describe(value)}", "sqrt (divided by √width), or a number", known=("sqrt",), got=got)
    assert isinstance(value, int | float)  # number_fault has looked
    return float(value)


def _mask(value: object) -> Any:
    if value == "causal":
        return value
    if isinstance(value, str):
        said = f"cannot be {describe(value)}"
        raise refuse(said, "causal, or a matrix of 0 and 1 (1: may look)", known=("causal",), got=value)
    mask = checked_array(value)
    if len(shape_of(mask)) != 2 or not isinstance(mask, list):
        said = f"the shape {list(shape_of(mask))} is no matrix's"
        raise refuse(said, "[[1, 0], [1, 1]]: a row a query position, a column a key position")
    complaints: list[Complaint] = []
    for t, row in enumerate(mask):
        assert isinstance(row, list)  # of the rank that was looked at
        cells = [cell if isinstance(cell, float) else 0.0 for cell in row]
        for s, cell in enumerate(cells):
            if cell not in (0.0, 1.0):
                complaints.append(Complaint((t, s), f"{cell:g} in a mask", "1 (may look) or 0"))
        if not any(cells):
            complaints.append(Complaint((t,), f"query position {t + 1} may look nowhere", "at least one 1 in each row"))
    if complaints:
        raise refuse_all(complaints)
    return mask


if TYPE_CHECKING:
    ScaleValue: TypeAlias = float | Literal["sqrt"]
    MaskValue: TypeAlias = NestedFloats | Literal["causal"]
else:
    ScaleValue = MaskValue = Any

Scale = Annotated[ScaleValue, Check(_scale, {"anyOf": [{"const": "sqrt"}, {"type": "number"}]})]
"""`sqrt`: the scores are divided by √width of a head's keys; a number multiplies them."""

Mask = Annotated[MaskValue, Check(_mask, {"anyOf": [{"const": "causal"}, array_schema()]})]
"""`causal` (no position looks at a later one), or (T, S) of 0 and 1: 1 where a query may look at a key."""
