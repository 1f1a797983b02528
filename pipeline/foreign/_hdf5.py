"""One computational sequence in an HDF5 file: ``/<root>/data/<video>/{features, intervals}``.

The root's name is found, not assumed. ``n`` entries of a video, ``D`` width.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import DatasetError
from ..store.optional import need
from ._keys import as_text
from ._recognise import HDF5_MAGIC

MAX_BYTES = 4 * 2**30
"""A compressed array can be far larger than its file: above this it is refused unread."""

Kind = Literal["words", "symbols", "labels", "numbers"]
_ROLES = {
    "text": ("glove", "wordvector", "word2vec"),
    "audio": ("covarep", "opensmile", "is09", "eb10", "acoustic", "audio"),
    "vision": ("facet", "openface", "visual", "vision"),
}


@dataclass
class ComputationalSequence:
    """One file, open for reading.

    Attributes:
        name: Name of its root.
        kind: Words (bytes, one per interval), other symbols such as phones, labels, or numbers.
        videos: Names of the videos in it.
        width: D.
    """

    path: Path
    name: str = ""
    kind: Kind = "numbers"
    videos: tuple[str, ...] = ()
    width: int = 1
    _file: Any = None
    _data: Any = None
    _last: dict[str, Any] = field(default_factory=dict)

    def _find_root(self, library: Any) -> None:
        roots = [name for name in self._file if self._is_root(library, name)]
        if len(roots) != 1:
            names = ", ".join(list(self._file)[:6]) or "nothing"
            raise DatasetError(
                f"{self.path.name}: found {len(roots)} computational sequences, expected one",
                f"a group with 'data' in it; the file holds {names}",
            )
        self.name = roots[0]
        self._data = self._file[self.name]["data"]
        self.videos = tuple(sorted(self._data))
        if not self.videos:
            raise DatasetError(f"{self.path.name}: '{self.name}' holds no video")
        first = self._dataset(library, self.videos[0], "features")
        self.width = int(first.shape[1]) if len(first.shape) > 1 else 1
        self.kind = self._kind(first)

    def _is_root(self, library: Any, name: str) -> bool:
        self._own_link(library, self._file, name)
        found = self._file[name]
        return isinstance(found, library.Group) and "data" in found

    def _own_link(self, library: Any, group: Any, name: str) -> None:
        """Refuse links out of the file: they would read other files of this machine."""
        if not isinstance(group.get(name, getlink=True), library.HardLink):
            raise DatasetError(f"{self.path.name}: '{name}' is a link, expected data in the file")

    def _dataset(self, library: Any, video: str, part: str) -> Any:
        self._own_link(library, self._data, video)
        group = self._data[video]
        if not isinstance(group, library.Group) or part not in group:
            raise DatasetError(f"{self.path.name}: '{video}' lacks '{part}'")
        self._own_link(library, group, part)
        found = group[part]
        if not isinstance(found, library.Dataset) or found.is_virtual or found.external:
            message = f"{self.path.name}: '{part}' of '{video}' is no array in the file"
            raise DatasetError(message)
        if found.size * found.dtype.itemsize > MAX_BYTES:
            message = f"{self.path.name}: '{part}' of '{video}' has {found.size} values"
            raise DatasetError(message, f"more than {MAX_BYTES} bytes for one video are refused")
        return found

    def _kind(self, first: Any) -> Kind:
        folded = re.sub(r"[^a-z0-9]", "", self.name.lower())
        if first.dtype.kind in "SO":
            return "words" if "word" in folded else "symbols"
        return "labels" if "label" in folded or "opinion" in folded else "numbers"

    @property
    def role(self) -> str | None:
        """``text``, ``audio`` or ``vision``, by the name of the root."""
        folded = re.sub(r"[^a-z0-9]", "", self.name.lower())
        return next((r for r, parts in _ROLES.items() if any(p in folded for p in parts)), None)

    @property
    def plain_name(self) -> str:
        """Name of the root as the name of a feature."""
        return re.sub(r"[^a-z0-9]+", "_", self.name.lower()).strip("_") or "stream"

    def intervals(self, video: str) -> np.ndarray:
        """Return (n, 2) float64 seconds: begin and end."""
        return self._read(video)[1]

    def values(self, video: str) -> np.ndarray:
        """Return (n, D) numbers in the file's dtype."""
        return self._read(video)[0]

    def symbols(self, video: str) -> list[str]:
        """Return n words."""
        return [as_text(item) for item in self._read(video)[0].ravel()]

    def _read(self, video: str) -> tuple[np.ndarray, np.ndarray]:
        # Rows come video after video, so that remembering one of them is enough.
        if self._last.get("video") != video:
            library = need("h5py")
            raw = np.asarray(self._dataset(library, video, "features")[()])
            times = np.asarray(self._dataset(library, video, "intervals")[()])
            self._check(video, raw, times)
            values = raw.reshape(len(raw), -1) if raw.size else raw.reshape(0, self.width)
            times = times.astype(np.float64)
            if len(times) != len(values):
                message = f"{self.path.name}: '{video}' has entries without a value"
                raise DatasetError(message, "expected (n, D) features and (n, 2) intervals")
            self._last = {"video": video, "found": (values, times)}
        found: tuple[np.ndarray, np.ndarray] = self._last["found"]
        return found

    def _check(self, video: str, values: np.ndarray, times: np.ndarray) -> None:
        where = f"{self.path.name}: '{video}'"
        known = "SO" if self.kind in ("words", "symbols") else "fiu"
        if values.ndim == 0 or values.dtype.kind not in known:
            expected = "texts" if known == "SO" else "numbers"
            raise DatasetError(f"{where} has features of type {values.dtype}, expected {expected}")
        if times.ndim != 2 or times.shape[1] != 2 or len(times) != len(values):
            shape = times.shape
            raise DatasetError(f"{where} has {len(values)} entries and intervals of shape {shape}")
        if times.dtype.kind not in "fiu" or not np.isfinite(times).all():
            raise DatasetError(f"{where} has intervals that are no numbers of seconds")
        if known == "fiu" and values.size and values[0].size != self.width:
            message = f"{where} is {values[0].size} wide"
            raise DatasetError(message, f"others are {self.width}")


def open_sequence(path: Path) -> ComputationalSequence:
    """Open one file; it is closed when nothing refers to it any more.

    Raises:
        DatasetError: It is no computational sequence.
        MissingDependency: h5py is not installed.
    """
    check_magic(path)
    library = need("h5py")
    found = ComputationalSequence(path)
    try:
        found._file = library.File(path, "r")
    except OSError as error:
        raise DatasetError(f"{path.name}: not readable as HDF5: {error}") from None
    found._find_root(library)
    return found


def check_magic(path: Path) -> None:
    """Refuse what is no HDF5 file.

    Raises:
        DatasetError: Saying so.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(len(HDF5_MAGIC))
    except OSError as error:
        raise DatasetError(f"{path.name}: {error.strerror or error}") from None
    if head != HDF5_MAGIC:
        hint = "a pickle? try --as mmsa, mult or multibench"
        raise DatasetError(f"{path.name}: not 'csd', it is no HDF5 file", hint)


def overlapping(intervals: np.ndarray, begin: float, end: float) -> np.ndarray:
    """Return which of (n, 2) intervals share more than a microsecond with begin to end, (n,)."""
    epsilon = 1e-6
    return (intervals[:, 1] - begin > epsilon) & (end - intervals[:, 0] > epsilon)


def by_name(
    sequences: Sequence[ComputationalSequence],
) -> Iterator[tuple[str, ComputationalSequence]]:
    """Yield each stream of numbers with its feature name.

    It is ``text``, ``audio`` or ``vision`` where one stream only can play that role, else the
    name of the root.
    """
    found = [item for item in sequences if item.kind == "numbers"]
    for item in found:
        alone = sum(other.role == item.role for other in found) == 1
        yield (item.role if item.role and alone else item.plain_name), item
