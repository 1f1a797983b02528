"""What stands in `_spec.json` beside every feature and table."""

from __future__ import annotations

from typing import Any

from ..records import FeatureSpec, OutputSpec
from ..store.layout import SPEC_NAME, write_json
from .plan import Plan, PlannedNode


def write_specs(plan: Plan, planned: PlannedNode) -> None:
    """Write `_spec.json` of every output of a node that has none yet."""
    for spec, folder in planned.outputs:
        path = folder / SPEC_NAME
        if not path.exists():
            write_json(path, spec_record(plan, planned, spec))


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
