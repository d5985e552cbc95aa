"""The network of the Fisher pass: the same data and parameters, an epoch of single samples, no training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bptrace.optimizers.fisher import Fisher
from bptrace.optimizers.mask import FISHER
from bptrace.spec.models import Training

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly
    from bptrace.layers.base import LayerSpec
    from bptrace.spec.load import Spec
    from bptrace.spec.models import Network


def needs_pass(network: Network, assembly: Assembly) -> bool:
    """Whether a mask asks for numbers of the Fisher information that the YAML does not give."""
    return bool(wanted_of(network, assembly))


def wanted_of(network: Network, assembly: Assembly) -> list[str]:
    """The ids of the leaves that hold F, without those whose numbers the YAML gives."""
    optimizer = network.optimizer
    if optimizer is None or optimizer.mask is None or not optimizer.mask.from_data:
        return []
    prefix, given = f"state.{FISHER}.", optimizer.state.get(FISHER, {})
    leaves = [leaf.id for leaf in assembly.graph.carry if leaf.id.startswith(prefix)]
    return [id for id in leaves if id.removeprefix(prefix) not in given]


def pass_spec(spec: Spec, assembly: Assembly) -> Spec:
    """The pass as a network: its optimizer gathers F and moves nothing.

    Penalties and upstream gradients are no part of log p(y|x).
    """
    network = spec.network
    changes: dict[str, Any] = {
        "optimizer": Fisher(count=len(assembly.parts.training)),
        "training": Training(epochs=1, batch_size=1),
        "conventions": network.conventions.model_copy(update={"update_order": "simultaneous"}),
        "layers": _without_penalties(network.layers),
        "penalty": None,
        "upstream": {},
        "tangents": "none",
    }
    return replace(spec, network=network.model_copy(update=changes))


def _without_penalties(layers: Sequence[LayerSpec]) -> list[LayerSpec]:
    made = []
    for layer in layers:
        branch = getattr(layer, "layers", None)
        inner = {"layers": _without_penalties(branch)} if branch else {}
        made.append(layer.model_copy(update={"penalty": None, **inner}))
    return made
