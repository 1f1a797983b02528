"""``<dataset>.pkl`` in MMSA's layout: several features of one dataset side by side.

```
train | valid | test → id, raw_text                        N texts each
                       text, audio, vision                 (N, L, D) float32, zeros behind the end
                       text_lengths, audio_lengths, …      N integers, 0 where the sample has none
                       text_bert                           (N, 3, L), where that feature is chosen
                       regression_labels[_T, _A, _V]       (N,), NaN where there is none
                       annotations, classification_labels  from the sign of the label
                       exact_lengths                       True: a row of zeros can be a value
```

``text_lengths`` and ``exact_lengths`` are ours; MMSA passes over them. Its recurrent models do not
take a length of 0: how many samples lack a role is recorded and printed. Vectors become sequences
of one step, half floats float32. ``_export.json`` and the command name what is not filled.
This is the only place that writes a pickle; reading one needs NumPy 1.26 or later.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import UsageError
from ..api import Store
from ..feature import Features
from ..layout import write_json
from ..reader import OutputFolder
from ..references import name_of, resolve
from ..samples_view import SamplesView
from . import MARKER, check_target, folder_written_whole

FORMAT = "mmsa-pkl"
ROLES = ("text", "audio", "vision", "text_bert")
_SPLITS = {"train": "train", "valid": "val", "test": "test"}
_LABELS = {
    "sentiment": "regression_labels",
    "sentiment_text": "regression_labels_T",
    "sentiment_audio": "regression_labels_A",
    "sentiment_vision": "regression_labels_V",
}
_ANNOTATIONS = ("Negative", "Neutral", "Positive")


def choose_roles(store: Store, references: Sequence[str]) -> dict[str, OutputFolder]:
    """Return the feature that plays each role.

    Args:
        store: The store.
        references: ``role=FEATURE``, or features that are called like a role; with none, the
            features that are called like the roles.

    Raises:
        UsageError: A role is unknown or named twice, or nothing is found.
    """
    if not references:
        names = {info.name for info in store.features()}
        references = [role for role in ROLES if role in names]
    chosen: dict[str, OutputFolder] = {}
    for reference in references:
        role, equals, name = reference.partition("=")
        folder = resolve(store, name if equals else reference)
        role = role if equals else folder.name
        if role not in ROLES:
            hint = "for example text=bert audio=covarep vision=clip_image"
            raise UsageError(f"'{role}' is no role of {FORMAT}: {', '.join(ROLES)}", hint)
        if role in chosen:
            raise UsageError(f"two features for the role '{role}'", "name one")
        chosen[role] = folder
    if not chosen:
        raise UsageError("there is no feature called text, audio or vision", "role=FEATURE …")
    return chosen


def export_mmsa(
    store: Store, roles: Mapping[str, OutputFolder], out: Path, *, force: bool = False
) -> dict[str, Any]:
    """Write one pickle, or nothing.

    Args:
        store: Where the features are.
        roles: Feature by role, all of one dataset.
        out: Folder to make.
        force: Replace an earlier export.

    Returns:
        What `_export.json` says: features, samples per split, samples left out, samples that lack a
        role, what is not filled.

    Raises:
        UsageError: The features are of several datasets or cannot play their role, or the dataset
            has no sentiment.
        StoreError: ``out`` is in the way, or the disk is full.
    """
    datasets = sorted({folder.dataset for folder in roles.values()})
    if len(datasets) != 1:
        raise UsageError(f"features of several datasets: {', '.join(datasets)}", "export one")
    check_target(out, force)
    samples = store.samples_of(next(iter(roles.values())))
    labels = _labels(samples)
    data, counts, left_out = _splits(samples, labels)
    lacking = {
        role: _fill(data, role, _features(store, role, folder)) for role, folder in roles.items()
    }
    absent = [role for role in ROLES if role not in roles]
    absent += [field for task, field in _LABELS.items() if task not in labels]
    if not any(text for part in data.values() for text in part["raw_text"]):
        absent.append("raw_text (the samples have no text)")
    record = {
        "format": FORMAT,
        "dataset": datasets[0],
        "features": {role: name_of(folder) for role, folder in roles.items()},
        "samples": counts,
        "left_out": left_out,
        "lacking": {role: count for role, count in lacking.items() if count},
        "not_filled": absent,
    }
    with folder_written_whole(out) as temporary:
        with open(temporary / f"{datasets[0]}.pkl", "wb") as file:
            pickle.dump(data, file, protocol=4)
        write_json(temporary / MARKER, record)
    return record


def _labels(samples: SamplesView) -> dict[str, np.ndarray]:
    found = {task: samples.labels(task) for task in _LABELS if task in samples.tasks}
    if "sentiment" not in found or any(item.kind != "regression" for item in found.values()):
        tasks = ", ".join(samples.tasks) or "none"
        message = f"{FORMAT} needs a regression task 'sentiment'; '{samples.dataset}' has: {tasks}"
        raise UsageError(message, "use npy or lists")
    return {task: item.values for task, item in found.items()}


def _splits(
    samples: SamplesView, labels: Mapping[str, np.ndarray]
) -> tuple[dict[str, dict[str, Any]], dict[str, int], dict[str, int]]:
    """Return the layout without features, samples per split, and samples left out by status."""
    table = samples.table(["key", "split", "text", "status", "source"])
    keys, split_of, texts, status, source = (column.to_pylist() for column in table.columns)
    usable = np.array([s == "ok" for s in status]) & np.array([s is None for s in source])
    data: dict[str, dict[str, Any]] = {}
    for name, split in _SPLITS.items():
        rows = [i for i, found in enumerate(split_of) if found == split and usable[i]]
        part: dict[str, Any] = {
            "id": [keys[row] for row in rows],
            "raw_text": [texts[row] or "" for row in rows],
            "exact_lengths": True,
        }
        for task, values in labels.items():
            part[_LABELS[task]] = _narrowed(values[rows])
        signs = np.sign(labels["sentiment"][rows])
        known = ~np.isnan(signs)
        codes = np.where(known, signs, 0).astype(np.int64) + 1
        pairs = zip(codes, known, strict=True)
        part["annotations"] = [_ANNOTATIONS[code] if there else "" for code, there in pairs]
        part["classification_labels"] = np.where(known, codes, -1)
        data[name] = part
    left_out: dict[str, int] = {}
    for found, ok in zip(status, usable, strict=True):
        if not ok:
            left_out[found] = left_out.get(found, 0) + 1
    return data, {name: len(part["id"]) for name, part in data.items()}, left_out


def _narrowed(values: np.ndarray) -> np.ndarray:
    """Return labels as float32 where that loses nothing."""
    narrow = values.astype(np.float32)
    return narrow if np.array_equal(narrow, values, equal_nan=True) else values


def _features(store: Store, role: str, folder: OutputFolder) -> Features:
    feature = store.open_feature(folder)
    spec = feature.spec
    if feature.augmented:
        raise UsageError(f"'{name_of(folder)}' holds augmented samples", "export the samples' own")
    if len(spec.shape) > 2:
        shape = "×".join("n" if size is None else str(size) for size in spec.shape)
        raise UsageError(f"'{name_of(folder)}' is {shape} per sample and cannot play '{role}'")
    if role == "text_bert" and spec.shape != (None, 3):
        message = f"'{name_of(folder)}' cannot play 'text_bert'"
        raise UsageError(message, "steps of token id, mask and segment, as `import` writes them")
    return feature.read()


def _fill(data: dict[str, dict[str, Any]], role: str, found: Features) -> int:
    """Put a feature into every split; return how many samples lack it: zeros and length 0."""
    place = {key: row for row, key in enumerate(found.keys)}
    sequences = [value if value.ndim == 2 else value[None] for value in found.values]
    longest = max((len(value) for value in sequences), default=1)
    width = int(found.spec.shape[-1] or 0)
    dtype = "int64" if role == "text_bert" else "float32"
    lacking = 0
    for part in data.values():
        lengths = np.zeros(len(part["id"]), np.int64)
        values = np.zeros((len(part["id"]), longest, width), dtype)
        for row, key in enumerate(part["id"]):
            if key in place:
                value = sequences[place[key]]
                lengths[row] = len(value)
                values[row, : len(value)] = value
        if role == "text_bert":
            part[role] = values.transpose(0, 2, 1)
        else:
            part[role] = values
            part[f"{role}_lengths"] = lengths.tolist()
        lacking += int((lengths == 0).sum())
    return lacking
