"""Text that inpainting left in the pictures of a visual role, found and warned about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.feature_stores import write_feature
from support.fusion_data import MemoryData
from support.toy_training import train
from support.training_stores import REGIONS, ROLES, make_store, opened

from affectflow.pipeline.config import digest
from affectflow.pipeline.records import TableSpec
from affectflow.pipeline.stages.inpaint import SCHEMA
from affectflow.pipeline.store.layout import SPEC_NAME, StoreLayout, write_json
from affectflow.pipeline.store.samples import SamplesTable
from affectflow.pipeline.store.spec import fingerprint_of
from affectflow.pipeline.store.writer import ShardWriter, commit_path
from affectflow.pipeline.training.journal import read_log

PAINTING = {"stage": "inpaint", "parameters": {"backend": "telea"}, "upstream": {}}
OUTCOMES = (
    [("painted", 0.2), ("painted", 0.6), ("no_text", None), ("mask_too_large", 1.0)],
    [("painted", None), ("painted", 0.4)],
)


def write_painting(table: SamplesTable) -> Path:
    """Write the table of an inpainting over two shards, in the form of the stage's own."""
    fingerprint = fingerprint_of(digest(PAINTING, 64), table.content)
    layout, spec = StoreLayout(table.path.parents[1]), TableSpec("inpaint", SCHEMA)
    folder = layout.output("tables", "mini", "inpaint", fingerprint)
    facts = {"fingerprint": fingerprint, "recipe": PAINTING, "content": table.content}
    write_json(folder / SPEC_NAME, {**facts, "rows": "samples", "num_shards": 2})
    for shard, rows in enumerate(OUTCOMES):
        with ShardWriter(folder, shard, spec) as writer:
            for number, (outcome, residual) in enumerate(rows):
                values: dict[str, Any] = dict.fromkeys(SCHEMA.names)
                writer.append(
                    f"s{shard}{number}", values | {"outcome": outcome, "residual": residual}
                )
        write_json(commit_path(folder, shard), {"cell": "c", **writer.result, "upstream": {}})
    return folder


def test_it_is_read_where_the_store_has_it(tmp_path: Path) -> None:
    table, values = make_store(tmp_path)
    plain = opened(tmp_path)
    assert "residual_text" not in plain.counts
    recipe = {"stage": "regions", "upstream": {"inpaint": PAINTING}}
    write_feature(table, REGIONS, values["regions"], "e" * 16, recipe)
    from_painted = {**ROLES, "regions": "regions@eeee"}
    # The feature was made from painted pictures, but the table is not in this store.
    assert "residual_text" not in opened(tmp_path, roles=from_painted).counts
    folder = write_painting(table)
    found = opened(tmp_path, roles=from_painted)
    assert found.counts["residual_text"] == {"regions": pytest.approx(0.4)}
    # It is known of the data and no part of what they are.
    assert "residual_text" not in opened(tmp_path, roles={**ROLES, "regions": "clip_image"}).counts
    next(folder.glob("part-00001*.parquet")).write_bytes(b"torn")
    assert "residual_text" not in opened(tmp_path, roles=from_painted).counts


@pytest.mark.parametrize(("left", "warned"), [(0.1, False), (0.4, True)])
def test_much_text_left_is_warned_about_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: float, warned: bool
) -> None:
    monkeypatch.setattr(MemoryData, "counts", {"residual_text": {"regions": left}})
    train(tmp_path, epochs=1)
    train(tmp_path, epochs=2)
    said = [entry["message"] for entry in read_log(tmp_path) if entry["kind"] == "warning"]
    found = [message for message in said if message.startswith("Inpainting leaves on average 40%")]
    assert len(found) == int(warned)
