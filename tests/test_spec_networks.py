"""Every bundled network loads, and the schema that editors use accepts it."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from bptrace.spec.load import load
from bptrace.spec.schema import schema
from bptrace.spec.yaml_text import read

NETWORKS = sorted((Path(__file__).parent.parent / "networks").glob("*.yaml"))


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema())


@pytest.mark.parametrize("file", NETWORKS, ids=lambda file: file.stem)
def test_it_loads_and_fits_the_schema(file: Path, validator: jsonschema.Draft202012Validator) -> None:
    load(file)
    assert [error.message for error in validator.iter_errors(read(file.read_text("utf-8"), "n").value)] == []
