"""Samples that are intervals of a recording: analysed with the whole of it, cut afterwards.

What a recording is normalised by (polarity, median pitch, tuning, loudest frame) is then the same
for all of its clips, and a row does not depend on where its clip was cut.

**Which rows belong to a clip.** ``start_s`` and ``end_s`` are rounded to whole samples at the rate
of the analysis, and row ``i`` of the recording, measured around sample ``first + hop * i``, belongs
to the clip when ``start <= first + hop * i < end``. Clips that meet share no row and lose none. The
first row of a clip lies less than one hop after its beginning. An interval that goes beyond the end
of the recording ends there; one that begins there or later is a failure.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ..errors import RowError
from ..records import Row, Sample
from .audio import Channel, Recording, load_recording

Value = TypeVar("Value")
# Decoding threads may be in two recordings at the border between them.
_RECORDINGS = 2


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording and which part of it a sample is.

    Attributes:
        recording: The whole recording; clips of one file share it.
        start_s, end_s: The part; None for the recording's own ends.
    """

    recording: Recording
    start_s: float | None = None
    end_s: float | None = None

    @property
    def whole(self) -> bool:
        """Whether the sample is the whole recording."""
        return self.start_s is None and self.end_s is None

    def rows(self, count: int, first: int, hop: int) -> slice:
        """Return which of ``count`` rows of the recording belong to the clip.

        Args:
            count: Rows of the whole recording.
            first: Sample around which row 0 was measured.
            hop: Samples between rows.
        """
        start, end = self.samples()
        low, high = (min(max(-(-(at - first) // hop), 0), count) for at in (start, end))
        return slice(0 if self.start_s is None else low, count if self.end_s is None else high)

    def samples(self) -> tuple[int, int]:
        """Return the interval in samples of the recording, the end not included."""
        rate, length = self.recording.rate_hz, len(self.recording.samples)
        start = 0 if self.start_s is None else math.floor(self.start_s * rate + 0.5)
        end = length if self.end_s is None else math.floor(self.end_s * rate + 0.5)
        return min(start, length), min(end, length)


@dataclass
class Shared(Generic[Value]):
    """Keeps the last few results, so that clips of one recording share them; safe for threads.

    Attributes:
        size: Results kept.
    """

    size: int
    _kept: OrderedDict[object, Value | RowError] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: object, make: Callable[[], Value]) -> Value:
        """Return ``make()`` or what it gave, or raised, for the same key before.

        Raises:
            RowError: What ``make`` raises.
        """
        with self._lock:
            if key not in self._kept:
                self._kept[key] = _made(make)
                while len(self._kept) > self.size:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            found = self._kept[key]
        if isinstance(found, RowError):
            raise found
        return found


def _made(make: Callable[[], Value]) -> Value | RowError:
    try:
        return make()
    except RowError as error:
        return error


@dataclass
class ClipReader:
    """Reads recordings, each once where rows in a row are clips of it.

    Attributes:
        rate_hz, channel, disk_above_s: See `media.audio.load_recording`.
    """

    rate_hz: int
    channel: Channel = "first"
    disk_above_s: float = math.inf
    _recordings: Shared[Recording] = field(default_factory=lambda: Shared(_RECORDINGS))

    def load(self, row: Row) -> Clip:
        """Return the sample's recording and its part of it.

        Raises:
            RowAbsent: The sample has no audio.
            RowError: The audio cannot be read, or the interval lies outside it.
        """
        sample = row.sample
        if sample.start_s is None and sample.end_s is None:
            return Clip(self._read(row))
        name = (sample.audio, sample.audio_sha256, sample.status, str(row.root))
        clip = Clip(
            self._recordings.get(name, lambda: self._read(row)), sample.start_s, sample.end_s
        )
        _check(clip, sample)
        return clip

    def _read(self, row: Row) -> Recording:
        return load_recording(row, self.rate_hz, self.channel, self.disk_above_s)


def _check(clip: Clip, sample: Sample) -> None:
    start, end = clip.samples()
    if start >= end:
        stop = "its end" if sample.end_s is None else f"{sample.end_s:g} s"
        interval = f"{sample.start_s or 0.0:g} s to {stop}"
        message = f"'{sample.audio}' lasts {clip.recording.seconds:.3f} s, the sample is {interval}"
        raise RowError("clip_outside_recording", message, "correct start_s and end_s")
