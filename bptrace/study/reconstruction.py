"""What a network makes of a picture, put back together: `bptrace export NET -o reconstruction.png`.

The parameters are those after the last update, the layers as they are used after training, and every
sample of the picture has its place, also those that were held out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf, log10
from typing import TYPE_CHECKING, Any

from bptrace.engine.forward_pass import ForwardPass
from bptrace.engine.layout import state_leaves
from bptrace.errors import UsageError

if TYPE_CHECKING:
    from bptrace.build.data import Table
    from bptrace.data.source import Picture
    from bptrace.trace import Trace


@dataclass(frozen=True)
class Reconstruction:
    """`pixels` (height, width) or (height, width, 3) are whole numbers up to `largest`; `given` likewise
    those of the targets.

    Of `count` outputs `below` were under 0 and `above` over 1, and became 0 and 1.
    """

    pixels: Any
    given: Any
    largest: int
    count: int
    below: int
    above: int

    @property
    def mean_square(self) -> float:
        """The mean over the pixels of (given - pixel)²."""
        difference = self.given.astype(float) - self.pixels
        return float((difference**2).mean())

    @property
    def psnr(self) -> float:
        """10·log10(largest²/mean square) in dB, of the whole numbers in the file."""
        return 10 * log10(self.largest**2 / self.mean_square) if self.mean_square else inf

    def png(self) -> Iterator[bytes]:
        """The file."""
        from bptrace.data.png_file import png_bytes

        yield png_bytes(self.pixels)

    def __str__(self) -> str:
        """What is said of the file."""
        height, width = self.pixels.shape[:2]
        said = (
            f"{width}×{height} pixels, 0 to {self.largest}; mean squared error {self.mean_square:.6g}, "
            f"PSNR 10·log10({self.largest}²/{self.mean_square:.6g}) = {self.psnr:.2f} dB"
        )
        if self.below or self.above:
            said += f"; of {self.count:,} outputs {self.below:,} below 0 became 0 and {self.above:,} above 1 became 1"
        return said


def reconstruction(trace: Trace) -> Reconstruction:
    """The picture that the outputs of all samples make.

    Raises `UsageError` where the data are no picture, or the outputs are not as many as its pixels.
    """
    import numpy as np

    from bptrace.data.png_file import pixels_of

    whole = trace.final_assembly
    source = whole.data.source
    if source is None or source.picture is None:
        raise UsageError("png: a picture is made where the data are one (data.png); these are not")
    picture = source.picture
    table = _compared(whole.tables.values(), picture)
    rows = range(len(table.rows))
    if len(rows) != picture.samples:
        tiles = f"{len(rows):,} of the {picture.samples:,} tiles are read (data.rows)"
        raise UsageError(f"png: {tiles}; all make a picture")
    after = trace.final_parameters(whole)
    state = [float(x) for leaf in state_leaves(whole.graph) for x in after.flat(leaf)]
    _, output = ForwardPass(trace.network, rows, whole).run(state)
    if output.size != picture.samples * picture.numbers:
        made = output.size // picture.samples
        raise UsageError(f"png: an output of {made:,} numbers a sample; the picture has {picture.numbers:,}")
    if output.ndim > 2:
        output = np.moveaxis(output, -1, 1)  # channels, which a picture has first
    output = output.reshape(len(rows), -1)
    targets = np.array(table.unscaled or table.rows, dtype=float)
    if table.scaling is not None:
        output = np.array([table.scaling.undo(row) for row in output])
    made = pixels_of(np.clip(output, 0, 1), picture, source.divisor)
    given = pixels_of(np.clip(targets, 0, 1), picture, source.divisor)
    largest = 255 if source.divisor == 1 else source.divisor
    return Reconstruction(made, given, largest, output.size, int((output < 0).sum()), int((output > 1).sum()))


def _compared(tables: Iterable[Table], picture: Picture) -> Table:
    """What the outputs are compared with: the targets, where they are a picture of this size, else the inputs."""
    fitting = [table for table in tables if len(table.rows[0]) == picture.numbers]
    return next((table for table in fitting if table.kind == "targets"), fitting[0])
