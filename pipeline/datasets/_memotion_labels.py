"""Labels of the Memotion family: vocabularies in order of strength and the tasks made from them.

- ``sentiment`` (task A): ``overall_sentiment`` merged to negative, neutral, positive;
- ``humour``, ``sarcasm``, ``offensive``, ``motivational`` (task B): not the ``not_*`` class;
- ``humour_scale``, ``sarcasm_scale``, … (task C): the class of the emotion;
- ``sentiment_strength``: the five classes of ``overall_sentiment``.

The vocabularies come from the manifest, so their order there is the code order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice

from ..errors import DatasetError
from ..manifest import Manifest
from ..records import LabelValue, SourceRow

EMOTIONS = ("humour", "sarcasm", "offensive", "motivational")
SENTIMENT = "overall_sentiment"
COLUMNS = (*EMOTIONS, SENTIMENT)
_SAMPLE_ROWS = 50
_LEAST_ROWS = 3
Vocabularies = Mapping[str, tuple[str, ...]]

_SUBMISSION = re.compile(r"([+-]?\d+)_(\d{1,4})_(\d{1,4})")
_TEST_SENTIMENT = {"-1": 0, "0": 1, "1": 2, "+1": 2}


class BadLabel(ValueError):
    """A label that is in no vocabulary; the message names the value and the vocabulary."""


def vocabularies(manifest: Manifest) -> Vocabularies:
    """Return the vocabulary of each label column.

    Raises:
        DatasetError: The manifest lacks one.
    """
    missing = [column for column in COLUMNS if not manifest.vocabularies.get(column)]
    if missing:
        raise DatasetError(
            f"manifest '{manifest.name}' has no vocabularies for {', '.join(missing)}",
            "list the class names in code order under 'vocabularies'",
        )
    return {column: tuple(manifest.vocabularies[column]) for column in COLUMNS}


def derive(raw: Mapping[str, str], vocabulary: Vocabularies) -> dict[str, LabelValue]:
    """Return the labels of all tasks from the label cells of one row.

    Args:
        raw: Column to cell; a blank or absent cell makes its tasks None.
        vocabulary: Column to class names in code order.

    Raises:
        BadLabel: A cell holds something else.
    """
    labels: dict[str, LabelValue] = {}
    for emotion in EMOTIONS:
        code = _code(emotion, raw.get(emotion, ""), vocabulary)
        labels[emotion] = None if code is None else int(code > 0)
        labels[f"{emotion}_scale"] = code
    code = _code(SENTIMENT, raw.get(SENTIMENT, ""), vocabulary)
    labels["sentiment_strength"] = code
    labels["sentiment"] = None if code is None else _merged(code, vocabulary[SENTIMENT])
    return labels


def label(row: SourceRow, raw: Mapping[str, str], vocabulary: Vocabularies) -> SourceRow:
    """Return the row with its labels, or as a bad row where one is in no vocabulary."""
    try:
        return replace(row, labels=derive(raw, vocabulary), labels_raw=dict(raw))
    except BadLabel as error:
        return replace(row, labels_raw=dict(raw), status="bad_row", reason=str(error))


def refuse_foreign(rows: Iterator[SourceRow], file_name: str) -> Iterator[SourceRow]:
    """Yield the rows of one file, unless the file is of another kind.

    Raises:
        DatasetError: All of the first fifty rows, and at least three, are bad: for example every
            label is a number.
    """
    sample = list(islice(rows, _SAMPLE_ROWS))
    if len(sample) >= _LEAST_ROWS and all(row.status == "bad_row" for row in sample):
        raise DatasetError(
            f"{file_name}: none of the first {len(sample)} rows can be used; "
            f"{sample[0].origin}: {sample[0].reason}",
            "the file is of another kind than its name says; obtain the original one",
        )
    yield from chain(sample, rows)


def parse_submission(text: str) -> tuple[dict[str, LabelValue], tuple[str, ...], list[str]]:
    """Read a label string ``S_BBBB_CCCC`` of the test release.

    The four digits of a group are humour, sarcasm, offensive, motivational. Zeros in front that a
    spreadsheet took away are restored.

    Returns:
        Labels, flags (``labels_padded``, ``binary_scale_conflict``), and the emotions whose binary
        label disagrees with their scale.

    Raises:
        BadLabel: The string has another form or a digit is out of range.
    """
    match = _SUBMISSION.fullmatch(text.strip())
    if match is None:
        raise BadLabel(f"label string '{text}', expected S_BBBB_CCCC such as -1_0110_0210")
    sentiment, binary, scale = match.groups()
    if sentiment not in _TEST_SENTIMENT:
        raise BadLabel(f"sentiment '{sentiment}' in '{text}', expected -1, 0 or 1")
    flags = ["labels_padded"] if len(binary) < 4 or len(scale) < 4 else []
    labels: dict[str, LabelValue] = {"sentiment": _TEST_SENTIMENT[sentiment]}
    labels["sentiment_strength"] = None
    conflicts = []
    for emotion, has, strength in zip(EMOTIONS, binary.zfill(4), scale.zfill(4), strict=True):
        largest = 1 if emotion == "motivational" else 3
        if int(has) > 1 or int(strength) > largest:
            raise BadLabel(f"digits of {emotion} in '{text}', expected 0-1 and 0-{largest}")
        labels[emotion], labels[f"{emotion}_scale"] = int(has), int(strength)
        if int(has) != (int(strength) > 0):
            conflicts.append(emotion)
    if conflicts:
        flags.append("binary_scale_conflict")
    return labels, tuple(flags), conflicts


def _code(column: str, cell: str, vocabulary: Vocabularies) -> int | None:
    name = _normalised(cell)
    if not name:
        return None
    if name not in vocabulary[column]:
        known = ", ".join(vocabulary[column])
        raise BadLabel(f"{column} is '{cell[:80]}', expected one of: {known}")
    return vocabulary[column].index(name)


def _normalised(cell: str) -> str:
    return "_".join(cell.strip().lower().replace("-", " ").split())


def _merged(code: int, names: tuple[str, ...]) -> int:
    neutral = names.index("neutral")
    return 0 if code < neutral else 1 if code == neutral else 2
