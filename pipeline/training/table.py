"""The table of a run on val: majority and guessing first, then mean ± std over its seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..evaluation.aggregate import aggregate
from ..evaluation.baselines import constant_results, guessing_results
from ..evaluation.flags import Flag
from ..evaluation.tables import Row, results_table
from ..evaluation.trained import original_labels
from ..store.layout import read_json, write_json, written_whole
from .run_folder import RunFolder, feature_warnings

if TYPE_CHECKING:
    from .data import TrainingData

SPLIT = "val"
NOTE = "Numbers of the split the best epoch was chosen on; `pipeline evaluate` opens test."


def write_table(folder: RunFolder, data: TrainingData) -> dict[str, Any]:
    """Write `table.json` and `table.md` over all finished seeds; return the former's content."""
    record = folder.record()
    finished = [seed for seed, facts in record["seeds"].items() if facts["status"] == "finished"]
    found = {seed: read_json(folder.seed(int(seed)) / "val.json") for seed in sorted(finished)}
    results = {seed: _scores(one["metrics"]) for seed, one in found.items() if one is not None}
    family = record["settings"]["trainer"]["metrics"]
    labels = original_labels(data), data.split(SPLIT).labels
    facts: dict[str, str | int | float] = {
        "parameters": record["parameters"].get("total", 0),
        "features": data.digest[:12],
        "epochs": ", ".join(str(record["seeds"][seed].get("epochs", "")) for seed in results),
        "selection": record["monitor"],
    }
    marks = [Flag(**flag) for one in found.values() if one for flag in one["flags"]]
    row = Row(record["model"], aggregate(results), facts=facts, flags=marks)
    table = results_table(
        f"{record['model']} on {record['settings']['data']['dataset']}",
        SPLIT,
        constant_results(data.tasks, *labels, family),
        [row],
        guessing=guessing_results(data.tasks, *labels, family),
        notes=[NOTE, *feature_warnings(record["fingerprints"])],
    )
    content = table.to_json()
    write_json(folder.path / "table.json", content)
    with written_whole(folder.path / "table.md") as temporary:
        temporary.write_text(table.markdown(), encoding="utf-8")
    return content


def _scores(found: Mapping[str, Mapping[str, float | None]]) -> dict[str, dict[str, float]]:
    return {
        task: {name: math.nan if value is None else value for name, value in of_task.items()}
        for task, of_task in found.items()
    }
