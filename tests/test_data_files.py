"""Data files: what is read from them, and what is said of every mistake in one."""
# ruff: noqa: E501 - a mistake and its message read best on one line

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bptrace.errors import MissingExtraError, SpecError, UsageError
from bptrace.network import Network, load

NET = """\
data:
{data}
layers:
  - {{type: dense, name: o, units: {units}, weights: 0.5, bias: 0}}
loss: squared_error
"""
GOOD = "a,b,t\n1,2,3\n4,5,6\n7,8,10\n"


def net(folder: Path, data: str, units: int = 1) -> Network:
    path = folder / "net.yaml"
    path.write_text(NET.format(data="\n".join(f"  {line}" for line in data.splitlines()), units=units), "utf-8")
    return load(path)


def file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def problems(folder: Path, data: str, units: int = 1) -> str:
    with pytest.raises(SpecError) as caught:
        net(folder, data, units).assembly()
    return str(caught.value).replace(f"{folder}/", "")


# CSV that is wrong: the file's own line and column

CSV = "csv: data.csv\ntargets: [t]"
MISTAKES: dict[str, tuple[str | bytes, str, str]] = {
    "empty": ("", CSV, "data.csv:1:1: the file is empty; expected a line with the names of the columns"),
    "blank lines only": ("\n\n", CSV, "data.csv:1:1: the file is empty"),
    "header only": ("a,b,t\n", CSV, "data.csv:2:1: no rows; expected a line a sample"),
    "ragged, short": ("a,b,t\n1,2,3\n4,5\n", CSV, "data.csv:3:4: a row of 2 cells; expected 3 cells"),
    "ragged, long": ("a,b,t\n1,2,3,9\n", CSV, "data.csv:2:7: a row of 4 cells; expected 3 cells"),
    "no number": ("a,b,t\n1,two,3\n", CSV, "data.csv:2:3: b: 'two' is no number; expected a number, or data.categories"),
    "quoted": ('a,b,t\n1,"x,y",3\n', CSV, "data.csv:2:3: b: 'x,y' is no number"),
    "after a quoted cell": ('a,b,t\n"1","2",z\n', CSV, "data.csv:2:9: t: 'z' is no number"),
    "semicolons": ("a;b;t\n1;2;3\n", CSV, "data.csv:1:2: a semicolon separates the columns; expected a comma, or csv: {"),
    "tabs": ("a\tb\tt\n1\t2\t3\n", CSV, "data.csv:1:2: a tab separates the columns"),
    "decimal comma": ('a,b,t\n"1,5",2,3\n', CSV, "data.csv:2:1: a: '1,5' is no number; expected a point before"),
    "decimal comma, not quoted": ("a,b,t\n1,5,2,5,3,5\n", CSV, "a comma cannot be the decimal sign too"),
    "decimal point": (
        "a;b;t\n1.5;2;3\n1,5;x;3\n", "csv: {file: data.csv, delimiter: ;, decimal: ','}\ntargets: [t]",
        "data.csv:3:5: b: 'x' is no number",
    ),
    "latin-1": ("a,b,t\n1,2,3\n4,é,6\n".encode("latin-1"), CSV, "data.csv:3:3: the file is not UTF-8; expected a file saved"),
    "utf-16": ("a,b,t\n1,2,3\n".encode("utf-16"), CSV, "data.csv:1:1: UTF-16 text; expected a file saved as UTF-8"),
    "duplicate column": ("a,a,t\n1,2,3\n", CSV, "data.csv:1:3: the column 'a' stands twice; expected each name once"),
    "nameless column": ("a,,t\n1,2,3\n", CSV, "data.csv:1:3: a column without a name"),
    "no header": ("1,2,3\n4,5,6\n", CSV, "data.csv:1:1: numbers where the names of the columns belong"),
    "an empty cell": ("a,b,t\n1,,3\n", CSV, "data.csv:2:3: b: an empty cell; expected a number, or data.missing: mean"),
    "NaN": ("a,b,t\n1,2,3\n1,NaN,3\n", CSV, "data.csv:3:3: b: a missing value, 'NaN'"),
    "infinity": ("a,b,t\n1,-inf,3\n", CSV, "data.csv:2:3: b: '-inf' is no number; expected a finite number"),
    "underscores": ("a,b,t\n1,1_000,3\n", CSV, "data.csv:2:3: b: '1_000' is no number"),
    "other digits": ("a,b,t\n1,١,3\n", CSV, "data.csv:2:3: b: '١' is no number"),
    "too large for a float": ("a,b,t\n1,1e999,3\n", CSV, "data.csv:2:3: b: '1e999' is no number"),
    "an open quote": ('a,b,t\n1,2,3\n"4,5,6\n', CSV, "data.csv:3:1: cannot be read as CSV"),
    "a class that is none": (
        "a,b,t\n1,red,3\n1,rad,3\n", CSV + "\ncategories: {b: [red, blue]}",
        "data.csv:3:3: b: 'rad' is no class; expected one of red, blue",
    ),
    "a missing class": (
        "a,b,t\n1,red,3\n1,,3\n", CSV + "\ncategories: [b]\nmissing: mean", "data.csv:3:3: b: an empty cell in a category",
    ),
    "nothing to fill from": (
        "a,b,t\n1,,3\n2,,3\n", CSV + "\nmissing: mean", "data.missing: x: no value in the rows that are trained on",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_csv(tmp_path: Path, name: str) -> None:
    content, data, said = MISTAKES[name]
    file(tmp_path, "data.csv", content)
    assert said in problems(tmp_path, data)


def test_every_bad_cell_is_reported_up_to_a_limit(tmp_path: Path) -> None:
    file(tmp_path, "data.csv", "a,b,t\n" + "x,y,1\n" * 30)
    lines = [line for line in problems(tmp_path, CSV).splitlines() if line.startswith("data.csv:")]
    assert len(lines) == 20
    assert lines[0].startswith("data.csv:2:1:") and lines[1].startswith("data.csv:2:3:")
    assert "(and 40 more mistakes in this file)" in lines[-1]


def test_mistakes_of_the_yaml_and_of_its_data_are_reported_together(tmp_path: Path) -> None:
    file(tmp_path, "data.csv", "a,b,t\n1,x,3\n")
    (tmp_path / "net.yaml").write_text(NET.format(data="  csv: data.csv\n  targets: [t]", units=1) + "output: o\n")
    with pytest.raises(SpecError) as caught:
        load(tmp_path / "net.yaml")
    text = str(caught.value)
    assert "'output' belongs to a graph" in text and "data.csv:2:3: b: 'x' is no number" in text


# what the YAML says of a file

FIELDS: dict[str, tuple[str, str]] = {
    "no such file": ("csv: other.csv", "net.yaml:2:8: data.csv: other.csv: no such file; expected a path relative"),
    "a folder": ("csv: folder", "net.yaml:2:8: data.csv: folder is a folder; expected a file"),
    "a device": ("csv: /dev/zero", "net.yaml:2:8: data.csv: /dev/zero is no regular file"),
    "a text that is no path": ('csv: "a\\0b"', "net.yaml:2:8: data.csv:"),
    "an unknown column": ("csv: good.csv\ntargets: [tt]", "net.yaml:3:13: data.targets[0]: no column 'tt'; did you mean 't'?"),
    "an unknown input": ("csv: good.csv\ninputs: [a, bb]\ntargets: [t]", "data.inputs[1]: no column 'bb'; did you mean 'b'?"),
    "a column twice": ("csv: good.csv\ninputs: [a, a]\ntargets: [t]", "data.inputs[1]: the column 'a' is taken twice"),
    "an unknown category": ("csv: good.csv\ntargets: [t]\ncategories: [c]", "no column 'c'; expected one of a, b, t"),
    "two files": ("csv: good.csv\nnpz: x.npz", "data.npz: csv and npz are both given; expected one of them"),
    "numbers beside a file": ("csv: good.csv\ninputs: [[1]]", "data.inputs: numbers beside a csv; expected names of its col"),
    "names without a file": ("inputs: [a]\ntargets: [t]", "data.inputs: names of columns without a file"),
    "nothing at all": ("targets: [[1]]", "'inputs' is missing; expected inputs: [[...]], or a csv, npz, png or dataset"),
    "an unknown dataset": ("dataset: irsi", "data.dataset: unknown dataset 'irsi'; did you mean 'iris'?"),
    "missing without a csv": ("npz: x.npz\nmissing: mean", "data.missing: 'missing' belongs to a csv or dataset"),
    "a split of more than all": ("csv: good.csv\ntargets: [t]\nsplit: {validation: 0.5, test: 0.5}", "no rows are left"),
    "a share of nothing": ("csv: good.csv\ntargets: [t]\nsplit: {test: 0.1}", "0.1 of 3 rows is less than half a row"),
    "more than there are": ("csv: good.csv\ntargets: [t]\nsplit: {test: 3}", "0 and 3 of 3 rows leave none to train on"),
    "half a row": ("csv: good.csv\ntargets: [t]\nsplit: {test: 1.5}", "a share below 1, or a whole number of rows"),
    "a fold that is none": ("csv: good.csv\ntargets: [t]\nfolds: {count: 2, hold_out: 3}", "there is no fold 3; expected 1 to 2"),
    "too many folds": ("csv: good.csv\ntargets: [t]\nfolds: {count: 4}", "4 folds of 3 rows; expected 2 to 3"),
    "folds and validation": (
        "csv: good.csv\ntargets: [t]\nsplit: {validation: 1}\nfolds: {count: 2}", "folds hold rows out for validation",
    ),
    "rows that are none": ("csv: good.csv\ntargets: [t]\nrows: {last: 4}", "data.rows.last: there is no row 4; expected 1 to 3"),
    "rows backwards": ("csv: good.csv\ntargets: [t]\nrows: {first: 3, last: 2}", "the last row is before the first, 3"),
    "an unknown scaling": ("csv: good.csv\ntargets: [t]\nscale: {inputs: standart}", "did you mean 'standard'?"),
    "a divisor of 0": ("csv: good.csv\ntargets: [t]\nscale: {inputs: {divide: 0}}", "expected a number above 0"),
    "wrong number of names": ("csv: good.csv\ntargets: [t]\nnames: {inputs: [p]}", "1 names for 2 inputs; expected 2 names"),
    "one sign for two": ("csv: {file: good.csv, decimal: ','}", "the delimiter is also the decimal sign"),
}  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_a_mistake_in_what_is_said_of_a_file(tmp_path: Path, name: str) -> None:
    data, said = FIELDS[name]
    file(tmp_path, "good.csv", GOOD)
    (tmp_path / "folder").mkdir()
    assert said in problems(tmp_path, data)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with file(tmp_path, "data.csv", GOOD).open("r+b") as stream:
        stream.truncate(3_000_000_000)  # a hole: nothing is on the disk
    assert "data.csv has 3,000,000,000 bytes; expected at most 100,000,000" in problems(tmp_path, CSV)


# npz


def array_file(shape: str, kind: str = "<f8", body: bytes = b"") -> bytes:
    """An .npy whose header says what the test wants."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (64 - (len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def archive(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(f"{name}.npy", content)
    return stream.getvalue()


def saved(**arrays: object) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


NPZ: dict[str, tuple[Callable[[], bytes], str]] = {
    "text": (lambda: b"a,b\n1,2\n", "data.npz is no npz; expected a file written by numpy.savez"),
    "pickled": (lambda: saved(x=np.array([{}], dtype=object)), "the array 'x' holds Python objects (a pickle)"),
    "a bomb by its header": (lambda: archive(x=array_file("(1000000000000, 2)")), "has 2,000,000,000,000 numbers"),
    "a bomb by its zeros": (
        lambda: archive(x=array_file("(3000000, 10)", body=b"\0" * 240_000_000)), "has 30,000,000 numbers; expected at most",
    ),
    "cut short": (lambda: archive(x=array_file("(100, 2)", body=b"\0" * 8)), "is shorter than its header says"),
    "cut archive": (lambda: saved(x=np.ones((50, 2)))[:300], "data.npz is no npz"),
    "complex": (lambda: saved(x=np.ones((3, 2), complex)), "holds complex128; expected an array of real numbers"),
    "text cells": (lambda: saved(x=np.array([["a"]])), "expected an array of real numbers"),
    "NaN": (lambda: saved(x=np.array([[1.0, 2], [3, np.nan]])), "holds nan at [2,2]; expected finite numbers"),
    "large integers": (lambda: saved(x=np.array([[2**60]])), "integers beyond 2^53"),
    "empty": (lambda: saved(x=np.ones((0, 3))), "is empty: its shape is [0, 3]"),
    "no axis of samples": (lambda: saved(x=np.ones(3)), "the array 'x' has the shape [3]; expected (samples, ...)"),
    "another name": (lambda: saved(xs=np.ones((3, 2))), "data.inputs: no array 'x'; did you mean 'xs'?"),
    "no array": (lambda: archive(x=b"junk"), "the array 'x' is damaged"),
}


@pytest.mark.parametrize("name", NPZ)
def test_a_mistake_in_an_npz(tmp_path: Path, name: str) -> None:
    make, said = NPZ[name]
    file(tmp_path, "data.npz", make())
    text = problems(tmp_path, "npz: data.npz\ninputs: x\ntargets: inputs")
    assert said in text and text.startswith("net.yaml:")


# PNG


def png(width: int, height: int, mode: int = 0, body: bytes | None = None) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    pixels = b"".join(b"\0" + bytes(range(width % 256)) for _ in range(height)) if body is None else body
    head = struct.pack(">IIBBBBB", width, height, 8, mode, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


PNG: dict[str, tuple[Callable[[], bytes], str]] = {
    "text": (lambda: b"a,b\n", "data.png is no PNG; expected a PNG picture"),
    "a bomb by its header": (lambda: png(100_000, 100_000, body=b""), "data.png has "),
    "a large picture": (lambda: png(4000, 4000, body=b""), "data.png has 4,000×4,000 pixels; expected at most 6,666,666"),
    "cut short": (lambda: png(8, 8)[:45], "data.png is damaged"),
    "damaged": (lambda: png(8, 8)[:41] + b"\xff" * 9 + png(8, 8)[50:], "data.png is damaged"),
    "transparency": (lambda: png(4, 4, 6, b"\0" * 68), "a picture of the kind RGBA; expected grayscale or RGB"),
    "tiles that do not fill it": (lambda: png(9, 8), "9×8 pixels, which tiles of 4 do not fill; expected a tile that"),
}  # fmt: skip


@pytest.mark.parametrize("name", PNG)
def test_a_mistake_in_a_png(tmp_path: Path, name: str) -> None:
    pytest.importorskip("PIL")
    make, said = PNG[name]
    file(tmp_path, "data.png", make())
    assert said in problems(tmp_path, "png: {file: data.png, tile: 4}\ntargets: inputs", 16)


def test_without_pillow_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setattr("builtins.__import__", _without_pillow(__import__))
    file(tmp_path, "data.png", png(8, 8))
    with pytest.raises(MissingExtraError, match=r'pip install "bptrace\[images\]"'):
        net(tmp_path, "png: data.png\ntargets: inputs")


def _without_pillow(real: Callable[..., object]) -> Callable[..., object]:
    def imported(name: str, *rest: object, **more: object) -> object:
        if name == "PIL":
            raise ModuleNotFoundError("No module named 'PIL'", name="PIL")
        return real(name, *rest, **more)

    return imported


# what is read


def rows(network: Network, name: str) -> list[list[float]]:
    return network.assembly().tables[name].rows


def test_columns_become_inputs_and_targets(tmp_path: Path) -> None:
    file(tmp_path, "data.csv", GOOD)
    made = net(tmp_path, CSV).assembly()
    assert made.tables["x"].rows == [[1, 2], [4, 5], [7, 8]] and made.tables["t"].rows == [[3], [6], [10]]
    assert made.tables["x"].names == ("a", "b")


@pytest.mark.parametrize(
    ("content", "data"),
    [
        ("\ufeffa,b,t\r\n1,2,3\r\n4,5,6\r\n7,8,10\r\n", CSV),
        ('"a", b ,t\n\n 1 ,"2",3\n4,5e0,6.0\n+7,08,10', CSV),
        ("a;b;t\n1,0;2;3\n4;5,00;6\n7;8;10\n", "csv: {file: data.csv, delimiter: ;, decimal: ','}\ntargets: [t]"),
        ("1,2,3\n4,5,6\n7,8,10\n", "csv: {file: data.csv, header: false}\ntargets: [c3]"),
        ("t,b,a\n3,2,1\n6,5,4\n10,8,7\n", "csv: data.csv\ninputs: [a, b]\ntargets: [t]"),
    ],
)
def test_other_ways_to_write_the_same_csv(tmp_path: Path, content: str, data: str) -> None:
    file(tmp_path, "data.csv", content)
    network = net(tmp_path, data)
    assert rows(network, "x") == [[1, 2], [4, 5], [7, 8]] and rows(network, "t") == [[3], [6], [10]]


def test_a_category_becomes_one_hot(tmp_path: Path) -> None:
    file(tmp_path, "data.csv", "size,colour\n1,red\n2,blue\n3,red\n")
    table = net(tmp_path, "csv: data.csv\ntargets: [colour]\ncategories: [colour]", 2).assembly().tables["t"]
    assert table.rows == [[0, 1], [1, 0], [0, 1]] and table.names == ("colour_blue", "colour_red")
    given = net(tmp_path, "csv: data.csv\ntargets: [colour]\ncategories: {colour: [red, blue]}", 2)
    assert rows(given, "t") == [[1, 0], [0, 1], [1, 0]]


def test_classes_that_are_numbers_are_sorted_by_size(tmp_path: Path) -> None:
    file(tmp_path, "data.csv", "a,t\n1,10\n2,9\n3,10\n")
    network = net(tmp_path, "csv: data.csv\ntargets: [t]\ncategories: [t]", 2)
    assert network.spec.source is not None and network.spec.source.classes == {"t": ("9", "10")}


def test_a_path_is_relative_to_the_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "below").mkdir()
    file(tmp_path / "below", "data.csv", GOOD)
    network = net(tmp_path, "csv: below/data.csv\ntargets: [t]")
    assert len(rows(network, "x")) == 3
    monkeypatch.chdir(tmp_path / "below")
    piped = load("-", text=NET.format(data="  csv: data.csv\n  targets: [t]", units=1))
    assert len(rows(piped, "x")) == 3


def test_several_inputs_are_columns_by_name(tmp_path: Path) -> None:
    file(tmp_path, "data.csv", GOOD)
    (tmp_path / "net.yaml").write_text(
        "data: {csv: data.csv, inputs: {p: [a], q: b}, targets: t}\n"
        "layers: [{type: dense, units: 1, input: [p, q], weights: 1, bias: 0}]\n"
    )
    tables = load(tmp_path / "net.yaml").assembly().tables
    assert tables["p"].rows == [[1], [4], [7]] and tables["q"].rows == [[2], [5], [8]]
    assert tables["t"].rows == [[3], [6], [10]] and tables["t"].shape == ()


def test_arrays_of_an_npz(tmp_path: Path) -> None:
    images = np.arange(24.0).reshape(2, 3, 4)
    file(tmp_path, "data.npz", saved(images=images, labels=np.array([0, 1], dtype=np.int8)))
    (tmp_path / "net.yaml").write_text(
        "data: {npz: data.npz, inputs: images, targets: labels, scale: {inputs: {divide: 24}}}\n"
        "layers: [{type: flatten}, {type: dense, units: 2, activation: softmax, weights: 0.1, bias: 0}]\n"
        "loss: cross_entropy\n"
    )
    tables = load(tmp_path / "net.yaml").assembly().tables
    assert tables["x"].shape == (3, 4)
    assert np.array_equal(np.array(tables["x"].rows), images.reshape(2, 12) / 24)
    assert tables["t"].rows == [[1, 0], [0, 1]]


def test_tiles_of_a_picture(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    image.fromarray(pixels).save(tmp_path / "data.png")
    found = rows(net(tmp_path, "png: {file: data.png, tile: 4}\ntargets: inputs", 16), "x")
    assert len(found) == 4
    assert np.array_equal(np.array(found[1]) * 255, pixels[:4, 4:].ravel())
    assert rows(net(tmp_path, "png: {file: data.png, tile: 4}\ntargets: inputs", 16), "t") == found


def test_a_colour_picture_has_its_channels_first(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    image.fromarray(pixels).save(tmp_path / "data.png")
    (tmp_path / "net.yaml").write_text(
        "data: {png: data.png}\nlayers: [{type: conv2d, channels: 1, kernel: 2, weights: 1, bias: 0}]\n"
    )
    table = load(tmp_path / "net.yaml").assembly().tables["x"]
    assert table.shape == (3, 4, 4)
    assert np.allclose(np.array(table.rows[0]).reshape(3, 4, 4), pixels.transpose(2, 0, 1) / 255, atol=0)


def test_a_data_file_is_not_written_over(tmp_path: Path) -> None:
    path = file(tmp_path, "data.csv", GOOD)
    trace = net(tmp_path, CSV).run()
    with pytest.raises(UsageError, match="that is a data file of the network"):
        trace.export(path)
    made = subprocess.run(
        [sys.executable, "-m", "bptrace", "run", "net.yaml", "-o", "data.csv"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 2 and "data.csv: that is a data file of the network" in made.stderr
    assert path.read_text() == GOOD


def test_a_copied_network_takes_its_data_along(tmp_path: Path) -> None:
    def copy() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bptrace", "examples", "image-compression", "--copy", "net.yaml"],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip

    made = copy()
    assert made.returncode == 0 and made.stderr == "wrote data/waves.png\nwrote net.yaml\n"
    pytest.importorskip("PIL")
    assert len(rows(load(tmp_path / "net.yaml"), "x")) == 256
    (tmp_path / "net.yaml").unlink()
    file(tmp_path / "data", "waves.png", b"mine")
    made = copy()
    assert made.returncode == 2 and "its data file data/waves.png exists already and is another one" in made.stderr
    assert (tmp_path / "data" / "waves.png").read_bytes() == b"mine" and not (tmp_path / "net.yaml").exists()
