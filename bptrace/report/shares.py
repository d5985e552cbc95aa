"""Parts of formulas that were asked for: an addend, one sample's or one time step's share of a gradient."""

from __future__ import annotations

from bptrace.formula.expr import Ref, Worked, flat
from bptrace.graph.lookup import Part as Share
from bptrace.graph.lookup import formula, index_of
from bptrace.report.blocks import Block, Line, Lines, Part, Sentence
from bptrace.report.blocks_of import Blocks
from bptrace.report.notation import Notation


def share_block(share: Share, blocks: Blocks) -> Block:
    """A block with a line an element, which has a formula and a value but is no number of the graph."""
    node, limit = share.node, max(1, blocks.limits.rows)
    notation = Notation(node.layer, blocks.samples == 1)
    lines: list[Line] = []
    for element in share.elements[:limit]:
        whole = flat(formula(share, element))
        name = notation.element(Ref(node, index_of(node, element))) + share.label
        forms = blocks.forms(whole, notation, True)
        lines.append(Line(name, forms, whole if isinstance(whole, Ref) else Worked(whole)))
    parts: list[Part] = [Lines(lines)]
    left = len(share.elements) - len(lines)
    if left:
        command = blocks.limits.command(f"{node.id}{share.label}", "rows")
        parts.append(Sentence("… " + blocks.words("rows_left_out", count=left, command=command)))
    return Block(f"{node.id}{share.label}", blocks.words("contribution"), [], "", parts, nodes=[node])
