"""What stands in `_spec.json` beside every feature and table."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from ..records import FeatureSpec, OutputSpec
from ..stage import library_version
from ..store.layout import SPEC_NAME, read_json, write_json
from .plan import Plan, PlannedNode


def write_specs(plan: Plan, planned: PlannedNode) -> None:
    """Write `_spec.json` of every output of a node where it is missing or says something else.

    What affects values cannot differ, it is in the fingerprint; licence, citation, warnings and the
    samples table that goes with them can. When and by which version of this software the output was
    begun stays as it was; what each shard ran on is in its commit record.
    """
    for spec, folder in planned.outputs:
        path = folder / SPEC_NAME
        known = read_json(path)
        begun = known.get("begun") if isinstance(known, dict) else None
        record = spec_record(plan, planned, spec) | {"begun": begun or _now()}
        if known != json.loads(json.dumps(record)):
            write_json(path, record)


def _now() -> dict[str, str]:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return {"at": at, "affectflow": library_version("affectflow")}


def spec_record(plan: Plan, planned: PlannedNode, spec: OutputSpec) -> dict[str, Any]:
    """Return the content of `_spec.json`: everything that affects the values, and the terms."""
    output: dict[str, Any] = {"name": spec.name, "table": True}
    if isinstance(spec, FeatureSpec):
        output = spec.to_json()
    manifest = plan.samples.info["manifest"]
    return {
        "output": output,
        "dataset": plan.samples.dataset,
        "node": planned.name,
        "rows": planned.node.rows,
        "fingerprint": planned.fingerprint,
        "recipe": planned.recipe,
        "content": planned.content,
        "samples": plan.samples.digest,
        "num_shards": len(plan.samples.shards),
        "warnings": list(planned.stage.warnings()),
        "citation": planned.stage.CITATION,
        "dataset_citation": manifest["citation"],
        "dataset_licence": manifest["licence"],
    }
