"""Which test asserts which of the collected worked examples: of each id, no quantity is left out.

The list is of examples of dense networks, graphs, optimizers and training runs. Behind each id stand the names under
which `PRINTED` of `test_published.py` compares it, and the tests that compare more of it.
"""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np
import pytest

import bptrace.network
from bptrace.study.hessian import Hessian

EXAMPLES: dict[str, list[str]] = {
    "mazur-2015": [
        "mazur", "mazur-sequential", "test_mazur_shares_of_the_error_passed_back",
        "test_mazur_loss_after_one_step_needs_sequential_updates", "test_mazur_after_10000_steps",
        "test_mazur_after_10000_simultaneous_steps", "test_mazur_with_trained_biases",
    ],
    "hmkcode-linear": ["hmkcode-linear"],
    "han-kamber": ["han-kamber", "test_han_kamber_rounds_the_output"],
    "negnevitsky-xor": [
        "negnevitsky-xor", "negnevitsky-xor-final", "test_negnevitsky_steps",
        "test_published_training: test_xor_is_learnt_from_negnevitskys_start",
    ],
    "rashid-2layer": ["rashid-2layer"],
    "rashid-3layer": ["rashid-3layer"],
    "rashid-error-split": ["rashid-error-split"],
    "rashid-weight-update": ["rashid-weight-update"],
    "mlm-forward-delta": ["mlm-forward-delta", "mlm-delta-check"],
    "mlm-train-20": ["mlm-train-20", "test_brownlee_errors_of_20_epochs"],
    "ng-computation-graph": ["ng-computation-graph"],
    "cs231n-toy-net": ["cs231n-toy-net"],
    "nnfs-neuron": ["nnfs-neuron"],
    "nnfs-layer": ["nnfs-layer", "nnfs-dvalues"],
    "nnfs-softmax-ce": ["nnfs-softmax-ce", "nnfs-softmax"],
    "iamtrask-2layer": ["iamtrask-2layer"],
    "iamtrask-3layer": ["test_iamtrask_mean_absolute_errors"],
    "milo-9-lines": ["milo-9-lines", "test_milo_asks_the_trained_network"],
    "victor-zhou": [
        "victor-zhou", "victor-zhou-neuron", "victor-zhou-forward",
        "test_victor_zhou_derivative_of_the_hidden_output", "test_victor_zhou_without_rounding",
    ],
    "statquest-b3": ["statquest-b3", "test_statquest_sum_of_squared_residuals", "test_statquest_optimal_bias"],
    "statquest-gd-line": ["statquest-gd-line", "statquest-gd-line-both", "test_statquest_line_fourth_step"],
    "nielsen-toy-neuron": ["nielsen-toy-neuron", "nielsen-toy-neuron-2"],
    "goodfellow-xor": ["goodfellow-xor"],
    "cs231n-fxyz": ["cs231n-fxyz"],
    "cs231n-sigmoid-neuron": ["cs231n-sigmoid-neuron", "test_cs231n_prints_that_multiply_the_rounded_gradient"],
    "cs231n-add-mul-max": ["cs231n-add-mul-max"],
    "karpathy-hackers-guide": ["karpathy-hackers-guide"],
    "olah-graph": ["olah-graph"],
    "baydin-survey": ["baydin-survey"],
    "micrograd-readme": ["micrograd-readme"],
    "karpathy-tanh-neuron": ["karpathy-tanh-neuron"],
    "karpathy-L-graph": ["karpathy-l-graph"],
    "pytorch-autograd-Q": ["pytorch-autograd-q"],
    "pytorch-blitz-27": ["pytorch-blitz-27"],
    "d2l-gd-1d": ["d2l-gd-1d", "test_d2l_learning_rates"],
    "d2l-2d": [
        "test_published_optimizers: d2l-2d-gd2d", "test_published_optimizers: d2l-2d-gd",
        "test_published_optimizers: d2l-2d-momentum", "test_published_optimizers: d2l-2d-adagrad",
        "test_published_optimizers: d2l-2d-rmsprop",
    ],
    "tf-zygote-derivatives": ["tf-zygote-derivatives", "test_published_coverage: test_a_second_derivative"],
    "ng-logistic": ["ng-logistic", "test_ng_logistic_cost"],
    "ng-xnor": ["ng-xnor"],
}  # fmt: skip


def places() -> list[tuple[str, str]]:
    return [(example, place) for example, named in EXAMPLES.items() for place in named]


@pytest.mark.parametrize(("example", "place"), places())
def test_an_example_is_compared_where_the_list_says(example: str, place: str) -> None:
    file, _, name = place.rpartition(": ")
    module: ModuleType = importlib.import_module(file or "test_published")
    assert callable(getattr(module, name, None)) or module.PRINTED.get(name), example


def test_a_second_derivative() -> None:
    """3·x² + 2·x + 1 at 2: 14 and 6, the second by forward mode over the backward pass."""
    text = "parameters: {x: 2}\ngraph: {f: 3 * x**2 + 2 * x + 1}\noutput: f\n"
    hessian = Hessian(bptrace.network.load("net.yaml", text=text).assembly(), {})
    assert hessian.gradient().tolist() == [14]
    assert hessian.times(np.ones(1)).tolist() == [6]
