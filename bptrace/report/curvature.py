"""The page of `diagnose --hessian`: the power iteration as a table, its eigenvalue, the learning rates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bptrace.report.blocks import Heading
from bptrace.report.labels import Words
from bptrace.report.sections import Title
from bptrace.report.study import Grid, Item, Note, StudyStyle, number, thinned

if TYPE_CHECKING:
    from bptrace.study.curvature import Curvature, Step


def page(curvature: Curvature, style: StudyStyle | None = None, **fields: Any) -> tuple[list[Item], StudyStyle]:
    """The items of the page, and the style that they are made for."""
    style = replace(style or StudyStyle(), **fields)
    return list(_items(curvature, style)), style


def _items(curvature: Curvature, style: StudyStyle) -> Iterator[Item]:
    words = Words(style.language)
    name = curvature.trace.network.name
    yield Title(name, words("curvature_place", count=curvature.size, i=curvature.at), [words("curvature_source")])
    yield Heading(words("power_iteration"), 1)
    yield Note(words("power_iteration_said"))
    yield _grid(curvature.steps, style, words)
    if curvature.further:
        yield Note(words("power_iteration_moved", value=number(curvature.dominant, style.digits)))
        yield _grid(curvature.further, style, words)
    if not curvature.settled:
        yield Note(words("not_settled", count=len(curvature.further or curvature.steps)))
    yield Heading(words("heading_rates"), 1)
    text = number(curvature.largest, style.digits)
    rows = [["λ_max", words("largest_eigenvalue"), text]]
    if curvature.fastest is None or curvature.limit is None:
        yield Grid("", ["", "", words("value")], rows, frozenset({0, 1}))
        yield Note(words("not_convex"))
        return
    rows.append(["1/λ_max", words("fastest_rate"), number(curvature.fastest, style.digits)])
    rows.append(["2/λ_max", words("largest_rate"), number(curvature.limit, style.digits)])
    yield Grid("", ["", "", words("value")], rows, frozenset({0, 1}))
    given = curvature.trace.spec.network.optimizer
    if given is not None:
        rate = float(given.learning_rate)
        below = rate <= curvature.fastest * (1 + 1e-9)
        key = "rate_below" if below else "rate_above" if rate < curvature.limit else "rate_beyond"
        yield Note(words(key, rate=f"{rate:g}"))
    yield Note(words("rates_said"))


def _grid(steps: tuple[Step, ...], style: StudyStyle, words: Words) -> Grid:
    heads = [words("iteration"), "vᵀ·H·v", words("change"), "‖H·v - λ·v‖"]
    rows = [
        [str(step.number), *(number(x, style.digits) for x in (step.estimate, step.change, step.residual))]
        for step in steps
    ]
    return Grid("", heads, thinned(rows, style.rows, words, style.command("diagnose --hessian --max-rows all")))
