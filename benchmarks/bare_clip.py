"""The bare loop that `clip.py` compares with: label file, Pillow, open_clip, `np.save`.

It does what a careful person writes by hand when nothing but the two arrays is wanted: no store, no
resume, no account of failures. It runs as a process of its own and imports nothing of affectflow.
With ``--cut-padding`` it also leaves out the positions behind the end of each text, which open_clip
itself computes and our extractor does not, so this is the stricter comparison.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def main() -> None:
    """Encode images and texts of the first rows and print how long each phase took."""
    start = time.perf_counter()
    options = _options()
    import numpy as np
    import open_clip
    import torch
    from PIL import Image

    clock = {"imports": time.perf_counter() - start}
    mark = time.perf_counter()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model, _, preprocess = open_clip.create_model_and_transforms(
        "ViT-B-32", pretrained=None, force_quick_gelu=True
    )
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    model.eval()
    encode_text = _cut_encoder(model) if options.cut_padding else model.encode_text
    clock.update(build=time.perf_counter() - mark, decode=0.0, compute=0.0)
    keys: list[str] = []
    found: dict[str, list[Any]] = {"image": [], "text": []}
    for batch in _batches(options):
        mark = time.perf_counter()
        pictures = []
        for row in batch:
            with Image.open(options.images / row[options.image_column]) as picture:
                pictures.append(preprocess(picture.convert("RGB")))
        ids = tokenizer([_text(row, options.text_columns) for row in batch])
        pixels = torch.stack(pictures)
        clock["decode"] += time.perf_counter() - mark
        mark = time.perf_counter()
        with torch.inference_mode():
            image = model.encode_image(pixels, normalize=True)
            text = encode_text(ids, normalize=True)
        found["image"].append(image.numpy())
        found["text"].append(text.numpy())
        clock["compute"] += time.perf_counter() - mark
        keys.extend(row[options.image_column] for row in batch)
    mark = time.perf_counter()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, arrays in found.items():
        np.save(options.out / f"{name}.npy", np.concatenate(arrays))
    (options.out / "keys.json").write_text(json.dumps(keys), encoding="utf-8")
    clock["write"] = time.perf_counter() - mark
    print(json.dumps({name: round(seconds, 4) for name, seconds in clock.items()}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--image-column", required=True)
    parser.add_argument("--text-columns", required=True, type=lambda text: text.split(","))
    parser.add_argument("--limit", type=int, required=True)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--cut-padding", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def _batches(options: argparse.Namespace) -> Iterator[list[dict[str, str]]]:
    with open(options.labels, encoding="utf-8", newline="") as file:
        rows = [row for row, _ in zip(csv.DictReader(file), range(options.limit), strict=False)]
    for first in range(0, len(rows), options.batch_size):
        yield rows[first : first + options.batch_size]


def _text(row: dict[str, str], columns: list[str]) -> str:
    return next((row[name] for name in columns if row[name].strip()), "")


def _cut_encoder(model: Any) -> Callable[..., Any]:
    """Return `encode_text` that runs each text at its own length, rounded up to a multiple of 8."""
    import torch
    from torch import nn

    positions, mask = model.positional_embedding.detach(), model.attn_mask

    def encode(ids: Any, normalize: bool) -> Any:
        ends = ids.argmax(dim=-1)
        lengths = torch.clamp((ends // 8 + 1) * 8, max=ids.shape[1])
        found = torch.empty(len(ids), model.text_projection.shape[1])
        for length in lengths.unique().tolist():
            chosen = lengths == length
            model.positional_embedding = nn.Parameter(positions[:length], requires_grad=False)
            model.attn_mask = mask[:length, :length]
            found[chosen] = model.encode_text(ids[chosen, :length], normalize=normalize)
        return found

    return encode


if __name__ == "__main__":
    main()
