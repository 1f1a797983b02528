"""Computational sequences (``.csd``, HDF5): several files, or a folder of them, make one dataset.

One file holds the labels: their intervals cut each video into samples ``video[k]``. Where a file
holds words, each other stream is averaged over every word of a sample (plain mean of the frames
that share time with the word, zeros where none does; the pause ``sp`` is no word). Without words a
stream's frames within the label's interval are kept as they are. A sample that some stream has no
frame for is kept as a row with the status ``dropped``.

Labels of width 1 are a sentiment, those of width 7 a sentiment and six emotions, each of them there
when above 0. Splits come from ``--splits`` (a JSON file, split to video ids); without it they are
made by video, which are not the published folds.

``W`` words, ``n`` frames of a video, ``D`` width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DatasetError
from ..manifest import Splits, Task
from ..records import Failure, FeatureSpec, LabelValue, SourceRow
from ._hdf5 import ComputationalSequence, by_name, open_sequence, overlapping
from ._labels import OUT_OF_RANGE, binary_task, in_range, number, sentiment_task
from ._parsed import EMPTY, OFFICIAL, ForeignFeature, Options, Parsed, Treated, finite
from ._sequences import MODALITIES

VERSION = 1
FOLDER = True
TAKES_FOLDS = True
SUFFIXES = (".csd", ".hdf5", ".h5")
PAUSE = "sp"
EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")
GENERATED = Splits(official=False, val=0.1, test=0.2)


@dataclass(frozen=True, slots=True)
class Segment:
    """One sample: a label's interval, and the words in it.

    Attributes:
        video: Video id.
        number: Number of the label's interval in its video.
        begin, end: Seconds.
        labels: (1,) or (7,).
        words: W words; None where the dataset has no word stream.
        intervals: (W, 2) seconds of the words, within begin and end; without a word stream one
            row, begin and end.
    """

    video: str
    number: int
    begin: float
    end: float
    labels: np.ndarray
    words: tuple[str, ...] | None
    intervals: np.ndarray

    @property
    def key(self) -> str:
        """Key of the sample, as the published tools write it."""
        return f"{self.video}[{self.number}]"


def read(files: Sequence[Path], options: Options) -> Parsed:
    """Return the samples of a set of computational sequences.

    Raises:
        DatasetError: A file is no such sequence, or there are no labels.
        MissingDependency: h5py is not installed.
    """
    opened = [open_sequence(path) for path in files]
    labels = _only(opened, "labels", "labels", needed=True)
    words = _only(opened, "words", "words", needed=False)
    assert labels is not None
    segments = _segments(labels, words)
    streams = dict(by_name(opened))
    if not streams:
        raise DatasetError("no stream of numbers among the files", "add COVAREP, Facet, … files")
    if len(streams) < sum(item.kind == "numbers" for item in opened):
        raise DatasetError("two of the files hold a sequence of the same name", "pass one of them")
    missing = {name: _without_frames(stream, segments) for name, stream in streams.items()}
    features = [_feature(name, stream, segments) for name, stream in streams.items()]
    if words is not None:
        features.append(_word_intervals(segments))
    tasks, columns, outside = _labels(segments, labels.width)
    rows = _rows(segments, columns, outside, missing, options)
    notes = _notes(opened, words, options)
    groups = [segment.video for segment in segments]
    return Parsed(rows, features, tasks, groups, OFFICIAL if options.folds else GENERATED, notes)


def _only(
    opened: Sequence[ComputationalSequence], kind: str, name: str, *, needed: bool
) -> ComputationalSequence | None:
    found = [item for item in opened if item.kind == kind]
    if len(found) > 1:
        listed = ", ".join(item.path.name for item in found)
        raise DatasetError(f"{len(found)} of the files hold {name}: {listed}", "pass one of them")
    if needed and not found:
        listed = ", ".join(f"{item.path.name} ({item.name})" for item in opened)
        raise DatasetError(f"none of the files holds {name}: {listed}", "its intervals are needed")
    return found[0] if found else None


def _segments(labels: ComputationalSequence, words: ComputationalSequence | None) -> list[Segment]:
    found = []
    for video in labels.videos:
        values, times = labels.values(video), labels.intervals(video)
        spoken, clock = _words(words, video)
        for index in np.argsort(times[:, 0], kind="stable"):
            begin, end = (float(value) for value in times[index])
            inside = overlapping(clock, begin, end)
            cut = np.clip(clock[inside], begin, end)
            said = tuple(np.asarray(spoken, object)[inside].tolist())
            alone = np.array([[begin, end]])
            found.append(
                Segment(
                    video,
                    int(index),
                    begin,
                    end,
                    values[index],
                    None if words is None else said,
                    alone if words is None else cut,
                )
            )
    if not found:
        raise DatasetError(f"{labels.path.name}: no label in any video")
    return found


def _words(words: ComputationalSequence | None, video: str) -> tuple[list[str], np.ndarray]:
    """Return the words of a video in time order, without pauses, with their intervals (W, 2)."""
    if words is None or video not in words.videos:
        return [], np.zeros((0, 2))
    times = words.intervals(video)
    spoken = words.symbols(video)
    order = np.argsort(times[:, 0], kind="stable") if len(times) else np.zeros(0, np.int64)
    kept = [int(index) for index in order if spoken[index].lower() != PAUSE]
    return [spoken[index] for index in kept], times[kept].reshape(-1, 2)


def _without_frames(stream: ComputationalSequence, segments: Sequence[Segment]) -> set[str]:
    """Return the keys of samples that no frame of this stream falls into."""
    known = set(stream.videos)
    return {
        segment.key
        for segment in segments
        if segment.video not in known
        or not any(
            overlapping(stream.intervals(segment.video), begin, end).any()
            for begin, end in segment.intervals
        )
    }


def _feature(
    name: str, stream: ComputationalSequence, segments: Sequence[Segment]
) -> ForeignFeature:
    known = set(stream.videos)
    treated = Treated()
    for video in sorted({segment.video for segment in segments} & known):
        with np.errstate(over="ignore"):
            treated.count(stream.values(video).astype(np.float32, copy=False))
    gaps = sum(_gaps(stream, segment) for segment in segments if segment.video in known)

    def value(row: int) -> np.ndarray | Failure:
        segment = segments[row]
        if segment.video not in known:
            return EMPTY
        found = steps(stream, segment)
        return finite(found, "float32") if len(found) else EMPTY

    modality = MODALITIES.get(stream.role or "", "image")
    spec = FeatureSpec(name, modality, (None, stream.width), "float32")
    facts = {
        "sequence": stream.name,
        "lengths": "words" if any(item.words is not None for item in segments) else "intervals",
        "words_without_frames": gaps,
    }
    return ForeignFeature(spec, value, treated, facts)


def _gaps(stream: ComputationalSequence, segment: Segment) -> int:
    if segment.words is None:
        return 0
    times = stream.intervals(segment.video)
    return sum(not overlapping(times, begin, end).any() for begin, end in segment.intervals)


def steps(stream: ComputationalSequence, segment: Segment) -> np.ndarray:
    """Return a stream's frames of a sample: (W, D) means over words, or (n, D) as they are.

    Values that are not finite are 0 in the means.
    """
    times = stream.intervals(segment.video)
    values = stream.values(segment.video)
    masks = [overlapping(times, begin, end) for begin, end in segment.intervals]
    if segment.words is None:
        inside = np.flatnonzero(masks[0])
        return finite(values[inside[np.argsort(times[inside, 0], kind="stable")]], "float32")
    if not any(mask.any() for mask in masks):
        return values[:0]
    empty = np.zeros(values.shape[1], np.float32)
    means = [
        finite(values[mask], "float32").mean(axis=0, dtype=np.float64) if mask.any() else empty
        for mask in masks
    ]
    return np.asarray(means, np.float32)


def _word_intervals(segments: Sequence[Segment]) -> ForeignFeature:
    """Return begin and end of each word, in seconds of its video."""

    def value(row: int) -> np.ndarray | Failure:
        found = segments[row].intervals
        return found.astype(np.float32) if len(found) else EMPTY

    columns = ("begin_s", "end_s")
    spec = FeatureSpec("word_intervals", "text", (None, 2), "float32", columns=columns)
    return ForeignFeature(spec, value, Treated(), {"lengths": "words"})


def _labels(
    segments: Sequence[Segment], width: int
) -> tuple[dict[str, Task], dict[str, list[LabelValue]], list[bool]]:
    if width not in (1, 1 + len(EMOTIONS)):
        raise DatasetError(f"labels are {width} wide, expected 1 (sentiment) or 7 (with emotions)")
    values = np.stack([segment.labels for segment in segments]).astype(np.float64)
    sentiment, outside = in_range("sentiment", values[:, 0].tolist(), -3, 3)
    tasks: dict[str, Task] = {"sentiment": sentiment_task(-3, 3)}
    columns: dict[str, list[LabelValue]] = {"sentiment": sentiment}
    for index, name in enumerate(EMOTIONS[: width - 1], start=1):
        found = [number(value) for value in values[:, index]]
        tasks[name] = binary_task(name)
        columns[name] = [None if value is None else int(value > 0) for value in found]
    return tasks, columns, outside


def _rows(
    segments: Sequence[Segment],
    columns: Mapping[str, Sequence[LabelValue]],
    outside: Sequence[bool],
    missing: Mapping[str, set[str]],
    options: Options,
) -> list[SourceRow]:
    split_of = _split_of(options.folds)
    rows = []
    for index, segment in enumerate(segments):
        reasons = [f"no frame of '{name}'" for name, keys in missing.items() if segment.key in keys]
        if segment.words is not None and not segment.words:
            reasons = ["no word in its interval"]
        if split_of and segment.video not in split_of:
            reasons.insert(0, "its video is in no fold")
        flags = (OUT_OF_RANGE,) if outside[index] else ()
        rows.append(
            SourceRow(
                segment.key,
                text=" ".join(segment.words or ()),
                split=split_of.get(segment.video, "train") if split_of else None,
                labels={task: values[index] for task, values in columns.items()},
                labels_raw={"labels": " ".join(str(float(item)) for item in segment.labels)},
                status="dropped" if reasons else "ok",
                reason="; ".join(reasons),
                flags=flags,
                origin=f"{segment.video} {segment.begin:.3f}-{segment.end:.3f} s",
                extra={"video": segment.video, "begin_s": segment.begin, "end_s": segment.end},
            )
        )
    return rows


def _split_of(folds: Mapping[str, Sequence[str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for split, videos in folds.items():
        for video in videos:
            if found.setdefault(video, split) != split:
                raise DatasetError(f"video '{video}' is in two splits: {found[video]} and {split}")
    return found


def _notes(
    opened: Sequence[ComputationalSequence], words: ComputationalSequence | None, options: Options
) -> list[str]:
    notes = [
        f"{item.path.name}: {item.name} (not read)" for item in opened if item.kind == "symbols"
    ]
    if words is None:
        notes.append("no file of words: streams are cut at the labels' intervals, not aligned")
    if not options.folds:
        notes.append("splits are made by video; for the published folds pass --splits FILE")
    return notes
