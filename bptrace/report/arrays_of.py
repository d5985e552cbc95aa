"""Quantities with rows and columns: windows, what they choose, and the small matrices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bptrace.formula.expr import (
    Index,
)
from bptrace.graph.node import Node
from bptrace.report import pictures
from bptrace.report.block_parts import BlockParts
from bptrace.report.blocks import (
    Block,
    Part,
    Picture,
    Sentence,
)
from bptrace.report.notation import Notation


class ArraysOf(BlockParts):
    """Makes rows of places and pictures."""

    def _rows(self, node: Node, notation: Notation, places: Iterable[Index]) -> list[Part]:
        return [self.place_rows.rows(node, notation, places)]

    def _chosen(self, node: Node, notation: Notation, places: Sequence[Index]) -> list[Part]:
        rank = len(node.inputs[1].shape)
        windows = list(dict.fromkeys(index[:rank] for index in places))
        shown = [index for index in places if index[:rank] in set(windows[: max(1, self.limits.rows)])]
        made: list[Part] = list(self.place_rows.chosen(node, notation, shown))
        left = len(windows) - max(1, self.limits.rows)
        if left > 0:
            command = self.limits.command(node.id, "rows")
            made.append(Sentence("… " + self.left_out("rows", left, command=command)))
        return made

    def _picture(self, node: Node, notation: Notation, places: Sequence[Index]) -> list[Part]:
        """Numbers that are only repeated, as small matrices."""
        found, left = pictures.matrices(node, notation, max(1, self.limits.rows), self.words.channels)
        made: list[Part] = [Picture([("", matrix) for matrix in found])]
        return [*made, self._pictures_left_out(node, left)] if left else made

    def _pictures_left_out(self, node: Node, count: int) -> Sentence:
        command = self.limits.command(node.id, "rows")
        return Sentence("… " + self.words("pictures_left_out", count=count, command=command))

    def _show_arrays(self, block: Block, node: Node, notation: Notation) -> None:
        """What the window is laid over, and the result, before the block that reads them."""
        made, left = pictures.convolution(node, notation, max(1, self.limits.rows), self.words.channels)
        block.pictures = [*made, *([self._pictures_left_out(node, left)] if left else [])]
