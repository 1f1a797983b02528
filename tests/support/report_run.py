"""A finished run over a made-up dataset with everything a report has to cope with.

The engine runs the extractor `fake`; the tables of the stages are written with the store's own
writer, so that reports can be tested without any of those stages.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from PIL import Image

from affectflow.pipeline.config import RunConfig, StageConfig, digest
from affectflow.pipeline.engine.graph import SAMPLES, Dag, Node
from affectflow.pipeline.engine.plan import Cell, Plan, PlannedNode
from affectflow.pipeline.engine.session import Session, execute, latest_run, open_session
from affectflow.pipeline.media.images import encode_png
from affectflow.pipeline.records import Failure, OutputSpec, TableSpec
from affectflow.pipeline.stage import BaseStage
from affectflow.pipeline.store.layout import commit_name, write_json
from affectflow.pipeline.store.writer import ShardWriter, write_quarantine

SCRIPT = "<script>alert('owned')</script>"
CLASSES = ("calm", "angry & <loud>")
UNICODE_KEY = "memé-表情-😀"

SCHEMAS = {
    "text_regions": pa.schema(
        [
            ("quads", pa.list_(pa.list_(pa.float32()))),
            ("scores", pa.list_(pa.float32())),
            ("texts", pa.list_(pa.string())),
            ("width", pa.int32()),
            ("height", pa.int32()),
        ]
    ),
    "inpaint": pa.schema(
        [
            ("image", pa.binary()),
            ("mask", pa.binary()),
            ("cover", pa.float32()),
            ("outcome", pa.string()),
            ("text_area_before", pa.float32()),
            ("text_area_after", pa.float32()),
            ("residual", pa.float32()),
        ]
    ),
    "clean_text": pa.schema(
        [
            ("text", pa.string()),
            ("raw", pa.string()),
            ("no_text", pa.bool_()),
            ("rules", pa.map_(pa.string(), pa.int32())),
            ("flags", pa.list_(pa.string())),
        ]
    ),
    "paraphrase": pa.schema(
        [
            ("children", pa.list_(pa.struct([("index", pa.int32()), ("text", pa.string())]))),
            (
                "dropped",
                pa.list_(
                    pa.struct(
                        [("index", pa.int32()), ("text", pa.string()), ("reason", pa.string())]
                    )
                ),
            ),
            ("outcome", pa.string()),
            ("ledger_key", pa.string()),
        ]
    ),
}


class TableStage(BaseStage[StageConfig, Any]):
    """A stage that only declares a table; its rows are written by the test."""

    NAME = "made"
    VERSION = 1

    def __init__(self, name: str) -> None:
        super().__init__(StageConfig())
        self.name = name

    def outputs(self) -> tuple[OutputSpec, ...]:
        return (TableSpec(self.name, SCHEMAS[self.name]),)

    def load(self, row: Any) -> Any:
        raise NotImplementedError

    def compute(self, items: Any) -> Any:
        raise NotImplementedError


def picture(seed: int, size: int = 200) -> np.ndarray:
    """Return an ``(size, size, 3)`` uint8 picture of soft colours and a white bar."""
    coarse = np.random.default_rng(seed).integers(0, 255, (5, 5, 3), dtype=np.uint8)
    pixels = np.array(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))
    pixels[10 : 10 + size // 8, 10:-10] = 255
    return pixels


def write_dataset(root: Path) -> Path:
    """Write pictures, a label file and a manifest below ``root``; return the manifest."""
    (root / "img").mkdir(parents=True)
    rows = []
    for index in range(12):
        Image.fromarray(picture(index)).save(root / f"img/{index}.png")
        label = CLASSES[index % 2] if index != 11 else ""
        rows.append([f"m{index}", f"caption number {index}", f"img/{index}.png", label])
    # The same picture and caption as m0, with the other label.
    rows.append(["twin", "caption number 0", "img/0.png", CLASSES[1]])
    rows.append([f"{SCRIPT}.png", f"hello {SCRIPT} & <b>you</b>", "img/3.png", CLASSES[0]])
    rows.append([UNICODE_KEY, "Ünïcode 表情 \u202eabc 😀", "img/4.png", CLASSES[1]])
    (root / "img/broken.png").write_bytes((root / "img/1.png").read_bytes()[:200])
    rows.append(["broken", "a damaged picture", "img/broken.png", CLASSES[0]])
    rows.append(["gone", "a picture that is not there", "img/none.png", CLASSES[1]])
    rows.append(["words only", "no picture at all", "", CLASSES[0]])
    with open(root / "labels.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["id", "caption", "file", "mood"], *rows])
    manifest = {
        "name": "made",
        "title": f"Made & {SCRIPT}",
        "reader": "table",
        "licence": "none needed",
        "obtain": "made by the tests",
        "warning": "made up <i>entirely</i>",
        "citation": "Nobody. See https://example.org/paper",
        "tasks": {"mood": {"kind": "single", "classes": list(CLASSES)}},
        "splits": {"val": 0.2, "stratify": "mood"},
        "table": {
            "path": "labels.csv",
            "columns": {
                "key": "id",
                "text": "caption",
                "image": "file",
                "labels": {"mood": "mood"},
            },
        },
    }
    path = root / "manifest.yaml"
    path.write_text(yaml.safe_dump(manifest, allow_unicode=True), encoding="utf-8")
    return path


def fake_dag(config: RunConfig, store: str) -> Dag:
    """Return a graph of two seeded extractors: one over images, one over sounds nobody has."""
    failing = {"fail_keys": ["m2", "m5", f"{SCRIPT}.png"], "shape": [None, 4], "modality": "image"}
    return Dag(
        (
            Node("seen", "fake", {"feature": "seen", **failing}, SAMPLES, {}),
            Node("heard", "fake", {"feature": "heard", "modality": "audio"}, SAMPLES, {}),
        )
    )


def run_fake(folder: Path) -> tuple[Session, dict[str, Any]]:
    """Run the graph inline; return the session over the finished store and the run's record."""
    root = folder / "data"
    manifest = write_dataset(root)
    engine = {"shard_rows": 7}
    config = RunConfig(dataset=str(manifest), root=str(root), features=("fake",), engine=engine)
    session = open_session(config, folder / "store", fake_dag)
    execute(session, cluster="inline")
    session = open_session(config, folder / "store", fake_dag)
    return session, latest_run(session.layout)


def with_table(
    session: Session, stage: str, row: Callable[[Mapping[str, Any]], Any], reads: str = SAMPLES
) -> Session:
    """Return the session with one more node whose table is written from ``row(sample)``.

    With ``reads="paraphrase"`` its rows are one child per training sample.
    """
    name = stage if reads == SAMPLES else f"{stage}.augmented"
    node = Node(name, stage, {}, reads, {})
    plan = session.plan
    recipe = {
        "stage": stage,
        "version": 1,
        "parameters": {},
        "identity": {},
        "libraries": {},
        "rows": reads,
        "upstream": {},
    }
    made = TableStage(stage)
    fingerprint = digest([name, row.__name__])
    planned = PlannedNode(
        node, made, recipe, "c", fingerprint, session.layout, plan.samples.dataset
    )
    cells = dict(plan.cells)
    for shard in range(len(plan.samples.shards)):
        rows = plan.samples.table(shard).to_pylist()
        if reads != SAMPLES:
            rows = [{**r, "key": f"{r['key']}~p0"} for r in rows if r["split"] == "train"]
        _write_part(planned, shard, rows, row)
        cells[name, shard] = Cell(name, shard, "cached")
    return replace(session, plan=Plan(plan.samples, {**plan.nodes, name: planned}, cells))


def _write_part(
    planned: PlannedNode, shard: int, samples: list[dict[str, Any]], row: Callable[..., Any]
) -> None:
    spec, folder = planned.outputs[0]
    failed = []
    with ShardWriter(folder, shard, spec) as writer:
        for sample in samples:
            value = row(sample)
            writer.append(sample["key"], value)
            if isinstance(value, Failure) and value.status == "failed":
                names = ("key", "output", "class", "message", "hint")
                cause = (sample["key"], spec.name, value.code, value.message, value.hint)
                failed.append(dict(zip(names, cause, strict=True)))
    write_quarantine(planned.quarantine, shard, failed)
    seconds = {"read": 0.5, "compute": 1.25, "write": 0.25, "total": 2.5}
    record = {"cell": "x", **writer.result, "upstream": {}, "seconds": seconds}
    write_json(folder / commit_name(shard), record)


def inpaint_row(sample: Mapping[str, Any]) -> Any:
    """Return what an inpainting stage could have written for a sample."""
    if sample["image"] is None:
        return Failure("no_image", "the sample has no image", status="absent")
    if sample["status"] != "ok":
        return Failure("upstream_decode_error", f"text_regions: {SCRIPT}", "obtain it again")
    if sample["key"] == "m1":
        return {"cover": 0.0, "outcome": "no_text"}
    seed = sum(map(ord, sample["key"]))
    pixels = picture(seed)
    mask = np.zeros(pixels.shape[:2], np.uint8)
    mask[10:35, 10:-10] = 255
    residual = (seed % 7) / 10
    return {
        "image": encode_png(pixels),
        "mask": encode_png(mask),
        "cover": 0.01 * (seed % 50),
        "outcome": "painted",
        "text_area_before": 1000.0,
        "text_area_after": 1000.0 * residual,
        "residual": residual,
    }


def clean_row(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a cleaning stage could have written for a sample."""
    text = sample["text"].replace("<", "")
    return {
        "text": text,
        "raw": sample["text"],
        "no_text": False,
        "rules": [("html_tags", 2)] if text != sample["text"] else [],
        "flags": [],
    }


def regions_row(sample: Mapping[str, Any]) -> Any:
    """Return what a text detector could have written for a sample."""
    if sample["image"] is None:
        return Failure("no_image", "the sample has no image", status="absent")
    quad = [10.0, 10.0, 190.0, 10.0, 190.0, 35.0, 10.0, 35.0]
    count = 0 if sample["key"] == "m1" else 2
    return {
        "quads": [quad] * count,
        "scores": [0.9] * count,
        "texts": [SCRIPT] * count,
        "width": 200,
        "height": 200,
    }


def paraphrase_row(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a paraphrasing stage could have written for a sample."""
    if sample["split"] != "train":
        return {"children": [], "dropped": [], "outcome": "not_train", "ledger_key": ""}
    return {
        "children": [{"index": 0, "text": f"other words for {sample['text']}"}],
        "dropped": [{"index": 1, "text": SCRIPT, "reason": "refusal"}],
        "outcome": "done",
        "ledger_key": "k",
    }


def image_size(data: bytes) -> tuple[int, int]:
    """Return width and height of encoded image bytes."""
    with Image.open(io.BytesIO(data)) as image:
        return image.size
