"""The wheel: what is in it, and that it works where there is no checkout.

With BPTRACE_DIST the wheel and the source archive are taken from that folder, else the wheel is built here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT, cleared

DIST = os.environ.get("BPTRACE_DIST")
OUTSIDE = cleared({k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")})


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(a) for a in arguments], cwd=cwd, env=OUTSIDE, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if DIST:
        return next(Path(DIST).glob("*.whl"))
    if find_spec("hatchling") is None:
        pytest.skip("hatchling, which builds the wheel, is not installed here; .ci/run builds it")
    target = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target, cwd=ROOT)
    return next(target.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of a new environment that has the wheel, and beside it only what this one has."""
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    site = next(folder.glob("lib/python*/site-packages"))
    run(folder / "bin" / "pip", "install", "-q", "--no-deps", "--no-index", wheel, cwd=folder)
    numpy = find_spec("numpy")
    assert numpy and numpy.origin
    (site / "dependencies.pth").write_text(f"{Path(numpy.origin).parent.parent}\n", encoding="utf-8")
    return folder / "bin"


def test_the_wheel_has_the_package_and_the_networks(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    networks = {f"bptrace/_networks/{path.name}" for path in (ROOT / "networks").glob("*.yaml")}
    networks |= {f"bptrace/_networks/data/{path.name}" for path in (ROOT / "networks" / "data").iterdir()}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "bptrace").rglob("*.py")}
    assert networks | modules | {"bptrace/py.typed"} <= set(names)
    assert all(name.startswith(("bptrace/", "bptrace-")) for name in names)
    assert "py3-none-any" in wheel.name
    assert not any("__pycache__" in name for name in names)


def test_the_installed_wheel_works_outside_of_the_checkout(installed: Path, tmp_path: Path) -> None:
    where = run(installed / "python", "-c", "import bptrace; print(bptrace.__file__)", cwd=tmp_path).stdout
    assert str(ROOT) not in where
    page = run(installed / "bptrace", "run", "mazur", cwd=tmp_path)
    assert "0.291027774" in page.stdout
    assert page.stderr == ""
    assert page.stdout == run(installed / "bptrace", "run", "networks/mazur.yaml", cwd=tmp_path).stdout
    assert page.stdout == run(installed / "python", "-m", "bptrace", "run", "mazur", cwd=tmp_path).stdout
    assert len(run(installed / "bptrace", "examples", cwd=tmp_path).stdout.splitlines()) == len(
        list((ROOT / "networks").glob("*.yaml"))
    )


def test_what_the_wheel_says_of_itself(wheel: Path) -> None:
    import bptrace

    archive = zipfile.ZipFile(wheel)
    name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = archive.read(name).decode()
    assert f"\nVersion: {bptrace.__version__}\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata
    required = [line.partition(": ")[2] for line in metadata.splitlines() if line.startswith("Requires-Dist: ")]
    core = [line for line in required if "extra ==" not in line]
    assert sorted(line.partition(">")[0] for line in core) == ["numpy", "pydantic", "pyyaml", "rich", "typer"]
    assert not any("<" in line for line in core)  # a library sets no upper bounds
    assert (ROOT / "README.md").read_text(encoding="utf-8").strip() in metadata


@pytest.mark.skipif(not DIST, reason="the source archive is built by .ci/run")
def test_the_source_archive_can_be_tested() -> None:
    with tarfile.open(next(Path(DIST or "").glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml"} <= names
    assert {"networks/mazur.yaml", "tests/conftest.py"} <= names
