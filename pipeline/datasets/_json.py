"""JSON arrays and JSON lines, read so that one broken line costs one row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import DatasetError


def read_json(path: Path, pairs: bool = False) -> Any:
    """Return the content of a JSON file (UTF-8, with or without BOM).

    Args:
        path: The file.
        pairs: Return each object as a list of (name, value), so that repeated names are seen.

    Raises:
        DatasetError: The file is not JSON.
    """
    hook = list if pairs else None
    try:
        text = path.read_bytes().decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=hook)
    except OSError as error:
        raise DatasetError(f"{path.name}: {error.strerror or error}") from None
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path.name}: expected JSON in UTF-8: {error}") from None


def read_json_array(path: Path) -> list[Any]:
    """Return the entries of a file that holds one JSON array.

    Raises:
        DatasetError: The file is not JSON, or not an array.
    """
    value = read_json(path)
    if not isinstance(value, list):
        raise DatasetError(f"{path.name}: expected a JSON array, got {type(value).__name__}")
    return value


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield (line number from 1, object) for every line that is not blank.

    In place of the object stands the reason, a string, where a line is not a JSON object.

    Raises:
        DatasetError: The file has lines but none of the first hundred is a JSON object, or it is
            empty; so a CSV file or a JSON array under this name is refused as a whole.
    """
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise DatasetError(f"{path.name}: {error.strerror or error}") from None
    filled = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not filled:
        raise DatasetError(f"{path.name}: the file is empty", "expected one JSON object per line")
    if all(isinstance(_object(line), str) for _, line in filled[:100]):
        raise DatasetError(
            f"{path.name}: no line is a JSON object", "expected one JSON object per line"
        )
    for number, line in filled:
        yield number, _object(line)


def _object(line: bytes) -> dict[str, Any] | str:
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return f"the line is not UTF-8: {error.reason} at byte {error.start}"
    except (ValueError, RecursionError) as error:
        return f"the line is not JSON: {error}"
    if not isinstance(value, dict):
        return f"expected a JSON object, got {type(value).__name__}"
    return value
