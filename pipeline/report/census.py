"""One pass over samples and statuses: who is there, and what each output covers.

Samples are put into groups, each a (dimension, value) pair such as ``("split", "train")`` or
``("task:sentiment", "negative")``. One shard is in memory at a time, and of outputs only the
columns ``key`` and ``status``.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..engine.graph import SAMPLES
from ..engine.plan import Plan, PlannedNode
from ..errors import StoreError
from ..records import source_key
from ..store.reader import OutputFolder
from ..store.samples import LABEL_PREFIX, SamplesTable

Group: TypeAlias = tuple[str, str]
STATUSES = ("ok", "absent", "failed")
UNLABELLED = "(no label)"
_COLUMNS = ("key", "split", "split_origin", "text", "image", "image_width", "audio", "audio_sha256")


@dataclass
class Census:
    """Counts over one samples table and what was made from it.

    Attributes:
        sizes: Samples per group.
        by_split: Samples per group and split.
        origins: Samples per split and where the split comes from.
        readable: Samples per modality whose text is not empty or whose file could be read.
        coverage: Output to group to rows ``[ok, absent, failed]``.
        children: Outputs whose rows are children of samples.
        absent: Rows that are absent, by output and reason.
        numbers: Values of each regression task.
    """

    sizes: Counter[Group] = field(default_factory=Counter)
    by_split: Counter[tuple[Group, str]] = field(default_factory=Counter)
    origins: Counter[tuple[str, str]] = field(default_factory=Counter)
    readable: Counter[str] = field(default_factory=Counter)
    coverage: dict[str, dict[Group, np.ndarray]] = field(default_factory=dict)
    children: set[str] = field(default_factory=set)
    absent: Counter[tuple[str, str]] = field(default_factory=Counter)
    numbers: dict[str, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))

    def values(self, dimension: str) -> list[str]:
        """Return the values of a dimension in the order they were met."""
        return [value for name, value in self.sizes if name == dimension]

    def splits(self) -> list[str]:
        """Return the splits, the usual ones first."""
        order = {"train": 0, "val": 1, "test": 2}
        return sorted(self.values("split"), key=lambda name: (order.get(name, 3), name))


def take_census(plan: Plan) -> Census:
    """Count the samples of a plan and the committed rows of its nodes.

    Raises:
        StoreError: An output has a row whose key is not among the samples.
    """
    census = Census()
    outputs = [
        (planned, spec.name, OutputFolder(folder.path, folder.room))
        for planned in plan.nodes.values()
        for (spec, _), folder in zip(planned.outputs, planned.folders, strict=True)
    ]
    for planned, name, _ in outputs:
        label = output_label(planned, name)
        census.coverage[label] = defaultdict(lambda: np.zeros(3, np.int64))
        if planned.node.rows != SAMPLES:
            census.children.add(label)
    tasks = plan.samples.info["manifest"]["tasks"]
    for shard in range(len(plan.samples.shards)):
        _count_shard(census, plan.samples, shard, tasks, outputs)
    return census


def output_label(planned: PlannedNode, output: str) -> str:
    """Return a name for an output that is unique in the graph."""
    node = planned.name
    if output == node or output.startswith(f"{node}."):
        return output
    return node if output == planned.node.stage else f"{node}: {output}"


def _count_shard(
    census: Census,
    samples: SamplesTable,
    shard: int,
    tasks: Mapping[str, Any],
    outputs: list[tuple[PlannedNode, str, OutputFolder]],
) -> None:
    table = samples.table(shard, [*_COLUMNS, *(LABEL_PREFIX + name for name in tasks)])
    groups = list(_groups(table, tasks))
    splits = np.asarray([value or "(none)" for value in table["split"].to_pylist()], object)
    for group, mask in groups:
        census.sizes[group] += int(mask.sum())
        for split, number in Counter(splits[mask].tolist()).items():
            census.by_split[group, split] += number
    origins = table["split_origin"].to_pylist()
    census.origins.update(zip(splits.tolist(), (o or "unknown" for o in origins), strict=True))
    _count_readable(census, table)
    for name, task in tasks.items():
        if task["kind"] == "regression":
            values = table[LABEL_PREFIX + name].drop_null().to_numpy()
            census.numbers[name].append(values)
    positions = {key: index for index, key in enumerate(table["key"].to_pylist())}
    for planned, name, folder in outputs:
        if shard in folder.commits:
            _count_output(census, output_label(planned, name), folder, shard, positions, groups)


def _count_output(
    census: Census,
    label: str,
    folder: OutputFolder,
    shard: int,
    positions: Mapping[str, int],
    groups: list[tuple[Group, np.ndarray]],
) -> None:
    table = folder.table(shard, ["key", "status", "reason"])
    keys = table["key"].to_pylist()
    if label in census.children:
        keys = [source_key(key) for key in keys]
    rows = np.array([positions.get(key, -1) for key in keys], int)
    if (rows < 0).any():
        lost = keys[int(np.argmin(rows))]
        raise StoreError(f"'{folder.path}' has a row '{lost}' that is no sample", "pipeline verify")
    codes = np.array([STATUSES.index(status) for status in table["status"].to_pylist()], int)
    for group, mask in groups:
        census.coverage[label][group] += np.bincount(codes[mask[rows]], minlength=3)
    absent = table.filter(pc.equal(table["status"], "absent"))["reason"].to_pylist()
    census.absent.update((label, reason or "not given") for reason in absent)


def _groups(table: pa.Table, tasks: Mapping[str, Any]) -> Iterator[tuple[Group, np.ndarray]]:
    yield ("all", "all"), np.ones(table.num_rows, bool)
    yield from _by_value("split", [value or "(none)" for value in table["split"].to_pylist()])
    texts = table["text"].to_pylist()
    yield ("modality", "text"), np.array([bool(text and text.strip()) for text in texts], bool)
    for name in ("image", "audio"):
        yield ("modality", name), _present(table[name])
    for task, spec in tasks.items():
        labels = table[LABEL_PREFIX + task].to_pylist()
        yield from _by_label(f"task:{task}", labels, spec)


def _by_value(dimension: str, values: list[str]) -> Iterator[tuple[Group, np.ndarray]]:
    array = np.asarray(values, object)
    for value in dict.fromkeys(values):
        yield (dimension, value), np.asarray(array == value, bool)


def _by_label(
    dimension: str, labels: list[Any], task: Mapping[str, Any]
) -> Iterator[tuple[Group, np.ndarray]]:
    """Yield the rows of each class; a row with several classes is in several groups."""
    classes = list(task["classes"])
    members: dict[str, list[int]] = defaultdict(list)
    # Classes in their own order first, also those that no row has.
    for name in classes:
        members[name] = []
    for index, label in enumerate(labels):
        for name in _label_names(label, task["kind"], classes):
            members[name].append(index)
    for name, indices in members.items():
        mask = np.zeros(len(labels), bool)
        mask[indices] = True
        yield (dimension, name), mask


def _label_names(label: Any, kind: str, classes: list[str]) -> list[str]:
    if label is None:
        return [UNLABELLED]
    if kind == "regression":
        return ["(a number)"]
    if kind == "soft":
        return [class_name(int(np.argmax(label)), classes)] if label else [UNLABELLED]
    if kind == "multi":
        return [class_name(code, classes) for code in label] or ["(none of them)"]
    return [class_name(label, classes)]


def class_name(code: int, classes: list[str]) -> str:
    """Return the name of a class, or its code where the dataset gives no name."""
    return classes[code] if 0 <= code < len(classes) else f"class {code}"


def _present(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(pc.is_valid(column).to_numpy(zero_copy_only=False), bool)


def _count_readable(census: Census, table: pa.Table) -> None:
    texts = table["text"].to_pylist()
    census.readable["text"] += sum(bool(text and text.strip()) for text in texts)
    for name, proof in (("image", "image_width"), ("audio", "audio_sha256")):
        census.readable[name] += int((_present(table[name]) & _present(table[proof])).sum())


def label_text(label: Any, task: Mapping[str, Any]) -> str:
    """Return a label in words.

    Args:
        label: What the samples table holds.
        task: The task: ``kind`` and ``classes``.
    """
    classes = list(task["classes"])
    if label is None:
        return UNLABELLED
    if task["kind"] == "regression":
        return f"{label:g}"
    if task["kind"] == "soft":
        shares = (f"{class_name(i, classes)} {share:.2f}" for i, share in enumerate(label))
        return ", ".join(shares)
    return ", ".join(_label_names(label, task["kind"], classes))


def labels_of(row: Mapping[str, Any], tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the labels of a row of the samples table in words, by task."""
    raw = json.loads(row.get("labels_raw") or "{}")
    named = {name: label_text(row[LABEL_PREFIX + name], task) for name, task in tasks.items()}
    return {
        name: raw.get(name, text) if text.startswith("class ") else text
        for name, text in named.items()
    }
