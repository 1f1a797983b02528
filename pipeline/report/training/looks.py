"""Where a trained model looks, for a few samples of the validation split.

Samples are chosen by a fixed seed, some of each class of one task. The model is run over the whole
split in the batches of evaluation, so that weights are those behind its scores. Pictures, boxes and
token ids are read from the store; what is not there is said in the sample's place.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from affectflow.models.batch import Task

from ...errors import AffectflowError, RowError
from ...evaluation.predict import best_seed
from ...evaluation.trained import TrainedRun
from ...ingest.scan import is_uri
from ...media.images import decode_image, read_bytes
from ...store.api import Store, open_store
from ...store.reader import OutputFolder
from ...training.assemble import find_samples
from ...training.metrics import predictions_of
from ...training.validation import SplitOutput
from .attention import AttentionSample, Box
from .neighbours import Neighbour
from .page import Looks
from .picture import Picture
from .words import words_of

SPLIT = "val"
_PIXELS = 420
_THUMBNAIL_PIXELS = 96
_QUALITY = 78


def look(run: TrainedRun, per_class: int = 2, task: str | None = None, seed: int = 0) -> Looks:
    """Return chosen samples with the model's weights, or why there are none.

    Args:
        run: The run.
        per_class: Samples of each class.
        task: Whose classes; the first classification task by default. Where the named one is a
            regression or has several labels, samples are drawn from all.
        seed: Of the choice.
    """
    try:
        return _look(run, per_class, task, seed)
    except AffectflowError as error:
        # The page stands without it: the store may have moved since the training.
        return Looks((), f"Attention is not shown: {error}.")


def _look(run: TrainedRun, per_class: int, task: str | None, seed: int) -> Looks:
    chosen = best_seed(run)
    loaded = run.load(chosen)
    data = run.open(("train", SPLIT) if loaded.model.num_reference else (SPLIT,))
    output = run.apply(chosen, loaded, data, SPLIT, keep_attention=True)
    if not (output.attention or output.neighbours):
        return Looks((), "")
    by = _with_classes(data.tasks, task)
    rows = choose(output.labels, by, per_class, seed, len(output.keys))
    store = _StoreFacts(run, [open_store(path) for path in run.data_config().stores])
    samples = [_sample(row, output, loaded.tasks, store) for row in rows]
    by_words = f"up to {per_class} samples of each class of {by.name}" if by else "samples"
    how = f"{by_words[0].upper()}{by_words[1:]}, chosen with seed {seed} from {SPLIT}. Weights of "
    how += f"the model of seed {chosen}, {run.batch_policy(loaded.model)}."
    if not output.neighbours and any(name.startswith("graph/") for name in output.means):
        how += " Neighbours are not named: this model does not look for them in the batch."
    return Looks(samples, how)


def _with_classes(tasks: Sequence[Task], name: str | None) -> Task | None:
    """Return the named classification task, or the first; None where there is no such."""
    found = (task for task in tasks if task.kind == "classification")
    return next((task for task in found if name in (None, task.name)), None)


def choose(
    labels: Mapping[str, np.ndarray], task: Task | None, per_class: int, seed: int, number: int
) -> list[int]:
    """Return rows: ``per_class`` of each class in the order of the classes, drawn by a seed."""
    generator = np.random.default_rng(seed)
    if task is None:
        return sorted(generator.permutation(number)[: 3 * per_class].tolist())
    found: list[int] = []
    for code in range(len(task.classes)):
        rows = np.flatnonzero(labels[task.name] == code)
        found += sorted(generator.permutation(rows)[:per_class].tolist())
    return found


def _sample(
    row: int, output: SplitOutput, tasks: Sequence[Task], store: _StoreFacts
) -> AttentionSample:
    key = output.keys[row]
    truth, said = {}, {}
    decided = predictions_of(tasks, {name: values[[row]] for name, values in output.logits.items()})
    for task in tasks:
        label = _in_words(task, output.labels[task.name][row])
        said[task.name] = _in_words(task, decided[task.name][0]) or "–"
        if label is not None:
            truth[task.name] = label
    words: list[tuple[str, float]] = []
    boxes: list[tuple[Box, float]] = []
    others: dict[str, list[float]] = {}
    missing: list[str] = []
    for role, found in output.attention.items():
        weights = [float(value) for value in found[row]]
        if not weights:
            missing.append(f"The sample has no {role}.")
        elif (tokens := store.words(role, key)) is not None and len(tokens) >= len(weights):
            words = list(zip(tokens, weights, strict=False))
        elif (places := store.boxes(role, key)) is not None and len(places) >= len(weights):
            boxes = list(zip(places, weights, strict=False))
        else:
            others[role] = weights
    picture, reason = store.picture(key) if boxes or store.has_pictures else (None, "")
    if reason:
        missing.append(reason)
    neighbours = {
        graph: [store.neighbour(output.keys[other], cosine) for other, cosine in found[row]]
        for graph, found in output.neighbours.items()
    }
    return AttentionSample(
        key=key,
        truth=truth,
        said=said,
        words=words,
        boxes=boxes,
        others=others,
        picture=picture,
        missing=tuple(missing),
        neighbours=neighbours,
    )


def _in_words(task: Task, value: Any) -> str | None:
    """Return a label or decision in words; None where it is missing."""
    if task.kind == "classification":
        return task.classes[int(value)] if value >= 0 else None
    if task.kind == "regression":
        return None if np.isnan(value) else f"{float(value):.2f}"
    if np.isnan(np.asarray(value, float)).any():
        return None
    names = [name for name, there in zip(task.classes, value, strict=True) if there > 0]
    return ", ".join(names) or "none"


@dataclass
class _StoreFacts:
    """What the stores know of samples, read once."""

    run: TrainedRun
    stores: Sequence[Store]

    def words(self, role: str, key: str) -> list[str] | None:
        """Return the tokens of a sample; None where the role is no text or they are not known."""
        return self._words.get(role, {}).get(key)

    def boxes(self, role: str, key: str) -> list[Box] | None:
        """Return the regions of a sample; None where the role has none."""
        return self._boxes.get(role, {}).get(key)

    @cached_property
    def _words(self) -> dict[str, dict[str, list[str]]]:
        found: dict[str, dict[str, list[str]]] = {}
        for role, feature in self.run.record["fingerprints"].items():
            folder = self._sibling(feature, ".ids")
            if folder is not None:
                keys, values = self._read(folder)
                recipe = folder.spec.get("recipe") or {}
                texts = words_of([np.asarray(row) for row in values], recipe)
                found[role] = dict(zip(keys, texts, strict=True))
        return found

    @cached_property
    def _boxes(self) -> dict[str, dict[str, list[Box]]]:
        found: dict[str, dict[str, list[Box]]] = {}
        for role, feature in self.run.record["fingerprints"].items():
            folder = self._sibling(feature, ".boxes")
            if folder is not None:
                keys, values = self._read(folder)
                places = ([tuple(map(float, box)) for box in row] for row in values)
                found[role] = dict(zip(keys, places, strict=True))  # type: ignore[arg-type]
        return found

    def _sibling(self, feature: Mapping[str, Any], suffix: str) -> OutputFolder | None:
        """Return the feature that one extractor wrote beside another, under one fingerprint."""
        for store in self.stores:
            name, fingerprint = str(feature["feature"]) + suffix, str(feature["fingerprint"])
            path = store.layout.output("features", self.run.dataset, name, fingerprint)
            if (path / "_spec.json").is_file():
                return OutputFolder(path, "features")
        return None

    def _read(self, folder: OutputFolder) -> tuple[list[str], Any]:
        keys, values = self.stores[0].open_feature(folder).read()
        return [str(key) for key in keys], values

    @cached_property
    def _samples(self) -> dict[str, tuple[str | None, str | None]]:
        """Image and text by key."""
        names = ["key", "image", "text"]
        table = find_samples(self.run.data_config(), self.stores).table(names)
        keys, images, texts = (table[name].to_pylist() for name in names)
        return dict(zip(keys, zip(images, texts, strict=True), strict=True))

    def neighbour(self, key: str, cosine: float) -> Neighbour:
        """Return a neighbour with its caption and a thumbnail, where there are such."""
        text = self._samples.get(key, (None, None))[1]
        picture, _ = self.picture(key, _THUMBNAIL_PIXELS)
        return Neighbour(key, cosine, " ".join((text or "").split()), picture)

    @property
    def has_pictures(self) -> bool:
        """Whether any sample has an image."""
        return any(image for image, _ in self._samples.values())

    @cached_property
    def _root(self) -> Path | None:
        """Folder of the dataset's files, as the extraction over these samples recorded it."""
        from ...store.runs import run_records

        name = find_samples(self.run.data_config(), self.stores).source.path.name
        for store in self.stores:
            for record in run_records(store.layout):
                if record["samples"] == name and record.get("root"):
                    return Path(str(record["root"]))
        return None

    def picture(self, key: str, pixels: int = _PIXELS) -> tuple[Picture | None, str]:
        """Return a sample's picture, its longer side of so many pixels, or None and the reason."""
        name = self._samples.get(key, (None, None))[0]
        if name is None:
            return None, "The sample has no image."
        if is_uri(name) or self._root is None:
            return None, "The image is not on this machine."
        try:
            decoded = decode_image(read_bytes(self._root, name), name)
        except RowError as error:
            return None, f"The image cannot be shown: {error.message}."
        height, width = decoded.shape[:2]
        image = Image.fromarray(decoded)
        image.thumbnail((pixels, pixels))
        buffer = io.BytesIO()
        image.save(buffer, format="JPEG", quality=_QUALITY, optimize=True)
        return Picture(buffer.getvalue(), width, height), ""
