"""Where each collected worked example of a deep network is compared with what its source prints.

Behind each id stand the bundled networks that are it, and tests that assert its numbers; behind the others the reason
why there is nothing to compare yet.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from bptrace.network import bundled

TESTS = Path(__file__).parent

EXAMPLES: dict[str, list[str]] = {
    "ng-c4-conv-single-step": [
        "ng-conv-single-step", "test_bundled_ng_convolution_and_pooling",
        "test_ng_single_step_with_the_bias_counted_for_each_product",
    ],
    "ng-c4-conv-forward-backward-v2": [
        "ng-conv-forward", "test_ng_convolution_forward_and_backward",
        "test_ng_convolution_backward_that_ignores_the_stride",
    ],
    "ng-c4-conv-forward-backward-v1-biasbug": ["test_ng_convolution_with_the_bias_counted_for_each_product"],
    "ng-c4-pool-forward": ["ng-pool-forward", "test_ng_pooling_forward"],
    "ng-c4-pool-backward": ["ng-pool-backward-max", "ng-pool-backward-average", "test_ng_pooling_backward"],
    "ng-c5-rnn-cell-forward": ["ng-rnn-cell-forward", "test_ng_rnn_cell_forward"],
    "ng-c5-rnn-cell-backward": ["test_ng_rnn_cell_backward"],
    "ng-c5-rnn-backward": ["ng-rnn-backward", "test_ng_rnn_backward"],
    "ng-c5-rnn-forward": ["ng-rnn-forward", "test_ng_rnn_forward"],
    "ng-c5-lstm-cell-forward": ["ng-lstm-cell-forward", "test_ng_lstm_cell_forward"],
    "ng-c5-lstm-cell-backward": ["test_ng_lstm_cell_backward"],
    "ng-c5-lstm-forward": ["test_ng_lstm_forward"],
    "ng-c5-lstm-backward-truncation-bug": ["ng-lstm-backward", "test_ng_lstm_backward_and_its_first_release"],
    "ng-c5-clip": ["ng-clip", "test_bundled_ng_clip"],
    "ng-c5-char-rnn-optimize-step": ["test_ng_character_rnn"],
    "ng-c2-dropout-forward": ["ng-c2-dropout-forward", "test_ngs_dropout_forward"],
    "ng-c2-dropout-backward": [
        "ng-c2-dropout-backward", "test_ngs_dropout_backward", "test_ngs_notebook_mixes_two_probabilities",
    ],
    "cs231n-conv-forward": ["cs231n-conv", "test_cs231n_convolution"],
    "cs231n-maxpool-forward": ["cs231n-max-pool", "test_cs231n_max_pool"],
    "cs231n-rnn-step": ["test_cs231n_rnn_step_and_forward"],
    "cs231n-rnn-forward": ["cs231n-rnn-forward", "test_cs231n_rnn_step_and_forward"],
    "cs231n-lstm-step": ["cs231n-lstm-step", "test_cs231n_lstm_step_and_forward"],
    "cs231n-lstm-forward": ["test_cs231n_lstm_step_and_forward"],
    "cs231n-word-embedding-forward": ["cs231n-word-embedding", "test_cs231n_word_embedding"],
    "cs231n-captioning-rnn-loss": ["test_cs231n_captioning_loss"],
    "cs231n-captioning-lstm-loss": ["test_cs231n_captioning_loss"],
    "tf-conv2d-2x2-depth1-backprop": ["tf-conv2d-depth1", "test_tensorflow_backprops"],
    "tf-conv2d-2x2-depth3-backprop": ["tf-conv2d-depth3", "test_tensorflow_backprops"],
    "tf-conv2d-stride1x2-backprop": ["tf-conv2d-stride", "test_tensorflow_backprops"],
    "tf-conv2d-stride2-1x1-same-backprop": ["tf-conv2d-stride2-same", "test_tensorflow_backprops"],
    "tf-conv2d-kernel-equals-input-backprop": ["tf-conv2d-kernel-is-input", "test_tensorflow_backprops"],
    "karim-illustrated-self-attention": ["karim-illustrated-self-attention", "test_karims_rounding_by_hand"],
    "gomez-lstm-numerical-example": ["gomez-lstm-numerical-example", "test_printed_number"],
    "zheng-tensorflow-book-rnn": ["zheng-tensorflow-book-rnn", "test_printed_number"],
    "keras-simplernn-constant-weights": ["keras-simplernn-constant-weights", "test_printed_number"],
    "keras-simplernn-masking": ["keras-simplernn-masking", "test_bundled_keras_masking"],
    "keras-lstm-constant-weights": ["keras-lstm-constant-weights", "test_printed_number"],
    "keras-gru-constant-weights": ["keras-gru-constant-weights", "test_printed_number"],
    "keras-attention-dot-and-additive": [
        "keras-attention-dot", "keras-attention-additive", "test_keras_additive_digits_are_cut",
    ],
    "keras-layernorm-output": ["keras-layernorm-output", "test_keras_layer_norm"],
    "keras-layernorm-rms-scaling": [
        "keras-layernorm-rms-scaling", "test_keras_rms_scaling_divides_by_the_deviation",
    ],
    "keras-mha-identity-kernels": ["keras-mha-identity-kernels", "test_keras_identity_heads"],
    "d2l-conv-basics": ["d2l-conv", "test_published"],
    "d2l-pooling-basics": ["d2l-pooling", "test_published"],
    "d2l-transposed-conv": ["d2l-transposed-conv", "test_published"],
    "onnx-conv-basic": ["onnx-conv", "test_published"],
    "onnx-averagepool-count-include-pad": ["onnx-average-pool", "test_published"],
    "rashid-error-splitting": ["rashid-error-split"],
    "rashid-weight-update-erratum3": ["rashid-weight-update"],
    "sigmoid-vanishing-bound": [
        "vanishing-sigmoid", "test_vanishing_and_exploding_factors",
        "test_the_gradient_vanishes_through_sigmoids_alone",
    ],
    "yeh-rnn-small": ["yeh-rnn-small", "test_printed_number"],
    "yeh-lstm-small": ["yeh-lstm-small", "test_printed_number"],
    "yeh-self-attention-small": ["yeh-self-attention-small", "test_printed_number"],
    "mlmastery-line-detector": ["mlm-line-detector", "test_published"],
    "alt-child-tuning-f-and-d": ["child-tuning-free", "child-tuning-task"],
    "alt-dropout-expectation": ["dropout-linear-unit", "test_expectation_over_all_masks"],
    "yeh-resnet-small": ["yeh-resnet-small", "test_yehs_residual_block"],
    "softmax-123-and-alammar": ["softmax-123-and-alammar"],
    "linear-autoencoder-digits-pca-bound": [
        "digits-autoencoder", "test_a_linear_autoencoder_is_never_better_than_the_principal_components",
        "test_a_linear_autoencoder_reaches_the_principal_components",
    ],
    "diabetes-regression-ols-bound": ["diabetes", "test_a_linear_regression_reaches_least_squares"],
}  # fmt: skip

CHECKING = "a check of gradients, which are right here: nothing is to be compared before there is such a command"
RULE = "another learning rule than backpropagation"
NOT_YET: dict[str, str] = {
    "ng-c2-gradcheck-1d": CHECKING,
    "ng-c2-gradcheck-nd": CHECKING,
    "gradcheck-published-thresholds": CHECKING,
    "complex-step-squire-trapp": "steps into complex numbers, which are not computed with",
    "bogacz-free-energy-exercise-1-3": RULE,
    "alt-predictive-coding-fixed-prediction": RULE,
    "alt-zero-divergence-inference-learning": RULE,
    "alt-predictive-coding-equilibrium-limit": RULE,
    "alt-equilibrium-propagation": RULE,
    "alt-feedback-alignment-and-dfa": RULE,
    "alt-target-propagation-and-dtp": RULE,
    "alt-forward-forward": RULE,
    "alt-synthetic-gradients-dni": RULE,
    "alt-physics-aware-training": RULE,
}


@cache
def asserted() -> tuple[set[str], set[str]]:
    """The tests that there are, and every text that stands in one of their modules or data files."""
    tests: set[str] = set()
    texts: set[str] = set()
    for file in TESTS.glob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                tests.add(node.name)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and file.name != Path(__file__).name:
                texts.add(node.value)
    return tests, texts


def test_every_example_has_its_place() -> None:
    assert not EXAMPLES.keys() & NOT_YET.keys()
    assert len(EXAMPLES) + len(NOT_YET) == 74


@pytest.mark.parametrize("id", EXAMPLES)
def test_places_exist(id: str) -> None:
    tests, texts = asserted()
    data = "".join(file.read_text(encoding="utf-8") for file in (TESTS / "published").glob("*.json"))
    for place in EXAMPLES[id]:
        if place.startswith("test_"):
            assert place in tests
        else:  # a network, bundled or a recipe, that a test names
            assert place in texts or f'"{place}"' in data


def test_most_are_bundled_networks() -> None:
    names = set(bundled())
    assert sum(any(place in names for place in places) for places in EXAMPLES.values()) >= 50
