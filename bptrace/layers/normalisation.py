"""Normalisation layers: layer, group and RMS norm, and what they share with batch norm.

Each takes a mean and a variance (or a root mean square) over some axes of its input, x̂ = (x - μ)/√(σ² + ε), then
scales and shifts: y = γ·x̂ + β. Ba et al., "Layer Normalization", 2016; Wu and He, "Group Normalization", 2018;
Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from bptrace.graph.node import DeltaName, Node, Own, Shape
from bptrace.layers.base import LayerSpec, Path
from bptrace.layers.extents import image
from bptrace.ops.normalisation import SharedMean, SharedVariance, Standardized
from bptrace.ops.products import Products
from bptrace.ops.root_mean_square import OverRms, RootMeanSquare
from bptrace.ops.sharing import Sharing
from bptrace.spec.base import Array, Count, Number

if TYPE_CHECKING:
    from bptrace.build.builder import Builder

NotNegative = Annotated[Number, Field(ge=0)]

FLOAT64_EPSILON = 2.0**-52
"""What PyTorch's RMSNorm takes for ε unless one is given: the distance from 1 to the next float64."""


@dataclass(frozen=True)
class Reading:
    """How a layer reads its input: the words of its axes, what shares a statistic, and along which axes γ and β lie."""

    axes: tuple[str, ...]
    sharing: Sharing
    scaled: tuple[int, ...]

    @property
    def statistic(self) -> tuple[str, ...]:
        """The words of a statistic's axes."""
        sharing = self.sharing
        grouped = sharing.channel if sharing.groups else None
        return tuple(
            "group" if axis == grouped else word for axis, word in enumerate(self.axes) if axis not in sharing.axes
        )


class Normalisation(LayerSpec):
    """gamma, beta: of the axes that are scaled apart; absent where they are `false`."""

    gamma: Array | Literal[False] | None = None
    beta: Array | Literal[False] | None = None
    epsilon: NotNegative = 1e-5

    def build(self, builder: Builder, name: str, path: Path, source: Node) -> Node:
        read = self.reads(builder, path, source)
        if read is None:
            return source
        before = len(builder.problems)
        scales = self._scales(builder, name, path, source.shape, read)
        normalized = self.normalized(builder, name, path, source, read)
        if len(builder.problems) > before:
            return source
        return self._scaled(builder, name, path, normalized, read, scales)

    def reads(self, builder: Builder, path: Path, source: Node) -> Reading | None:
        """How the input is read; None after a problem."""
        raise NotImplementedError

    def normalized(self, builder: Builder, name: str, path: Path, source: Node, read: Reading) -> Node:
        """Add `name.normalized` and what it is computed from."""
        raise NotImplementedError

    def setting(self, builder: Builder, name: str, part: str, symbol: str, value: float) -> Node:
        """A number that the layer reads, as a leaf: `setting.bn.epsilon`."""
        return builder.graph.leaf(f"setting.{name}.{part}", (), [value], phase="setting", symbol=Own(symbol))

    def quantity(
        self, builder: Builder, name: str, part: str, symbol: str, op: Any, *inputs: Node,
        axes: tuple[str, ...], word: str = "",
    ) -> Node:  # fmt: skip
        return builder.graph.add(
            f"{name}.{part}", op, *inputs,
            phase="forward", symbol=Own(symbol), axes=axes, layer=name, word=word or part,
        )  # fmt: skip

    @property
    def shifted(self) -> bool:
        """Whether there is a β."""
        return self.beta is not False

    def _scales(self, builder: Builder, name: str, path: Path, shape: Shape, read: Reading) -> dict[str, Node]:
        """γ and β, where the layer has them."""
        extents = tuple(shape[axis] for axis in read.scaled)
        words = tuple(read.axes[axis] for axis in read.scaled)
        wanted = [("gamma", "γ", 1.0)] if self.gamma is not False else []
        wanted += [("beta", "β", 0.0)] if self.shifted else []
        made: dict[str, Node] = {}
        for part, symbol, start in wanted:
            given = getattr(self, part)
            made[part] = builder.parameter(
                self, name, part, part, extents, words, path,
                fan=(1, 1), symbol=symbol, given=start if given is None else given,
            )  # fmt: skip
        return made

    def _scaled(
        self, builder: Builder, name: str, path: Path, normalized: Node, read: Reading, scales: dict[str, Node]
    ) -> Node:
        """y = γ·x̂ + β, and the activation where the layer has one."""
        by_unit = len(normalized.shape) == 2
        parts = ("gamma", "beta", "z", "y", "a")
        names = builder.names(self, path, ("units", *parts) if by_unit else parts)
        unit_names = names.flat("units", (normalized.shape[read.scaled[0]],)) if by_unit else ()
        builder.unit_names[name] = unit_names
        part = "y" if self.activation is None else "z"
        made = normalized
        if scales:
            letters = "njklmp"[: len(normalized.shape)] if read.axes[0] == "sample" else "jn"
            along = "".join(letters[axis] for axis in read.scaled)
            terms = (f"{letters},{along}" if "gamma" in scales else letters, *([along] if "beta" in scales else []))
            op = Products(terms, letters, swapped=True, words=tuple(zip(letters, read.axes, strict=True)))
            deltas = tuple(f"δ_{unit}" for unit in unit_names)
            made = builder.graph.add(
                f"{name}.{part}", op, normalized, *scales.values(),
                phase="forward", symbol=Own(names.symbol(part, part)), axes=read.axes, layer=name,
                names=names.elements(part, part, unit_names), word="scaled_and_shifted",
                delta=None if part == "y" else DeltaName(f"{name}.delta", deltas, builder.delta_factor),
            )  # fmt: skip
            builder.graph.name_elements(made)
        return made if made.id == f"{name}.y" else builder.activate(self, name, made, names, unit_names)

    def conventions(self, builder: Builder) -> list[tuple[str, str]]:
        """What the page says about the layer's own conventions: a formula and the key of a sentence each."""
        return []

    def title(self, builder: Builder, name: str) -> dict[str, Any]:
        return {"type": self.type, "units": 0, "conventions": self.conventions(builder)}


class Centred(Normalisation):
    """Base of the layers with a mean and a variance; its divisor is N, or N - 1 (`unbiased`)."""

    variance: Literal["biased", "unbiased"] = "biased"

    def normalized(self, builder: Builder, name: str, path: Path, source: Node, read: Reading) -> Node:
        mean, variance = self.moments(builder, name, path, source, read)
        return self.standardized(builder, name, source, mean, variance, read)

    def standardized(
        self, builder: Builder, name: str, source: Node, mean: Node, variance: Node, read: Reading
    ) -> Node:
        """(x - μ)/√(σ² + ε)"""
        epsilon = self.setting(builder, name, "epsilon", "ε", self.epsilon)
        return self.quantity(
            builder, name, "normalized", "x̂", Standardized(read.sharing), source, mean, variance, epsilon,
            axes=read.axes,
        )  # fmt: skip

    def moments(self, builder: Builder, name: str, path: Path, source: Node, read: Reading) -> tuple[Node, Node]:
        """Add `name.mean` and `name.var`."""
        unbiased = self.variance == "unbiased"
        sharing, axes = read.sharing, read.statistic
        if unbiased and sharing.count(source.shape) < 2:
            said = f"{sharing.count(source.shape)} value would have a divisor of 0"
            builder.problem((*path, "variance"), said, "variance: biased")
            unbiased = False
        mean = self.quantity(builder, name, "mean", "μ", SharedMean(sharing), source, axes=axes)
        op = SharedVariance(sharing, unbiased)
        return mean, self.quantity(builder, name, "var", "σ²", op, source, mean, axes=axes, word="variance")

    def conventions(self, builder: Builder) -> list[tuple[str, str]]:
        divisor = "N" if self.variance == "biased" else "(N - 1)"
        return [(f"σ² = Σ (x - μ)²/{divisor}", f"variance_{self.variance}")]


class LastAxes(Normalisation):
    """Base of the layers that normalise each sample by itself, over its features or all its axes."""

    axes: Literal["last", "all_but_batch"] = "last"

    def reads(self, builder: Builder, path: Path, source: Node) -> Reading | None:
        rank = len(source.shape)
        if not _readable(builder, self, path, source):
            return None
        sample = rank - 1 if builder.columns else 0
        axes = tuple(axis for axis in range(rank) if axis != sample) if self.axes == "all_but_batch" else (rank - 1,)
        if builder.columns:
            axes = (0,)
        words = own_words(source)
        return Reading(words, Sharing(axes, tuple(words[axis] for axis in axes)), axes)


class LayerNorm(LastAxes, Centred):
    """x: (N, ..., features); μ, σ²: (N, ...), with `all_but_batch` (N); gamma, beta: the other axes."""

    type: Literal["layer_norm"]


class RmsNorm(LastAxes):
    """rms = √(Σ x²/N + ε), x̂ = x/rms; a shift β only where it is given."""

    type: Literal["rms_norm"]
    epsilon: NotNegative = FLOAT64_EPSILON

    @property
    def shifted(self) -> bool:
        return self.beta is not False and self.beta is not None

    def normalized(self, builder: Builder, name: str, path: Path, source: Node, read: Reading) -> Node:
        epsilon = self.setting(builder, name, "epsilon", "ε", self.epsilon)
        op = RootMeanSquare(read.sharing)
        rms = self.quantity(builder, name, "rms", "rms", op, source, epsilon, axes=read.statistic)
        return self.quantity(builder, name, "normalized", "x̂", OverRms(read.sharing), source, rms, axes=read.axes)


class GroupNorm(Centred):
    """x: (N, C, ...); the channels in `groups` equal parts, μ, σ²: (N, groups); gamma, beta: (C)."""

    type: Literal["group_norm"]
    groups: Count
    channel_order: Literal["first", "last"] | None = None

    def reads(self, builder: Builder, path: Path, source: Node) -> Reading | None:
        found = channels(builder, self, path, source)
        if found is None:
            return None
        words, channel = found
        if source.shape[channel] % self.groups:
            said = f"{self.groups} groups do not divide {source.shape[channel]} channels"
            builder.problem((*path, "groups"), said, f"one of {_divisors(source.shape[channel])}")
            return None
        sample = words.index("sample")
        axes = tuple(axis for axis in range(len(words)) if axis not in (sample, channel))
        counted = (words[channel], *(words[axis] for axis in axes))
        return Reading(words, Sharing(axes, counted, self.groups, channel), (channel,))


def channels(builder: Builder, layer: LayerSpec, path: Path, source: Node) -> tuple[tuple[str, ...], int] | None:
    """The words of an input's axes and where its channels are, (N, features) included; None after a problem."""
    if len(source.shape) == 2:
        return own_words(source), 0 if builder.columns else 1
    read = image(builder, layer, path, source)
    if read is None:
        return None
    return read.axes, len(source.shape) - 1 if read.last else 1


def own_words(source: Node) -> tuple[str, ...]:
    """The words of the layer's own axes: what it reads as inputs are its units."""
    return tuple("unit" if word == "input" else word for word in source.axes)


def _readable(builder: Builder, layer: LayerSpec, path: Path, source: Node) -> bool:
    rank = len(source.shape)
    if builder.columns and rank != 2:
        builder.problem(
            ("conventions", "sample_axis"), f"{layer.type} of {rank} axes reads samples first", "sample_axis: rows"
        )
        return False
    if rank < 2:
        at: Path = ("data", "inputs") if source.phase == "data" and source.id == "x" else (*path, "type")
        builder.problem(
            at, f"{layer.type} cannot read {source.id} of the shape {list(source.shape)}", "(N, ..., features)"
        )
        return False
    return True


def _divisors(count: int) -> str:
    return ", ".join(str(k) for k in range(1, count + 1) if count % k == 0)


__all__ = ["Centred", "GroupNorm", "LayerNorm", "Reading", "RmsNorm", "channels"]
