"""Whatever a field holds: a file is imported, or refused with one of our errors."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.foreign_files import mmsa, mult, write

from affectflow.pipeline.errors import AffectflowError
from affectflow.pipeline.foreign._parsed import Options, Parsed
from affectflow.pipeline.loading import load_module

BROKEN: dict[str, Any] = {
    "none": None,
    "text": "abc",
    "number": 3,
    "empty_list": [],
    "empty_array": np.zeros((0, 4, 2), np.float32),
    "scalar_array": np.array(3.0),
    "one_axis": np.ones(5, np.float32),
    "four_axes": np.ones((5, 2, 2, 2), np.float32),
    "zero_width": np.ones((5, 4, 0), np.float32),
    "complex": np.ones((5, 4, 2), complex),
    "strings": np.array(["a", "b", "c", "d", "e"]),
    "objects": np.array([None] * 5, object),
    "mixed": [np.ones((2, 3)), np.ones((2, 4)), None, 1, "x"],
    "ragged_widths": [np.ones((2, n)) for n in (1, 2, 3, 4, 5)],
    "empty_rows": [np.zeros((0, 5), np.float32)] * 5,
    "nested_lists": [[[1.0, 2.0]], [[1.0]], [], [[3.0, 4.0]], [[0.0, 0.0]]],
    "all_nan": np.full((5, 4, 5), np.nan, np.float32),
    "all_zero": np.zeros((5, 4, 5), np.float32),
    "bools": np.ones((5, 4, 5), bool),
    "huge": np.full((5, 1), 1e300),
    "dict": {"a": 1},
    "bytes": [b"1", b"2", b"3", b"4", b"5"],
}
FORMS = {"mmsa": mmsa()[0], "mult": mult()[0], "multibench": mult(side="front")[0]}
CASES = [
    (form, field, name)
    for form, data in FORMS.items()
    for field in data["train"]
    for name in BROKEN
]


def read(path: Path, form: str) -> Parsed:
    """Read a file and look at every value."""
    parsed: Parsed = load_module("foreign", form).read([path], Options("d"))
    for feature in parsed.features:
        for index in range(len(parsed.rows)):
            value = feature.value(index)
            if isinstance(value, np.ndarray):
                assert np.isfinite(value).all()
                assert value.dtype == feature.spec.dtype
    return parsed


@pytest.mark.parametrize(("form", "field", "name"), CASES, ids=str)
def test_broken_fields(tmp_path: Path, form: str, field: str, name: str) -> None:
    data = copy.deepcopy(FORMS[form])
    data["train"][field] = BROKEN[name]
    path = write(tmp_path / "x.pkl", data)
    try:
        parsed = read(path, form)
    except AffectflowError as error:
        message = str(error)
    else:
        assert len(parsed.rows) == 10
        assert len({row.key for row in parsed.rows}) == 10
        message = path.name
    # An error says which file, or which labels, it is about.
    assert path.name in message or "label" in message
