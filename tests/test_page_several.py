"""Pages of several samples, of several time steps, and of both; what is left out of long sums."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import bptrace
from bptrace.errors import SpecError
from bptrace.report.document import Document, PageOf
from bptrace.report.options import Options
from tests.support.page_lines import Judge, printed, read_markdown, read_text, values_in

SEQUENCES: dict[str, Any] = {
    "data": {
        "inputs": [[[0.1, 0.2], [0.3, 0.4], [0.5, -0.6]], [[-0.1, 0.25], [0.35, 0.45], [0.55, -0.65]]],
        "targets": [[[0.2], [0.3], [0.1]], [[0.7], [0.2], [0.4]]],
    },
    "layers": [
        {
            "type": "rnn", "name": "rnn", "units": 2, "output": "sequence", "weights": [[0.5, -0.2], [0.3, 0.1]],
            "recurrent": [[0.1, 0.2], [-0.3, 0.4]], "bias": [0.1, -0.1],
        },
        {"type": "dense", "name": "o", "units": 1, "weights": [[0.4, -0.5]], "bias": 0.2},
    ],
    "loss": "half_squared_error",
    "optimizer": {"type": "sgd", "learning_rate": 0.1},
}  # fmt: skip

IMAGES: dict[str, Any] = {
    "data": {
        "inputs": [
            [[[1, 2, 0, 1], [0, 1, 3, 2], [2, 1, 0, 1], [1, 0, 2, 2]]],
            [[[0, 2, 1, 1], [1, 1, 0, 2], [2, 0, 0, 1], [1, 3, 2, 2]]],
        ],
        "targets": [[1], [0]],
    },
    "layers": [
        {
            "type": "conv2d", "name": "c", "channels": 2, "kernel": 3, "padding": 1, "stride": 2, "activation": "relu",
            "names": {"channels": ["edge", "blob"]}, "bias": [0.5, -0.5],
            "weights": [[[[1, 0, -1], [2, 0, -2], [1, 0, -1]]], [[[0, 1, 0], [1, 1, 1], [0, 1, 0]]]],
        },
        {
            "type": "conv2d", "name": "d", "channels": 1, "kernel": 2, "bias": 0,
            "weights": [[[[0.5, -1], [1, 0.25]], [[1, 0.5], [0, -0.5]]]],
        },
        {"type": "flatten", "name": "f"},
        {"type": "dense", "name": "o", "units": 1, "weights": [[0.5]], "bias": 0.1},
    ],
    "loss": "half_squared_error",
    "optimizer": {"type": "sgd", "learning_rate": 0.1},
}  # fmt: skip


def many_samples(count: int = 32) -> dict[str, Any]:
    """One unit, `count` samples."""
    rows = [[k / 10, (k * k % 7) / 10] for k in range(count)]
    return {
        "data": {"inputs": rows, "targets": [[k % 2] for k in range(count)]},
        "layers": [{"type": "dense", "name": "o", "units": 1, "weights": [[0.3, -0.2]], "bias": 0.1}],
        "loss": "half_squared_error",
        "optimizer": {"type": "sgd", "learning_rate": 0.1},
    }


NETWORKS = {"sequences": SEQUENCES, "images": IMAGES, "samples": many_samples()}


def pages_of(network: dict[str, Any], folder: Path, digits: int = 9, **options: Any) -> list[PageOf]:
    path = folder / "net.yaml"
    path.write_text(json.dumps(network), encoding="utf-8")
    trace = bptrace.load(str(path)).run(iterations=2)
    return list(Document(trace, Options(**options), digits).pages(trace.recorded))


def block(lines: list[str], start: str) -> list[str]:
    """The lines of the block whose caption starts so."""
    first = next(k for k, line in enumerate(lines) if line.startswith(start))
    return lines[first : lines.index("", first)]


@pytest.mark.parametrize("columns", [80, 140])
@pytest.mark.parametrize("markdown", [False, True], ids=["text", "markdown"])
@pytest.mark.parametrize("terms", [2, 8, 10_000])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_line_is_true(name: str, terms: int, markdown: bool, columns: int, tmp_path: Path) -> None:
    judge = Judge(9)
    for page in pages_of(NETWORKS[name], tmp_path, terms=terms):
        lines = printed(page, columns, markdown=markdown)
        back = read_markdown(lines) if markdown else read_text(lines)
        judge.page(back)
        assert sum(1 for e in back.equations if e.counted) == values_in(page)
    assert not judge.problems, "\n".join(judge.problems[:10])


def test_addends_of_steps_and_samples_say_which_they_are(tmp_path: Path) -> None:
    lines = printed(pages_of(SEQUENCES, tmp_path)[0])
    shared = block(lines, "grad.rnn.U")
    assert " ".join(shared[2].split()) == "weight step sample δ@t · h@t-1 = contribution"
    labels = [line[9:14].strip() for line in shared[3:9]]
    assert labels == ["@3 1", "@3 2", "@2 1", "@2 2", "@1 1", "@1 2"]
    loss = block(lines, "loss  ")
    assert any(line.startswith(" element   step") for line in loss)
    assert any(line.lstrip().startswith("sum = E[2]") for line in loss)


def test_the_caption_of_the_steps_says_what_is_added(tmp_path: Path) -> None:
    lines = printed(pages_of(SEQUENCES, tmp_path)[0], 140)
    assert "E@1 = (E[1,1,1] + E[2,1,1])/2,   E@2 = (E[1,2,1] + E[2,2,1])/2" in block(lines, "loss.steps")[0]


def test_samples_stand_together_element_by_element(tmp_path: Path) -> None:
    lines = printed(pages_of(SEQUENCES, tmp_path)[0])
    rows = [line.split() for line in block(lines, "rnn.h@2")[2:]]
    assert [(row[1], row[0]) for row in rows] == [("h@2[1]", "1"), ("h@2[1]", "2"), ("h@2[2]", "1"), ("h@2[2]", "2")]


def test_samples_that_do_not_fit_side_by_side_have_their_formula_above(tmp_path: Path) -> None:
    shown = block(printed(pages_of(SEQUENCES, tmp_path)[0]), "rnn.z@2")
    assert shown[2] == " sample"
    assert shown[3].strip() == "z@2[1] = W[1,1]·x[2,1] + W[1,2]·x[2,2] + U[1,1]·h@1[1]"


@pytest.mark.parametrize(("count", "cut"), [(8, False), (9, True), (32, True)])
def test_the_loss_of_many_samples_is_cut(count: int, cut: bool, tmp_path: Path) -> None:
    shown = block(printed(pages_of(many_samples(count), tmp_path)[0]), "loss  ")
    left_out = [line for line in shown if "more term" in line]
    assert bool(left_out) == cut
    if cut:
        assert f"{count - 8} more term" in left_out[0]
        assert "--only 'loss' --max-terms all" in " ".join(" ".join(shown).split())


def test_a_changed_number_of_a_sequence_is_caught(tmp_path: Path) -> None:
    """A value of one sample does not pass for that of another."""
    lines = printed(pages_of(SEQUENCES, tmp_path)[0])
    start = lines.index(block(lines, "grad.rnn.W")[0])
    for k in range(start + 3, start + 10):
        line = lines[k]
        place = line.rindex(".") + 4
        wrong = line[:place] + str((int(line[place]) + 1) % 10) + line[place + 1 :]
        assert Judge(9).page(read_text([*lines[:k], wrong, *lines[k + 1 :]])).problems, wrong


def test_a_symbol_means_the_number_of_its_sample() -> None:
    page = ["a page", "", "h.a  a = z", " sample", " {n}        a[1] = z[1]   =  {v}"]
    first = ["h.z  z = x", " sample", " 1        z[1] = 0.5·1   =  0.5", " 2        z[1] = 0.5·3   =  1.5", ""]
    for sample, value, true in (("1", "0.5", True), ("2", "1.5", True), ("1", "1.5", False), ("2", "0.5", False)):
        lines = [*page[:2], *first, *(text.format(n=sample, v=value) for text in page[2:])]
        assert (not Judge(4).page(read_text(lines)).problems) == true


def test_padding_has_its_place_in_a_patch(tmp_path: Path) -> None:
    shown = block(printed(pages_of(IMAGES, tmp_path)[0], 140), "c.z")
    assert "[1,1,1]  . . . / . 1 2 / . 0 1  0·1 + (-2)·2 + 0·0 + (-1)·1 + 0.5" in shown[2]


def test_channels_are_headed_by_their_names(tmp_path: Path) -> None:
    lines = printed(pages_of(IMAGES, tmp_path)[0])
    assert any("W[edge] (3×3)      z[1,edge] (2×2)" in line for line in lines)
    assert [line.split()[-1] for line in lines if line.startswith("   x[2] (4×4)")] == ["(2×2)", "(2×2)"]
    assert any(line.split()[:2] == ["1", "edge"] for line in block(lines, "d.z"))


def test_names_of_channels_must_fit(tmp_path: Path) -> None:
    network = json.loads(json.dumps(IMAGES))
    network["layers"][0]["names"]["channels"] = ["edge"]
    with pytest.raises(SpecError, match="1 names for 2 elements"):
        pages_of(network, tmp_path)


def test_places_are_asked_for_as_the_page_counts_them() -> None:
    """An axis with one place may be left out, as it is on the page."""
    trace = bptrace.load("convolution-3x3").run()
    page = next(iter(Document(trace, Options(only="c.z[2,1]")).pages([1])))
    lines = printed(page)
    assert any("4 5 / 7 8" in line for line in lines) and sum("under" in line for line in lines) == 1
    assert lines == printed(next(iter(Document(trace, Options(only="c.z[1,2,1]")).pages([1]))))


def test_long_contributions_are_worked_out_once() -> None:
    trace = bptrace.load("keras-mha-identity-kernels").run()
    lines = printed(next(iter(Document(trace, Options()).pages([1]))))
    assert len(lines) < 3500


def test_losses_of_lookahead_are_said_to_be_taken_ahead() -> None:
    trace = bptrace.load("quadratic-nesterov").run(iterations=1)
    assert any("taken at ahead(w)" in line for line in printed(next(iter(Document(trace, Options()).pages([1])))))


def test_the_rate_of_a_schedule_stands_in_the_caption(tmp_path: Path) -> None:
    network = many_samples(2)
    network["optimizer"]["schedule"] = {"type": "exponential", "gamma": 0.5}
    lines = printed(pages_of(network, tmp_path)[1])
    assert block(lines, "sgd")[0].endswith("η = 0.050000000")
    assert block(lines, "setting.learning_rate")[1].startswith(" η = 0.1·0.5^(2 - 1)")
