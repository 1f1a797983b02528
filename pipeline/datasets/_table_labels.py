"""Cells of a user's own table turned into labels, by the kind of each task."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from ..errors import DatasetError
from ..manifest import Manifest, Task
from ..records import LabelValue
from ._marks import wrong


class LabelReader:
    """Reads the labels of one task.

    Args:
        name: The task.
        task: Its kind, classes and range.
        mapping: Original string to class name; empty when the cells hold names or codes.

    Raises:
        DatasetError: The task needs classes and has none, or the mapping names unknown ones.
    """

    def __init__(self, name: str, task: Task, mapping: Mapping[str, str]) -> None:
        self._name = name
        self._task = task
        self._codes = {label: code for code, label in enumerate(task.classes)}
        if task.kind != "regression" and not task.classes:
            raise DatasetError(
                f"task '{name}' has no classes", "list them in code order in tasks.<name>.classes"
            )
        unknown = sorted({label for label in mapping.values() if label not in self._codes})
        if unknown:
            raise DatasetError(
                f"label_map.{name} leads to {', '.join(unknown)}, "
                f"but the classes are {', '.join(task.classes)}",
                "correct label_map or the classes of the task",
            )
        self._mapping = {original: self._codes[label] for original, label in mapping.items()}
        # With a mapping, numbers are originals like any other and not codes.
        self._accepts_codes = not mapping

    def read(self, value: Any) -> LabelValue:
        """Return the label of one cell; a missing one is None.

        Raises:
            RowError: ``bad_row``, naming the value and what was expected.
        """
        if is_missing(value):
            return None
        match self._task.kind:
            case "single":
                return self._code(value)
            case "multi":
                return sorted({self._code(one) for one in self._list(value)})
            case "soft":
                return self._shares(value)
            case _:
                return self._number(value)

    def _code(self, value: Any) -> int:
        for spelling in _spellings(value):
            code = self._mapping.get(spelling, self._codes.get(spelling))
            if code is not None:
                return code
        code = _whole(value) if self._accepts_codes else None
        if code is not None and 0 <= code < len(self._codes):
            return code
        known = ", ".join([*self._mapping, *self._codes])
        codes = f" or a code from 0 to {len(self._codes) - 1}" if self._accepts_codes else ""
        raise wrong(f"{self._name}: got {_shown(value)}, expected one of {known}{codes}")

    def _list(self, value: Any) -> list[Any]:
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                value = [value] if value.strip() in self._codes else value
        if not isinstance(value, list):
            raise wrong(f"{self._name}: got {_shown(value)}, expected a JSON list of classes")
        return value

    def _number(self, value: Any) -> float:
        number = finite_number(value)
        if number is None:
            raise wrong(f"{self._name}: got {_shown(value)}, expected a finite number")
        span = self._task.range
        if span is not None and not span[0] <= number <= span[1]:
            raise wrong(f"{self._name}: got {_shown(value)}, expected {span[0]} to {span[1]}")
        return number

    def _shares(self, value: Any) -> list[float]:
        numbers = [finite_number(one) for one in self._list(value)]
        if len(numbers) != len(self._codes) or any(one is None or one < 0 for one in numbers):
            raise wrong(
                f"{self._name}: got {_shown(value)}, "
                f"expected {len(self._codes)} numbers that are not negative"
            )
        return [one for one in numbers if one is not None]


def label_readers(manifest: Manifest, columns: Mapping[str, str]) -> dict[str, LabelReader]:
    """Return a reader per mapped task.

    Raises:
        DatasetError: A mapped task is not among the tasks of the manifest.
    """
    label_map = manifest.table.label_map if manifest.table else {}
    for name in (*columns, *label_map):
        if name not in manifest.tasks:
            raise DatasetError(
                f"table names the task '{name}', but the tasks are "
                f"{', '.join(manifest.tasks) or '(none)'}",
                "declare it under 'tasks' in the manifest",
            )
    return {
        name: LabelReader(name, manifest.tasks[name], label_map.get(name, {})) for name in columns
    }


def is_missing(value: Any) -> bool:
    """Return whether a cell says nothing: blank, null or NaN."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def _spellings(value: Any) -> tuple[str, ...]:
    """Return the strings that may stand for a value in a label map: 1.0 is also 1."""
    if isinstance(value, bool):
        return (str(value), str(value).lower(), str(int(value)))
    text = str(value).strip()
    whole = _whole(value)
    return (text,) if whole is None else (text, str(whole))


def _whole(value: Any) -> int | None:
    number = finite_number(value)
    return int(number) if number is not None and number.is_integer() else None


def finite_number(value: Any) -> float | None:
    """Return a cell as a finite number, None when it is none."""
    if isinstance(value, str) and "_" in value:
        # Python would read 1_0 as ten.
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _shown(value: Any) -> str:
    return repr(value)[:80]
