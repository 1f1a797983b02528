"""What every reader does to a row: unique keys, readable text, class codes, reasons."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import RowError
from ..records import SourceRow

_LONE_SURROGATES = range(0xD800, 0xE000)


@dataclass(slots=True)
class Keys:
    """Gives each row a key of its own and marks the rows that repeat one.

    The first row keeps its key; the next one with the same key becomes ``<key>#2`` with the status
    ``duplicate_row``.
    """

    _origins: dict[str, str] = field(default_factory=dict)
    _times: dict[str, int] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)

    def admit(self, row: SourceRow) -> SourceRow:
        """Return the row with a key that no row before it has."""
        wanted = row.key
        times = self._times.get(wanted, 0) + 1
        key = wanted if times == 1 else f"{wanted}#{times}"
        while key in self._used:
            times += 1
            key = f"{wanted}#{times}"
        self._times[wanted] = times
        self._used.add(key)
        if wanted not in self._origins:
            self._origins[wanted] = row.origin
            return row if key == wanted else replace(row, key=key)
        reason = (
            f"the key '{wanted}' is already that of {self._origins[wanted] or 'an earlier row'}"
        )
        reason = f"{reason}; {row.reason}" if row.reason else reason
        return replace(row, key=key, status="duplicate_row", reason=reason)


def bad_row(origin: str, reason: str, key: str = "") -> SourceRow:
    """Return the row that stands for one that could not be used.

    Args:
        origin: ``<file>:<line>``, also the key where the row has none.
        reason: What was got and what was expected.
        key: The row's own key, where it could be read.
    """
    return SourceRow(key=key or origin, status="bad_row", reason=reason, origin=origin)


def guarded(origin: str, key: str, make: Callable[[], SourceRow]) -> SourceRow:
    """Return ``make()``; a `RowError` inside becomes a bad row that keeps its key and reason."""
    try:
        return make()
    except RowError as error:
        return bad_row(origin, error.message, key)


def wrong(message: str) -> RowError:
    """Return the error that makes a row a bad one."""
    return RowError("bad_row", message)


def text_of(value: Any) -> tuple[str, tuple[str, ...]]:
    """Return a caption and its flags: null, NaN and blanks are no text; the text stays raw.

    Flags are ``no_text``, and ``bad_unicode`` where half of a surrogate pair was replaced.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "", ("no_text",)
    text = value if isinstance(value, str) else str(value)
    repaired = "".join("\ufffd" if ord(char) in _LONE_SURROGATES else char for char in text)
    flags = () if repaired == text else ("bad_unicode",)
    return (repaired, flags) if repaired.strip() else ("", (*flags, "no_text"))


def plain(name: str) -> str:
    """Return a name in the form in which names are compared: NFKC, lower case, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def class_code(value: str, classes: Sequence[str], what: str) -> int:
    """Return the position of a class name among ``classes``.

    Raises:
        RowError: ``bad_row``, naming the value and the vocabulary.
    """
    names = [plain(name) for name in classes]
    try:
        return names.index(plain(value))
    except ValueError:
        raise wrong(f"{what}: got '{value}', expected one of {', '.join(classes)}") from None


def whole_number(value: Any, what: str) -> int:
    """Return ``value`` as an integer; text and integral floats are read, truth values are not.

    Raises:
        RowError: ``bad_row``.
    """
    if isinstance(value, bool) or value is None:
        raise wrong(f"{what}: got {value!r}, expected a whole number")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise wrong(f"{what}: got {value!r}, expected a whole number") from None
    if not math.isfinite(number) or number != int(number):
        raise wrong(f"{what}: got {value!r}, expected a whole number")
    return int(number)


def find_base(root: Path, subfolders: Iterable[str], files: Iterable[str]) -> Path:
    """Return the first of root and its conventional sub-folders that holds any of ``files``.

    Returns root itself when none does, so that what is missing is named relative to root.
    """
    wanted = tuple(files)
    for folder in ("", *subfolders):
        base = root / folder
        if any((base / name).is_file() for name in wanted):
            return base
    return root


def below(root: Path, path: Path) -> str:
    """Return ``path`` relative to ``root`` with forward slashes, empty for root itself."""
    relative = path.relative_to(root).as_posix()
    return "" if relative == "." else relative


def media_path(folder: str, name: str) -> str:
    """Return the path of a media file below root from its folder below root and its name."""
    clean = name.strip().replace("\\", "/")
    return f"{folder}/{clean}" if folder else clean
