"""A picture put in comes out as a picture: `export NET -o r.png`, read back and measured by hand."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Answer

import bptrace
from bptrace.errors import UsageError
from bptrace.network import Network, bundled_folder

image = pytest.importorskip("PIL.Image")
Command = Callable[..., Answer]


def picture(path: Path, pixels: Any) -> Path:
    image.fromarray(pixels).save(path)
    return path


def identity(folder: Path, size: int, data: str = "tile: 2", weight: float = 1.0, bias: float = 0.0) -> Network:
    """One linear layer that multiplies every number by `weight` and adds `bias`."""
    rows = ", ".join(str([weight * (i == j) for j in range(size)]) for i in range(size))
    path = folder / "net.yaml"
    path.write_text(
        f"data: {{png: {{file: p.png, {data}}}, targets: inputs}}\n"
        f"layers: [{{type: dense, name: o, units: {size}, weights: [{rows}], bias: {bias}}}]\nloss: squared_error\n"
    )
    return bptrace.load(path)


def read(path: Path) -> Any:
    return np.asarray(image.open(path))


DRAW = np.random.default_rng(11)
PICTURES = {
    "gray": DRAW.integers(0, 256, (4, 6), dtype=np.uint8),
    "colour": DRAW.integers(0, 256, (6, 4, 3), dtype=np.uint8),
    "16 bits": DRAW.integers(0, 65536, (4, 4), dtype=np.uint16),
    "black and white": DRAW.integers(0, 2, (4, 4)).astype(bool),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_what_changes_nothing_gives_the_picture_back(tmp_path: Path, kind: str) -> None:
    given = PICTURES[kind]
    picture(tmp_path / "p.png", given)
    trace = identity(tmp_path, 12 if kind == "colour" else 4).run()
    trace.export(tmp_path / "r.png")
    expected = given.astype(np.uint8) * 255 if kind == "black and white" else given
    assert np.array_equal(read(tmp_path / "r.png"), expected)
    assert trace.reconstruction.psnr == math.inf


def test_pixels_and_psnr_by_hand(tmp_path: Path) -> None:
    given = np.array([[0, 10, 100, 200], [255, 250, 128, 64]], dtype=np.uint8)
    picture(tmp_path / "p.png", given)
    made = identity(tmp_path, 4, weight=1.1, bias=-0.1).run().reconstruction
    # 1.1·v - 25.5: -25.5 -14.5 84.5 194.5 / 255 249.5 115.3 44.9; halves up, out of range clipped
    expected = [[0, 0, 85, 195], [255, 250, 115, 45]]
    assert made.pixels.tolist() == expected
    assert (made.count, made.below, made.above) == (8, 2, 0)
    mean = (10**2 + 15**2 + 5**2 + 13**2 + 19**2) / 8
    assert made.mean_square == mean
    assert made.psnr == pytest.approx(10 * math.log10(255**2 / mean), rel=1e-14)


def test_the_compressed_picture_by_numpy(command: Command, tmp_path: Path) -> None:
    """The forward pass of 64-16-64 by NumPy from the trained parameters, tiles put in their places one by one."""
    answer = command("export", "image-compression", "-o", tmp_path / "r.png")
    assert answer.code == 0
    parameters = bptrace.load("image-compression").run(show=[1]).final["parameters"]
    given = read(bundled_folder() / "data" / "waves.png").astype(float)
    expected = np.zeros((128, 128))
    for top in range(0, 128, 8):
        for left in range(0, 128, 8):
            x = given[top : top + 8, left : left + 8].ravel() / 255
            h = 1 / (1 + np.exp(-(np.array(parameters["h.W"]) @ x + parameters["h.b"])))
            y = 1 / (1 + np.exp(-(np.array(parameters["o.W"]) @ h + parameters["o.b"])))
            expected[top : top + 8, left : left + 8] = (y * 255).reshape(8, 8)
    found = read(tmp_path / "r.png").astype(float)
    assert np.abs(found - expected).max() <= 0.5 + 1e-9
    mean = ((found - given) ** 2).mean()
    assert 10 * math.log10(255**2 / mean) > 27
    assert f"{10 * math.log10(255**2 / mean):.2f} dB" in answer.err and "128×128 pixels" in answer.err


def test_standard_output_and_a_stored_trace(tmp_path: Path) -> None:
    def bptrace_command(*words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([sys.executable, "-m", "bptrace", *words], capture_output=True, cwd=tmp_path, check=False)

    picture(tmp_path / "p.png", PICTURES["gray"])
    identity(tmp_path, 4, weight=0.5)
    piped = bptrace_command("export", "net.yaml", "--format", "png")
    assert piped.returncode == 0 and piped.stdout.startswith(b"\x89PNG")
    assert bptrace_command("run", "net.yaml", "--trace", "t.npy", "-q").returncode == 0
    assert bptrace_command("export", "t.npy", "-o", "r.png").returncode == 0
    assert (tmp_path / "r.png").read_bytes() == piped.stdout
    again = bptrace_command("export", "net.yaml", "-o", "p.png")
    assert again.returncode == 2 and b"that is a data file of the network" in again.stderr
    assert np.array_equal(read(tmp_path / "p.png"), PICTURES["gray"])


def test_rows_held_out_have_their_places_and_scaling_is_undone(tmp_path: Path) -> None:
    picture(tmp_path / "p.png", PICTURES["gray"])
    data = "tile: 2}, split: {validation: 2}, scale: {inputs: standard"
    trace = identity(tmp_path, 4, data).run()
    assert len(trace.assembly(1).parts.training) == 4
    assert np.array_equal(trace.reconstruction.pixels, PICTURES["gray"])


def test_a_whole_picture_through_convolutions(tmp_path: Path) -> None:
    picture(tmp_path / "p.png", PICTURES["colour"])
    path = tmp_path / "net.yaml"
    path.write_text(
        "data: {png: p.png, targets: inputs}\n"
        "layers: [{type: conv2d, name: o, channels: 3, kernel: 1, bias: 0,\n"
        "          weights: [[[[0]], [[0]], [[1]]], [[[0]], [[1]], [[0]]], [[[1]], [[0]], [[0]]]]}]\n"
        "loss: squared_error\n"
    )
    trace = bptrace.load(path).run()
    assert np.array_equal(trace.reconstruction.pixels, PICTURES["colour"][:, :, ::-1])  # red and blue change places


def test_what_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a picture is made where the data are one"):
        bptrace.load("mazur").run().export(tmp_path / "r.png")
    picture(tmp_path / "p.png", PICTURES["gray"])
    (tmp_path / "net.yaml").write_text(
        "data: {png: {file: p.png, tile: 2}}\nlayers: [{type: dense, name: o, units: 3}]\nloss: sum\n"
    )
    with pytest.raises(UsageError, match="an output of 3 numbers a sample; the picture has 4"):
        bptrace.load(tmp_path / "net.yaml").run().export(tmp_path / "r.png")
    with pytest.raises(UsageError, match=r"2 of the 6 tiles are read \(data.rows\)"):
        identity(tmp_path, 4, "tile: 2}, rows: {last: 2").run().export(tmp_path / "r.png")
    assert not (tmp_path / "r.png").exists()
