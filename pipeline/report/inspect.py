"""Everything that is known about one sample, out of samples, features, tables and quarantine."""

from __future__ import annotations

import difflib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from ..engine.graph import SAMPLES
from ..engine.plan import PlannedNode
from ..engine.session import Session
from ..errors import UsageError
from ..records import FeatureSpec, source_key
from ..store import tensor
from ..store.quarantine import quarantine_rows
from ..store.reader import OutputFolder
from ..store.samples import LABEL_PREFIX, SamplesTable
from .census import labels_of
from .rows import position_of, row_table

_HEAD = frozenset({"key", "status", "reason"})
_MAX_SIBLINGS = 20
_MAX_COMPARED_KEYS = 50_000


@dataclass(frozen=True)
class OutputFacts:
    """What one output holds for one key.

    Attributes:
        node: Name of the node.
        output: Name of the output.
        key: The row's key: the sample's, or that of a child made from it.
        status: ``ok``, ``absent``, ``failed`` or ``not_computed``.
        reason: Class of the failure, or why there is none.
        message: The cause, from the quarantine.
        hint: What to do.
        facts: About the value: shape, range and norm of an array, or the columns of a table.
    """

    node: str
    output: str
    key: str
    status: str
    reason: str = ""
    message: str = ""
    hint: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Inspection:
    """One sample.

    Attributes:
        key: Its key.
        sample: Row of the samples table, labels in words.
        shard: Shard it lies in.
        group_size: Samples in its group of near-duplicates, itself included.
        siblings: The others in it, the first of them.
        outputs: One entry per output and row.
    """

    key: str
    sample: Mapping[str, Any]
    shard: int
    group_size: int
    siblings: tuple[str, ...]
    outputs: tuple[OutputFacts, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the inspection as JSON."""
        return asdict(self)


def inspect_sample(session: Session, key: str) -> Inspection:
    """Return everything about one sample, or about one child made by paraphrasing.

    Raises:
        UsageError: No sample has this key; near ones are named.
    """
    samples = session.samples
    found = _find(samples, key)
    child = found is None and source_key(key) != key
    found = _find(samples, source_key(key)) if child else found
    if found is None:
        raise UsageError(f"no sample has the key '{key}'", _near(samples, key))
    shard, row = found
    siblings, size = _siblings(samples, row)
    outputs = tuple(
        facts
        for planned in session.plan.nodes.values()
        for facts in _node_facts(planned, shard, key, child)
    )
    return Inspection(key, _sample_facts(session, row), shard, size, siblings, outputs)


def _find(samples: SamplesTable, key: str) -> tuple[int, dict[str, Any]] | None:
    for shard in range(len(samples.shards)):
        index = pc.index(samples.table(shard, ["key"])["key"], pa.scalar(key)).as_py()
        if index >= 0:
            return shard, samples.table(shard).slice(index, 1).to_pylist()[0]
    return None


def _near(samples: SamplesTable, key: str) -> str:
    """Return a hint with the nearest keys; of a large dataset the first keys are compared."""
    wanted = key.casefold()
    inside: list[str] = []
    compared: list[str] = []
    for shard in range(len(samples.shards)):
        keys = samples.table(shard, ["key"])["key"].to_pylist()
        inside += [name for name in keys if wanted and wanted in name.casefold()]
        if len(compared) < _MAX_COMPARED_KEYS:
            compared += keys
        if len(inside) >= 3:
            break
    near = inside[:3] or difflib.get_close_matches(key, compared, n=3, cutoff=0.5)
    if near:
        return f"did you mean {', '.join(near)}?"
    return f"keys look like {', '.join(compared[:3])}"


def _siblings(samples: SamplesTable, row: Mapping[str, Any]) -> tuple[tuple[str, ...], int]:
    keys: list[str] = []
    for shard in range(len(samples.shards)):
        table = samples.table(shard, ["key", "group"])
        keys += table.filter(pc.equal(table["group"], row["group"]))["key"].to_pylist()
    others = [key for key in keys if key != row["key"]]
    return tuple(others[:_MAX_SIBLINGS]), max(1, len(keys))


def _sample_facts(session: Session, row: Mapping[str, Any]) -> dict[str, Any]:
    tasks = session.samples.info["manifest"]["tasks"]
    facts = {name: value for name, value in row.items() if not name.startswith(LABEL_PREFIX)}
    for name in ("labels_raw", "extra"):
        facts[name] = json.loads(facts[name] or "{}")
    phash = facts["image_phash"]
    facts["image_phash"] = None if phash is None else f"{phash:016x}"
    return {**facts, "labels": labels_of(row, tasks)}


def _node_facts(planned: PlannedNode, shard: int, key: str, child: bool) -> Iterator[OutputFacts]:
    children = planned.node.rows != SAMPLES
    if child and not children:
        # A child has rows of its own; what it shares with its source is shown with the source.
        return
    causes: dict[tuple[str, str], Mapping[str, Any]] = {}
    if planned.quarantine.is_dir():
        rows = quarantine_rows(planned.quarantine, [shard])
        causes = {(row["key"], row["output"]): row for row in rows}
    for (spec, _), folder in zip(planned.outputs, planned.folders, strict=True):
        if shard not in folder.commits:
            yield OutputFacts(planned.name, spec.name, key, "not_computed", "shard not committed")
            continue
        for row_key in _row_keys(folder, shard, key, children and not child):
            cause = causes.get((row_key, spec.name), {})
            yield _row_facts(planned, spec, folder, shard, row_key, cause)


def _row_keys(folder: OutputFolder, shard: int, key: str, of_children: bool) -> list[str]:
    if not of_children:
        return [key]
    keys = folder.table(shard, ["key"])["key"].to_pylist()
    return [name for name in keys if source_key(name) == key]


def _row_facts(
    planned: PlannedNode,
    spec: Any,
    folder: OutputFolder,
    shard: int,
    key: str,
    cause: Mapping[str, Any],
) -> OutputFacts:
    position = position_of(folder, shard, key)
    if position is None:
        return OutputFacts(planned.name, spec.name, key, "not_computed", "no such row")
    table = row_table(folder, shard, position)
    status = table["status"][0].as_py()
    reason = table["reason"][0].as_py() or ""
    facts: Mapping[str, Any] = {}
    if status == "ok":
        feature = isinstance(spec, FeatureSpec)
        facts = array_facts(_array(table, spec)) if feature else table_facts(table)
    message, hint = cause.get("message") or "", cause.get("hint") or ""
    return OutputFacts(planned.name, spec.name, key, status, reason, message, hint, facts)


def _array(table: pa.Table, spec: FeatureSpec) -> np.ndarray:
    packed = tensor.storage(table["value"])
    unpack: Any = tensor.ragged_to_numpy if spec.ragged else tensor.fixed_to_numpy
    return np.asarray(unpack(packed, spec)[0])


def feature_of(
    session: Session, key: str, name: str
) -> tuple[Mapping[str, Any], np.ndarray | None]:
    """Return the row of a sample and one of its features, None where it has none.

    Raises:
        UsageError: No sample has this key.
    """
    found = _find(session.samples, key)
    if found is None:
        raise UsageError(f"no sample has the key '{key}'", _near(session.samples, key))
    shard, row = found
    for planned in session.plan.nodes.values():
        for (spec, _), folder in zip(planned.outputs, planned.folders, strict=True):
            if not isinstance(spec, FeatureSpec) or spec.name != name:
                continue
            if shard not in folder.commits:
                continue
            position = position_of(folder, shard, key)
            table = None if position is None else row_table(folder, shard, position)
            if table is not None and table["status"][0].as_py() == "ok":
                return row, _array(table, spec)
    return row, None


def array_facts(array: np.ndarray) -> dict[str, Any]:
    """Return shape, dtype, share of finite values, range, mean and Euclidean norm of an array."""
    facts: dict[str, Any] = {"shape": list(array.shape), "dtype": array.dtype.name}
    if array.size == 0:
        return {**facts, "empty": True}
    wide = array.astype(np.float64)
    finite = np.isfinite(wide)
    facts["finite_share"] = float(finite.mean())
    known = wide[finite]
    if known.size:
        facts["min"], facts["max"] = float(known.min()), float(known.max())
        facts["mean"], facts["norm"] = float(known.mean()), float(np.linalg.norm(known))
    return facts


def table_facts(table: pa.Table) -> dict[str, Any]:
    """Return the columns of a one-row table; pictures and long lists become what they are like."""
    facts: dict[str, Any] = {}
    for schema_field in table.schema:
        if schema_field.name not in _HEAD:
            value = table[schema_field.name][0].as_py()
            if pa.types.is_map(schema_field.type):
                value = dict(value or ())
            facts[schema_field.name] = _plain(value)
    return facts


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return _picture(value)
    if isinstance(value, list) and value and isinstance(value[0], list):
        return {"count": len(value)}
    if isinstance(value, list) and value and isinstance(value[0], int | float):
        return {"count": len(value), "min": min(value), "max": max(value)}
    return value


def _picture(data: bytes) -> dict[str, Any]:
    """Return format and size of encoded image bytes; only their header is read."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return {"format": image.format, "size": list(image.size), "bytes": len(data)}
    except (OSError, ValueError, Image.DecompressionBombError):
        return {"format": "unknown", "bytes": len(data)}


def statuses(outputs: Sequence[OutputFacts]) -> str:
    """Return how many outputs are in which status, in words."""
    counts: dict[str, int] = {}
    for facts in outputs:
        counts[facts.status] = counts.get(facts.status, 0) + 1
    words = (f"{number} {status.replace('_', ' ')}" for status, number in counts.items())
    return ", ".join(words) or "none"
