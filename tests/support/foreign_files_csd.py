"""Small computational sequences (HDF5) in the published layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

Video = tuple[np.ndarray, np.ndarray]


def write_sequence(path: Path, root: str, videos: Mapping[str, Video]) -> Path:
    """Write one sequence: video to features (n, D) and intervals (n, 2)."""
    import h5py

    with h5py.File(path, "w") as file:
        file.create_group(f"{root}/metadata")
        for video, (features, intervals) in videos.items():
            file[f"{root}/data/{video}/features"] = features
            file[f"{root}/data/{video}/intervals"] = np.asarray(intervals, np.float64)
    return path


def words(said: Sequence[str]) -> np.ndarray:
    """Return words as (n, 1) bytes."""
    return np.array([[word.encode()] for word in said])


def frames(end_s: float, hop_s: float, width: int, seed: int) -> Video:
    """Return frames that follow each other without gaps."""
    count = round(end_s / hop_s)
    starts = np.arange(count) * hop_s
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((count, width)).astype(np.float32)
    return values, np.stack([starts, starts + hop_s], axis=1)


def small_dataset(folder: Path) -> dict[str, Video]:
    """Write words, labels, audio and video frames of two videos; return the audio."""
    folder.mkdir(parents=True, exist_ok=True)
    spoken = {
        "abc": (words(["this", "sp", "film"]), np.array([[0, 1], [1, 1.5], [1.5, 3]])),
        "xyz": (words(["never", "again", "ever"]), np.array([[0, 1], [1, 2], [2.5, 3]])),
    }
    labels = {
        "abc": (np.array([[2.4]]), np.array([[0, 3]])),
        "xyz": (np.array([[-1.0], [0.0], [1.0]]), np.array([[0, 2], [2, 4], [8, 9]])),
    }
    audio = {"abc": frames(3, 0.1, 4, 1), "xyz": frames(4, 0.1, 4, 2)}
    faces = {"abc": frames(3, 0.5, 3, 3), "xyz": frames(4, 0.5, 3, 4)}
    audio["xyz"][0][3, 1] = -np.inf
    write_sequence(folder / "words.csd", "words", spoken)
    write_sequence(folder / "labels.csd", "Opinion Segment Labels", labels)
    write_sequence(folder / "covarep.csd", "CMU_COVAREP", audio)
    write_sequence(folder / "facet.csd", "FACET 4.2", faces)
    return audio
