"""Layers that cannot be: each mistake is refused at its place, with the shapes and what would do.

A row is a layer, the inputs that it reads, the path of what is wrong, and what the message has to say. Rows of
other layers can be added.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from bptrace.errors import SpecError
from bptrace.network import load

IMAGE = [[[[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[1, 0, 1], [0, 1, 0], [1, 0, 1]]]]  # (1, 2, 3, 3)
SEQUENCE = [[[1, 2], [0.5, 3], [2, 1]], [[0, 1], [1, 1], [2, 2]]]  # (2, 3, 2)

ROWS: list[tuple[dict[str, Any], Any, str, tuple[str, ...]]] = [
    # convolution
    ({"type": "conv2d", "channels": 1, "kernel": 4}, IMAGE, "kernel",
     ("the kernel 4×4 is larger than its input 3×3", "a kernel of at most 3×3, or more padding")),
    ({"type": "conv2d", "channels": 1, "kernel": [2, 6], "padding": 1}, IMAGE, "kernel",
     ("the kernel 2×6 is larger than its padded input 5×5",)),
    ({"type": "conv2d", "channels": 1, "kernel": 2, "dilation": 3}, IMAGE, "kernel",
     ("the kernel 2×2 spans 4×4 and is larger than its input 3×3",)),
    ({"type": "conv2d", "channels": 3, "kernel": 2, "groups": 2}, IMAGE, "groups",
     ("2 groups do not divide 2 channels of the input and 3 of the output", "a number that divides both")),
    ({"type": "conv2d", "channels": 2, "kernel": 2, "groups": 3}, IMAGE, "groups", ("3 groups do not divide",)),
    ({"type": "conv2d", "channels": 1, "kernel": [2, 2, 2]}, IMAGE, "kernel",
     ("3 values for 2 axes", "one number, or 2")),
    ({"type": "conv2d", "channels": 1, "kernel": 2, "stride": 0}, IMAGE, "stride", ("a whole number from 1",)),
    ({"type": "conv2d", "channels": 1, "kernel": 2, "padding": "sames"}, IMAGE, "padding", ("did you mean 'same'",)),
    ({"type": "conv2d", "channels": 1, "kernel": 2, "padding": [[1, 2, 3], 0]}, IMAGE, "padding[0]",
     ("[before, after]",)),
    ({"type": "conv2d", "channels": 1, "kernel": 2, "weights": [[[[1, 2], [3, 4]]]]}, IMAGE, "weights",
     ("the shape is [1, 1, 2, 2]", "the shape [1, 2, 2, 2] (channel, input, row, column)")),
    ({"type": "conv2d", "channels": 2, "kernel": 2, "bias": [1, 2, 3]}, IMAGE, "bias", ("the shape is [3]", "[2]")),
    ({"type": "conv1d", "channels": 1, "kernel": 2}, IMAGE, "",
     ("conv1d cannot read x of the shape [1, 2, 3, 3]", "(N, C, L)")),
    ({"type": "conv2d", "channels": 1, "kernel": 2}, SEQUENCE, "",
     ("the axis of the channels is missing, [2, 1, 3, 2] for one channel",)),
    ({"type": "conv_transpose2d", "channels": 1, "kernel": 2, "padding": 3}, IMAGE, "padding", ("nothing is left",)),
    ({"type": "conv_transpose2d", "channels": 1, "kernel": 2, "output_padding": 1}, IMAGE, "output_padding",
     ("not smaller than the stride or the dilation",)),
    # pooling
    ({"type": "max_pool", "kernel": 4}, IMAGE, "kernel", ("the kernel 4×4 is larger than its input 3×3",)),
    ({"type": "avg_pool", "kernel": 2, "padding": 2}, IMAGE, "padding",
     ("a window would cover nothing but padding", "at most half of the kernel 2×2")),
    ({"type": "adaptive_avg_pool", "size": [1, 1, 1]}, IMAGE, "size", ("3 values for 2 axes",)),
    # recurrent
    ({"type": "gru", "units": 1, "weights": {"i": [[1, 2]]}}, SEQUENCE, "weights.i",
     ("gru has no gate 'i'", "r, z, n")),
    ({"type": "lstm", "units": 1, "bias": {"packed": [1, 2, 3], "order": "ifgo"}}, SEQUENCE, "bias.packed",
     ("the shape is [3]", "[4]: the 4 gates ifgo of 1 units joined along axis 1")),
    ({"type": "lstm", "units": 1, "recurrent": {"packed": [[1]] * 4, "order": "ifgg"}}, SEQUENCE, "recurrent.order",
     ("'ifgg' is no order of the gates", "each of i, f, g, o once")),
    ({"type": "rnn", "units": 2, "recurrent": [[1, 2, 3]]}, SEQUENCE, "recurrent", ("the shape is [1, 3]", "[2, 2]")),
    ({"type": "rnn", "units": 2, "weights": [[1, 2], [3]]}, SEQUENCE, "weights[1]",
     ("a row of 1 where the first has 2",)),
    ({"type": "rnn", "units": 1, "mask": [[1, 1, 0]]}, SEQUENCE, "mask",
     ("the shape is [1, 3]", "[2, 3] (samples, time steps) or [3]: 1 where a step is read")),
    ({"type": "rnn", "units": 1, "mask": [1, 1]}, SEQUENCE, "mask", ("the shape is [2]",)),
    ({"type": "rnn", "units": 1, "mask": [[1, 1, 0], [1, 0.5, 2]]}, SEQUENCE, "mask[1][1]",
     ("0.5 is no mark of a mask", "1 (read)")),
    ({"type": "rnn", "units": 1, "mask": [[1, 1, 0], [1, 1]]}, SEQUENCE, "mask[1]",
     ("a row of 2 where the first has 3",)),
    ({"type": "rnn", "units": 1, "mask": True}, SEQUENCE, "mask", ("not a number",)),
    ({"type": "rnn", "units": 1, "truncate": 0}, SEQUENCE, "truncate", ("1",)),
    ({"type": "rnn", "units": 1}, IMAGE, "", ("rnn reads sequences, but x has the shape [1, 2, 3, 3]",)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("layer", "inputs", "at", "said"), ROWS, ids=[f"{row[0]['type']}-{row[2]}-{k}" for k, row in enumerate(ROWS)]
)
def test_a_layer_that_cannot_be(layer: dict[str, Any], inputs: Any, at: str, said: tuple[str, ...]) -> None:
    with pytest.raises(SpecError) as caught:
        load("bad.yaml", text=json.dumps({"data": {"inputs": inputs}, "layers": [layer]}, indent=1)).run()
    message = str(caught.value)
    place = re.escape(f"layers[0].{at}" if at else "")
    assert re.search(rf"^bad\.yaml:\d+:\d+: {place}", message), message
    for part in said:
        assert part in message, message


@pytest.mark.parametrize(
    ("number", "at"), [(3, "data.inputs[0][1]"), (-1, "data.inputs[0][1]"), (0.5, "data.inputs[0][1]")]
)
def test_a_number_outside_the_vocabulary(number: float, at: str) -> None:
    layer = {"type": "embedding", "vocabulary": 3, "units": 1}
    with pytest.raises(SpecError, match=re.escape(at)) as caught:
        load("bad.yaml", text=json.dumps({"data": {"inputs": [[0, number]]}, "layers": [layer]})).run()
    assert "whole numbers from 0 to 2 (vocabulary: 3)" in str(caught.value)


def test_sequences_of_unequal_length_are_padded_and_masked() -> None:
    layer = {"type": "rnn", "units": 1}
    with pytest.raises(SpecError, match="unequal sequences are padded, with a mask in the layer") as caught:
        load("bad.yaml", text=json.dumps({"data": {"inputs": [[[1], [2]], [[3]]]}, "layers": [layer]})).run()
    assert "data.inputs[1]: a row of 1 where the first has 2" in str(caught.value)
