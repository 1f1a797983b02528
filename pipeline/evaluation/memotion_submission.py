"""Label strings of the Memotion competitions, ``S_BBBB_CCCC``, one per line.

``S`` is the sentiment: -1, 0, 1 in version 1; 0 negative, 1 neutral, 2 positive in versions 2 and 3
(version 3 is assumed to be as version 2: no source says so). The digits of a group are humour,
sarcasm, offensive, motivational: ``B`` whether the emotion is there, ``C`` how strongly, 0 to 3,
and for motivation 0 to 1. ``B`` is 1 exactly where ``C`` is not 0.

Reading is strict: a line of another form, or whose groups disagree, is refused, blanks included.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from ..errors import ConfigError, DatasetError, InvalidInput
from ..store.layout import written_whole
from ..training.metrics.memotion import EMOTIONS

_FORM = re.compile(r"(-1|0|1|2)_([01]{4})_([0-3]{3}[01])")
_LOWEST = {1: -1, 2: 0, 3: 0}
_SENTIMENTS = 3
_MOST = {"humour": 3, "sarcasm": 3, "offensive": 3, "motivational": 1}


def decode(line: str, version: int) -> dict[str, int]:
    """Return the labels of one string.

    Args:
        line: Without line ending.
        version: 1, 2 or 3.

    Returns:
        Codes of ``sentiment`` (0 negative, 1 neutral, 2 positive), ``humour``, …, and
        ``humour_scale``, …

    Raises:
        DatasetError: The string has another form, or its two groups disagree.
        ConfigError: There is no such version.
    """
    match = _FORM.fullmatch(line)
    sentiment = -1 if match is None else int(match[1]) - _lowest(version)
    if match is None or not 0 <= sentiment < _SENTIMENTS:
        raise DatasetError(
            f"label string '{line[:40]}', expected S_BBBB_CCCC with S in {_sentiments(version)}",
            "digits: humour, sarcasm, offensive (0-3), motivational (0-1); for example 1_1110_2120",
        )
    labels = {"sentiment": sentiment}
    for emotion, there, strength in zip(EMOTIONS, match[2], match[3], strict=True):
        labels[emotion], labels[f"{emotion}_scale"] = int(there), int(strength)
    _agree(labels, f"label string '{line}'")
    return labels


def encode(labels: Mapping[str, int], version: int) -> str:
    """Return the string of one sample.

    Args:
        labels: Codes as `decode` returns them. Without ``<emotion>`` it follows from
            ``<emotion>_scale``, and ``motivational_scale`` from ``motivational``.
        version: 1, 2 or 3.

    Raises:
        InvalidInput: A label is absent or out of range, or binary and scale disagree; `reconciled`
            settles the latter.
        ConfigError: There is no such version.
    """
    lowest = _lowest(version)
    full = _completed(labels)
    _agree(full, "labels")
    binary = "".join(str(full[emotion]) for emotion in EMOTIONS)
    scale = "".join(str(full[f"{emotion}_scale"]) for emotion in EMOTIONS)
    return f"{full['sentiment'] + lowest}_{binary}_{scale}"


def check_tasks(tasks: Collection[str]) -> None:
    """Refuse a model that does not predict what `encode` needs, before it predicts.

    Raises:
        ConfigError: Naming the tasks.
    """
    wanted = ["sentiment", *(f"{emotion}_scale" for emotion in EMOTIONS)]
    # Motivation has the same two classes in both groups.
    if "motivational" in tasks:
        wanted.remove("motivational_scale")
    if absent := [name for name in wanted if name not in tasks]:
        raise ConfigError(
            f"a label string needs {', '.join(absent)}, which this model does not predict",
            "train with --set data.tasks=[sentiment,humour_scale,sarcasm_scale,offensive_scale,…]",
        )


def reconciled(labels: Mapping[str, int]) -> dict[str, int]:
    """Return labels whose binary codes follow from the scales, for heads that decide apart."""
    scales = {name: labels[f"{name}_scale"] for name in EMOTIONS if f"{name}_scale" in labels}
    return {**labels, **{name: int(code > 0) for name, code in scales.items()}}


def from_integers(sentiment: int, binary: int, scale: int, version: int = 1) -> str:
    """Return the string of a row whose groups were read as integers, so that 11 means 0011.

    Raises:
        DatasetError: The result is no label string.
    """
    line = f"{sentiment}_{binary:04d}_{scale:04d}"
    decode(line, version)
    return line


def read_submission(path: Path, version: int) -> list[dict[str, int]]:
    """Return the labels of every line of a submission.

    Raises:
        DatasetError: A line is no label string; the line number is named. Or the file is not there.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"submission {path}: {error}", "expected a text file") from error
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(decode(line, version))
        except DatasetError as error:
            raise DatasetError(f"{path.name}, line {number}: {error.message}", error.hint) from None
    return rows


def write_submission(path: Path, rows: Iterable[Mapping[str, int]], version: int) -> int:
    """Write one line per row, in order; the file is written whole or not at all.

    Returns:
        The number of lines.

    Raises:
        InvalidInput: See `encode`; the row is named.
    """
    lines = []
    for number, row in enumerate(rows):
        try:
            lines.append(encode(row, version))
        except InvalidInput as error:
            raise InvalidInput(f"row {number}: {error.message}", error.hint) from None
    with written_whole(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(lines)


def rows_of(predictions: Mapping[str, Sequence[int]]) -> list[dict[str, int]]:
    """Return one mapping per sample from one sequence of codes per task."""
    names = list(predictions)
    columns = (predictions[name] for name in names)
    return [
        {name: int(code) for name, code in zip(names, codes, strict=True)}
        for codes in zip(*columns, strict=True)
    ]


def _completed(labels: Mapping[str, int]) -> dict[str, int]:
    full = {name: int(code) for name, code in labels.items()}
    if "motivational" in full:
        full.setdefault("motivational_scale", full["motivational"])
    full = {**reconciled(full), **full}
    most = {"sentiment": _SENTIMENTS - 1}
    for emotion in EMOTIONS:
        most |= {emotion: 1, f"{emotion}_scale": _MOST[emotion]}
    for name, largest in most.items():
        if name not in full:
            raise InvalidInput(
                f"no label for '{name}'", "a submission needs sentiment and the four scales"
            )
        if not 0 <= full[name] <= largest:
            raise InvalidInput(f"'{name}' is {full[name]}, expected 0 to {largest}")
    return full


def _agree(labels: Mapping[str, int], what: str) -> None:
    for emotion in EMOTIONS:
        if labels[emotion] != (labels[f"{emotion}_scale"] > 0):
            raise DatasetError(
                f"{what}: {emotion} is {labels[emotion]} but its scale is "
                f"{labels[f'{emotion}_scale']}",
                "the binary digit is 1 exactly where the scale is not 0",
            )


def _lowest(version: int) -> int:
    if version not in _LOWEST:
        raise ConfigError(f"Memotion version {version}, expected 1, 2 or 3")
    return _LOWEST[version]


def _sentiments(version: int) -> str:
    lowest = _lowest(version)
    return ", ".join(str(lowest + code) for code in range(_SENTIMENTS))
