"""Training, metrics and data that make no sense: each with its place and what would be right."""
# ruff: noqa: E501 - a mistake and its message read best on one line

from __future__ import annotations

from typing import Any

import pytest
import yaml

from bptrace.errors import SpecError
from bptrace.network import load

NET: dict[str, Any] = {
    "data": {"inputs": [[n, -n] for n in range(6)], "targets": [[2.0 * n] for n in range(6)]},
    "layers": [{"type": "dense", "name": "o", "units": 1, "weights": 0.5, "bias": 0}],
    "loss": "squared_error",
    "optimizer": {"type": "sgd", "learning_rate": 0.001},
}


def training(**fields: Any) -> dict[str, Any]:
    return {"training": fields}


def data(**fields: Any) -> dict[str, Any]:
    return {"data": {**NET["data"], **fields}}


def optimizer(type: str = "sgd", **fields: Any) -> dict[str, Any]:
    return {"optimizer": {"type": type, **fields}}


THREE = {"data": {"inputs": [[1, 2], [2, 1], [0, 1]], "targets": [[1, 0], [0, 1], [1, 1]]}}
TWO_UNITS = {"layers": [{"type": "dense", "name": "o", "units": 2}]}

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "a batch larger than the data": (training(batch_size=7), "training.batch_size: 7 samples a batch, and 6 rows are trained on; expected all, or 1 to 6"),
    "a batch larger than the part trained on": (
        data(split={"test": 2}) | training(batch_size=5), "training.batch_size: 5 samples a batch, and 4 rows are trained on",
    ),
    "no batch": (training(batch_size=0), "training.batch_size: cannot be 0; expected all or a number of at least 1"),
    "half a sample": (training(batch_size=2.5), "training.batch_size: cannot be 2.5; expected all or a whole number"),
    "no epochs": (training(epochs=0), "training.epochs: cannot be 0"),
    "both lengths": (training(epochs=2, iterations=3), "training.epochs: iterations and epochs are both given; expected one of them"),
    "an order that is none": (training(order="random"), "training.order: cannot be the text 'random'; expected given or shuffle"),
    "a negative seed": (training(seed=-1), "training.seed: cannot be -1; expected a number of at least 0"),
    "no patience": (training(stop={"patience": 0}), "training.stop.patience: cannot be 0"),
    "a norm below 0": (training(stop={"gradient_below": -1}), "training.stop.gradient_below: cannot be -1; expected a number above 0"),
    "an unknown condition": (training(stop={"below": 1}), "training.stop.below: unknown key 'below'; did you mean 'loss_below'?"),
    "a stop without a loss": (
        training(stop={"loss_below": 0.1}) | {"loss": None}, "training.stop.loss_below: there is no loss to wait for; expected a 'loss'",
    ),
    "patience without a loss": (training(stop={"patience": 3}) | {"loss": None}, "training.stop.patience: there is no loss to wait for"),
    "a gradient without a loss": (
        training(stop={"gradient_below": 1}) | {"loss": None}, "training.stop.gradient_below: there is no gradient without a loss",
    ),
    "accuracy of numbers": (
        training(metrics=["accuracy"]), "training.metrics[0]: accuracy of one output is for two classes, and the targets have 6 values; expected rmse",
    ),
    "accuracy of scaled numbers": (
        data(scale={"targets": "standard"}) | training(metrics=["rmse", "accuracy"]), "training.metrics[1]: accuracy counts right classes, and these targets are scaled numbers",
    ),
    "accuracy of two classes at once": (
        THREE | TWO_UNITS | training(metrics=["accuracy"]), "training.metrics[0]: accuracy counts right classes, and row 3 has no one largest target; expected one class a row",
    ),
    "psnr of what is no picture": (
        training(metrics=["psnr"]), "training.metrics[0]: psnr needs the largest value that there can be; the targets go up to 10; expected {type: psnr, peak: ...}",
    ),
    "metrics without targets": (
        {"data": {"inputs": [[1, 2]]}, "loss": "sum"} | training(metrics=["rmse"]), "training.metrics: there are no targets to compare with",
    ),
    "nothing left to train on": (data(split={"validation": 6}), "data.split: 6 and 0 of 6 rows leave none to train on; expected fewer"),
    "shares that add up to all": (data(split={"validation": 0.5, "test": 0.5}), "data.split.validation: no rows are left to train on"),
    "less than a row": (data(split={"test": 0.01}), "data.split.test: 0.01 of 6 rows is less than half a row; expected a larger share"),
    "a row and a half": (data(split={"test": 1.5}), "data.split.test: cannot be 1.5; expected a share below 1, or a whole number of rows"),
    "more folds than rows": (data(folds={"count": 7}), "data.folds.count: 7 folds of 6 rows; expected 2 to 6"),
    "a fold that is not there": (data(folds={"count": 3, "hold_out": 4}), "data.folds.hold_out: there is no fold 4; expected 1 to 3"),
    "folds and validation": (data(folds={"count": 3}, split={"validation": 1}), "data.folds: folds hold rows out for validation; expected split: {test: ...} beside folds"),
    "rates of no layer": (optimizer(rates={"q": 1}), "optimizer.rates.q: no layer or parameter that is trained: 'q'"),
    "a negative rate": (optimizer(learning_rate=-1), "optimizer.learning_rate: cannot be -1"),
    "a momentum of 1.5": (optimizer(momentum=1.5), "optimizer.momentum: cannot be 1.5; expected a number below 1"),
    "nesterov without momentum": (optimizer(nesterov=True), "optimizer.nesterov: nesterov needs a momentum"),
    "two kinds of clipping": (optimizer(clip={"value": 1, "norm": 2}), "optimizer.clip.norm: value and norm are given; expected one of value, norm, global_norm"),
    "clipping to 0": (optimizer(clip={"value": 0}), "optimizer.clip.value: cannot be 0"),
    "an unknown schedule": (optimizer(schedule={"type": "cosin"}), "optimizer.schedule.type: unknown schedule 'cosin'; did you mean 'cosine'?"),
    "a schedule without its length": (optimizer(schedule={"type": "step"}), "optimizer.schedule.step_size: 'step_size' is missing"),
    "a state that is none": (optimizer("adam", state={"q": {"o.W": 0}}), "optimizer.state.q: adam has no state 'q'"),
    "a state of another shape": (optimizer("adam", state={"m": {"o.W": [[0, 0, 1]]}}), "optimizer.state.m.o.W: the shape is [1, 3]; expected the shape [1, 2] of o.W"),
    "betas": (optimizer("adam", beta1=1), "optimizer.beta1: cannot be 1; expected a number below 1"),
    "a bias and a threshold": (
        {"layers": [{"type": "dense", "name": "o", "units": 1, "bias": 0.1, "threshold": 0.2}]}, "layers[0].bias: 'bias' and 'threshold' are both given; expected one of them",
    ),
    "a shared bias that is none": (
        {"layers": [{"type": "dense", "name": "o", "units": 1, "bias": False, "shared_bias": True}]}, "layers[0].shared_bias: a shared bias, and no bias",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_training(name: str) -> None:
    change, said = MISTAKES[name]
    document = {key: value for key, value in (NET | change).items() if value is not None}
    text = yaml.safe_dump(document, sort_keys=False)
    with pytest.raises(SpecError) as error:
        load("net.yaml", text=text).run()
    assert said in str(error.value)
    problem = error.value.problems[0]
    assert str(problem).startswith(f"net.yaml:{problem.line}:{problem.column}: {problem.path}")
    # the place is in the section that the path begins with
    heads = [line.partition(":")[0] if line[0] not in " -" else "" for line in text.splitlines()]
    section = next(head for head in reversed(heads[: problem.line]) if head)
    assert section == problem.path.partition(".")[0].partition("[")[0]
