"""How much text the detector still finds after inpainting, and what both stages cost per picture.

    python benchmarks/inpaint_residual.py --root FOLDER_OF_PICTURES --limit 150

Runs the stages `text_regions` and `inpaint` themselves, one thread, and checks on every picture
that pixels outside the mask are bit-identical. Pictures whose mask was too large, and which
therefore keep their text, count with all of it.

The detector answers some pictures without text with one box around their main figure; the limits on
a box's size keep those out, before and after alike. So three more measures stand beside the first:
the same at a higher resolution, the same with boxes of every size, and, on some pictures, the
letters that the recogniser reads in boxes of every size.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

from affectflow.pipeline.errors import RowError
from affectflow.pipeline.loading import make_stage
from affectflow.pipeline.media.images import decode_image, load_original
from affectflow.pipeline.records import Row, Sample
from affectflow.pipeline.stage import library_version
from affectflow.pipeline.text_detection.detection import DetectorConfig, open_detector
from affectflow.pipeline.text_detection.quads import union_area

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp"}
RESULT = Path(__file__).parent / "results" / "inpaint_residual.json"
EVERY_SIZE = DetectorConfig(max_box_frac=1.0, max_height_frac=1.0)
LIBRARIES = ("numpy", "opencv-python-headless", "onnxruntime", "rapidocr", "pillow")


def main() -> None:
    """Measure and write the result."""
    options = _arguments()
    rows = [
        Row(Sample(key=path.name, split="train", image=path.name), path.parent)
        for path in _pictures(options.root, options.limit)
    ]
    measured = measure(rows, options.recognise)
    result = {
        "what": __doc__.splitlines()[0] if __doc__ else "",
        "pictures_folder": options.root.name,
        **measured,
        "machine": _machine(),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


def measure(rows: list[Row], recognise: int) -> dict[str, Any]:
    """Run both stages over the rows; return the measures."""
    regions, paint = make_stage("text_regions", {}), make_stage("inpaint", {})
    regions.open()
    paint.open()
    fine = open_detector(DetectorConfig(max_side=960, min_side=512))
    every = open_detector(EVERY_SIZE)
    reader = open_detector(EVERY_SIZE.model_copy(update={"recognise": True}))
    records: list[dict[str, Any]] = []
    failed, seconds = 0, {"text_regions": 0.0, "inpaint": 0.0}
    for row in rows:
        try:
            found = _timed(regions, row, seconds)
            painted = _timed(paint, Row(row.sample, row.root, {"text_regions": found}), seconds)
        except RowError as error:
            print(f"{row.key}: {error}")
            failed += 1
            continue
        original = load_original(row)
        result = original if painted["image"] is None else decode_image(painted["image"])
        record = {**painted, "outside_identical": _outside_identical(original, result, painted)}
        record["fine"] = [_area(fine, picture) for picture in (original, result)]
        record["every"] = [_area(every, picture) for picture in (original, result)]
        if len(records) < recognise:
            record["letters"] = [_letters(reader, picture) for picture in (original, result)]
        records.append(record)
    return {**_summary(records, failed, seconds), "configuration": _configuration(regions, paint)}


def _summary(
    records: list[dict[str, Any]], failed: int, seconds: dict[str, float]
) -> dict[str, Any]:
    before = sum(record["text_area_before"] or 0 for record in records)
    after = sum(record["text_area_after"] or 0 for record in records)
    residuals = [record["residual"] for record in records if record["residual"] is not None]
    outcomes = [record["outcome"] for record in records]
    fine = np.sum([record["fine"] for record in records], axis=0)
    every = np.sum([record["every"] for record in records], axis=0)
    letters = np.sum([r["letters"] for r in records if "letters" in r] or [[0, 0]], axis=0)
    return {
        "pictures": len(records),
        "failed": failed,
        "outcomes": {name: outcomes.count(name) for name in sorted(set(outcomes))},
        "text_area_before_px": before,
        "text_area_after_px": after,
        "less_text_area": round(1 - after / before, 4),
        "mean_residual": round(float(np.mean(residuals)), 4),
        "pictures_with_residual_above_0.2": int(np.sum(np.array(residuals) > 0.2)),
        "less_text_area_at_960_px": round(float(1 - fine[1] / fine[0]), 4),
        "less_text_area_with_boxes_of_every_size": round(float(1 - every[1] / every[0]), 4),
        "letters_read_before_and_after": [int(value) for value in letters],
        "letters_checked_on_pictures": sum("letters" in record for record in records),
        "outside_mask_identical_on": sum(record["outside_identical"] for record in records),
        "mean_cover": round(float(np.mean([record["cover"] for record in records])), 4),
        "processor_seconds_per_picture": {
            name: round(value / max(1, len(records)), 4) for name, value in seconds.items()
        },
    }


def _timed(stage: Any, row: Row, seconds: dict[str, float]) -> dict[str, Any]:
    # Processor time: other work on the machine does not count.
    started = time.process_time()
    columns: dict[str, Any] = stage.compute([stage.load(row)])[0][stage.NAME]
    seconds[stage.NAME] += time.process_time() - started
    return columns


def _outside_identical(original: np.ndarray, result: np.ndarray, columns: dict[str, Any]) -> bool:
    if columns["mask"] is None:
        return bool(np.array_equal(original, result))
    outside = decode_image(columns["mask"])[:, :, 0] == 0
    return bool(np.array_equal(original[outside], result[outside]))


def _area(detector: Any, picture: np.ndarray) -> int:
    return union_area([quad for quad, _, _ in detector.detect(picture)], *picture.shape[:2])


def _letters(detector: Any, picture: np.ndarray) -> int:
    texts = (text for _, _, text in detector.detect(picture))
    return sum(character.isalnum() for text in texts for character in text)


def _configuration(*stages: Any) -> dict[str, Any]:
    return {
        stage.NAME: {**stage.config.result_parameters(), "identity": dict(stage.identity())}
        for stage in stages
    }


def _pictures(root: Path, limit: int) -> list[Path]:
    found = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    # Evenly spread: neighbours in a folder are often alike.
    return found[:: max(1, len(found) // limit)][:limit]


def _machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads_used": 1,
        "system": platform.system(),
        "python": platform.python_version(),
        "libraries": {name: library_version(name) for name in LIBRARIES},
    }


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder of full-size pictures")
    parser.add_argument("--limit", type=int, default=150, help="pictures to use")
    parser.add_argument(
        "--recognise", type=int, default=40, help="pictures that the recogniser reads as well"
    )
    parser.add_argument("--out", type=Path, default=RESULT, help="where the JSON goes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
