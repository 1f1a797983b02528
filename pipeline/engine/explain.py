"""Why a shard would be computed again: the component of the fingerprint that differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..store.layout import SAMPLES_NAME, SPEC_NAME, read_spec
from ..store.samples import SamplesTable
from ..store.spec import differences
from .plan import Plan, PlannedNode

_SHOWN = 5


@dataclass(frozen=True)
class Difference:
    """One component that differs: where it stands, what the store has, what is asked for now."""

    component: str
    stored: Any
    now: Any


@dataclass(frozen=True)
class Finding:
    """What explains the state of one node.

    Attributes:
        node: Name of the node.
        fingerprint: What is asked for now.
        verdict: One line.
        nearest: Fingerprint in the store that differs least; None when there is none.
        differences: Components that differ from it.
    """

    node: str
    fingerprint: str
    verdict: str
    nearest: str | None = None
    differences: tuple[Difference, ...] = ()

    def lines(self) -> Iterator[str]:
        """Yield one line per difference."""
        for item in self.differences:
            if item.stored is None and item.now is None:
                yield item.component
            else:
                yield f"{item.component}: {item.stored!r} → {item.now!r}"

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON."""
        return asdict(self)


def explain(plan: Plan) -> list[Finding]:
    """Return one finding per node of a plan."""
    return [_finding(plan, planned) for planned in plan.nodes.values()]


def _finding(plan: Plan, planned: PlannedNode) -> Finding:
    counts = plan.counts()[planned.name]
    total = sum(counts.values())
    missing = total - counts["cached"]
    if not missing:
        verdict = f"cached, {total} shards, fingerprint {planned.fingerprint}"
        return Finding(planned.name, planned.fingerprint, verdict)
    missing -= counts["adoptable"]
    verdict = f"{missing} of {total} shards to compute, fingerprint {planned.fingerprint}"
    if counts["adoptable"]:
        verdict += f", {counts['adoptable']} computed before under another"
    if counts["cached"] or counts["stale"]:
        reasons = {
            cell.reason
            for cell in plan.cells.values()
            if cell.node == planned.name and cell.state in {"stale", "failed"}
        }
        found = tuple(Difference(reason, None, None) for reason in sorted(reasons) if reason)
        return Finding(planned.name, planned.fingerprint, verdict, planned.fingerprint, found)
    nearest = _nearest(planned)
    if nearest is None:
        verdict += "; nothing like it is in the store"
        return Finding(planned.name, planned.fingerprint, verdict)
    found = tuple(_all_differences(plan, planned, nearest))
    name = str(nearest["fingerprint"])
    return Finding(planned.name, planned.fingerprint, f"{verdict}; nearest {name}", name, found)


def _nearest(planned: PlannedNode) -> Mapping[str, Any] | None:
    folder = planned.outputs[0][1]
    specs = (read_spec(path) for path in sorted(folder.parent.glob(f"*/{SPEC_NAME}")))
    stored = [spec for spec in specs if spec is not None and spec["node"] == planned.name]
    if not stored:
        return None
    return min(stored, key=lambda spec: _distance(spec, planned))


def _distance(spec: Mapping[str, Any], planned: PlannedNode) -> tuple[int, bool]:
    count = sum(1 for _ in differences(spec["recipe"], planned.recipe))
    return count, spec["content"] != planned.content


def _all_differences(
    plan: Plan, planned: PlannedNode, spec: Mapping[str, Any]
) -> Iterator[Difference]:
    for path, old, new in differences(spec["recipe"], planned.recipe):
        yield Difference(path, old, new)
    if spec["content"] != planned.content:
        yield from _sample_differences(plan, str(spec["samples"]))


def _sample_differences(plan: Plan, digest: str) -> Iterator[Difference]:
    """Yield which samples differ, naming the first few, and what of them."""
    old = SamplesTable(_samples_folder(plan.samples.path, digest))
    try:
        before, after = _contents(old), _contents(plan.samples)
    except StoreError:
        yield Difference("samples (the earlier table is gone)", digest, plan.samples.digest)
        return
    if old.info["shard_rows"] != plan.samples.info["shard_rows"]:
        rows = old.info["shard_rows"], plan.samples.info["shard_rows"]
        yield Difference("engine.shard_rows", *rows)
    added, gone = sorted(after.keys() - before.keys()), sorted(before.keys() - after.keys())
    changed = sorted(key for key in before.keys() & after.keys() if before[key] != after[key])
    if added:
        yield Difference(f"samples added: {_some(added)}", len(before), len(after))
    if gone:
        yield Difference(f"samples gone: {_some(gone)}", len(before), len(after))
    for key in changed[:_SHOWN]:
        for name, stored, now in zip(_COLUMNS, before[key], after[key], strict=True):
            if stored != now:
                yield Difference(f"samples.{key}.{name}", stored, now)
    if len(changed) > _SHOWN:
        yield Difference(f"and {len(changed) - _SHOWN} more samples changed", None, None)
    if not (added or gone or changed):
        yield Difference("samples: order or splits changed", digest, plan.samples.digest)


_COLUMNS = ("text", "image", "image_sha256", "audio", "audio_sha256", "status")


def _contents(table: SamplesTable) -> dict[str, tuple[Any, ...]]:
    rows = table.all_rows(["key", *_COLUMNS])
    columns = [rows["key"].to_pylist()]
    columns += [rows[name].to_pylist() for name in _COLUMNS]
    return {values[0]: tuple(values[1:]) for values in zip(*columns, strict=True)}


def _samples_folder(current: Path, digest: str) -> Path:
    folder = current.parent / f"{current.name.partition('@')[0]}@{digest}"
    if not (folder / SAMPLES_NAME).is_file():
        return current.parent / "gone"
    return folder


def _some(keys: list[str]) -> str:
    rest = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + rest
