"""PNG: a picture as numbers from 0 to 1, whole or cut into square tiles, and such numbers as a picture again."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

from bptrace.data.source import LARGEST_ARRAY, Picture, Rows, UnreadableError, checked_file
from bptrace.errors import MissingExtraError

DIVISORS = {"1": 1, "L": 255, "RGB": 255, "I;16": 65535}
"""The largest value of a pixel, by Pillow's name for what a picture holds."""


def read_png(path: Path, tile: int | None) -> tuple[Rows, tuple[int, ...], int, Picture]:
    """Rows, the shape of a row, the number by which the pixels were divided, and the picture's size.

    The whole picture is one row (channels, height, width). With `tile` every square of that side is a
    row (channels·tile·tile), the squares in reading order, each channel by channel and row by row.
    """
    image = _pillow()
    checked_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", image.DecompressionBombWarning)  # the size is checked below
            picture = image.open(path, formats=["PNG"])
        with picture:
            width, height = picture.size
            if width * height * 3 > LARGEST_ARRAY:
                raise UnreadableError(f"{path} has {width:,}×{height:,} pixels", f"at most {LARGEST_ARRAY // 3:,}")
            mode = picture.mode
            if mode not in DIVISORS:
                expected = "grayscale or RGB without transparency or palette"
                raise UnreadableError(f"{path} is a picture of the kind {mode}", expected)
            if tile is not None and (width % tile or height % tile):
                expected = f"a tile that divides both, or a picture of {width - width % tile}×{height - height % tile}"
                said = f"{path} has {width}×{height} pixels, which tiles of {tile} do not fill"
                raise UnreadableError(said, expected)
            channels = 3 if mode == "RGB" else 1
            return (*_rows(picture, tile), DIVISORS[mode], Picture(channels, height, width, tile))
    except image.UnidentifiedImageError:
        raise UnreadableError(f"{path} is no PNG", "a PNG picture") from None
    except image.DecompressionBombError:
        raise UnreadableError(f"{path} has too many pixels", f"at most {LARGEST_ARRAY // 3:,}") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise UnreadableError(f"{path} is damaged: {error}", "a whole PNG") from None


def png_bytes(pixels: Any) -> bytes:
    """The PNG of `pixels` (height, width) or (height, width, 3), whole numbers of 8 or (gray) 16 bits."""
    stream = io.BytesIO()
    _pillow().fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def pixels_of(rows: Any, picture: Picture, divisor: int) -> Any:
    """The pixels of a picture whose samples are `rows` (samples, numbers), from 0 to 1: times `divisor`,
    rounded to whole numbers; the inverse of `read_png`."""
    import numpy as np

    height, width, count = picture.height, picture.width, picture.channels
    if picture.tile is None:
        channels = rows.reshape(count, height, width)
    else:
        tile = picture.tile
        cut = rows.reshape(height // tile, width // tile, count, tile, tile)
        channels = cut.transpose(2, 0, 3, 1, 4).reshape(count, height, width)
    whole = np.floor(channels * divisor + 0.5).astype(np.uint16 if divisor > 255 else np.uint8)
    return (np.moveaxis(whole, 0, -1) if count > 1 else whole[0]) * np.uint8(255 if divisor == 1 else 1)


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == "PIL":
            raise MissingExtraError('PNG pictures need Pillow: pip install "bptrace[images]"') from None
        raise
    return Image


def _rows(picture: Any, tile: int | None) -> tuple[Rows, tuple[int, ...]]:
    import numpy as np

    pixels = np.asarray(picture).astype(np.float64) / DIVISORS[picture.mode]
    channels = np.moveaxis(pixels, -1, 0) if pixels.ndim == 3 else pixels[None]
    count, height, width = channels.shape
    if tile is None:
        rows: Rows = [channels.ravel().tolist()]
        return rows, (count, height, width)
    cut = channels.reshape(count, height // tile, tile, width // tile, tile)
    rows = cut.transpose(1, 3, 0, 2, 4).reshape(-1, count * tile * tile).tolist()
    return rows, (count * tile * tile,)
