"""One decoding policy for every recording: what the samples are never depends on the caller.

Any container and sample rate that libsndfile reads; the first channel or the mean of all; NaN and
infinities become zeros and are counted; then resampled to the rate asked for. Files are read in
blocks, and long recordings are kept in temporary files, so that memory does not grow with length.

``L`` samples of one channel, full scale 1. Float files may go beyond full scale; nothing is cut.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import RowAbsent, RowError
from ..records import Row
from .chunks import missing_bytes
from .paths import check_unchanged, confine

if TYPE_CHECKING:
    from numpy.typing import NDArray

AUDIO_POLICY = 2
Channel = Literal["first", "mean"]

# Largest share of samples that may be NaN or infinite.
MAX_BAD_SHARE = 0.01
MAX_CHANNELS = 64
RATES_HZ = (1000, 1_000_000)
# Largest value by format; of other integers one step of 16 bits below 1.
_FULL_SCALE = {
    "FLOAT": 1.0,
    "DOUBLE": 1.0,
    "PCM_U8": 1.0 - 2.0**-7,
    "PCM_S8": 1.0 - 2.0**-7,
    "ULAW": 32124 / 32768,
    "ALAW": 32256 / 32768,
}
# Samples of one block, of all channels together.
_BLOCK_SAMPLES = 1 << 19
# Half length of the resampling filter in samples of the lower rate, and more to spare.
_CONTEXT = 24


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A decoded recording.

    Attributes:
        samples: ``(L,)`` float64 at ``rate_hz``; a memory map where the recording is long.
        rate_hz: Rate of the samples.
        source_rate_hz: Rate of the file.
        source_channels: Channels of the file.
        clipped_share: Share of the file's samples at or beyond full scale.
        repaired_share: Share of the file's samples that were NaN or infinite.
    """

    samples: NDArray[np.float64]
    rate_hz: int
    source_rate_hz: int
    source_channels: int
    clipped_share: float
    repaired_share: float

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.samples) / self.rate_hz


def load_recording(
    row: Row, rate_hz: int, channel: Channel = "first", disk_above_s: float = math.inf
) -> Recording:
    """Return the sample's recording.

    Args:
        row: The sample.
        rate_hz: Rate wanted.
        channel: ``first``, or the ``mean`` of all channels.
        disk_above_s: Longer recordings lie in a temporary file.

    Raises:
        RowAbsent: The sample has no audio.
        RowError: The audio cannot be read; see `read_recording`.
    """
    name = row.sample.audio
    if name is None:
        raise RowAbsent("no_audio", "the sample has no audio")
    path = confine(row.root, name)
    if row.sample.audio_sha256 is not None or row.sample.status != "ok":
        check_unchanged(_digest(path, name), row.sample.audio_sha256, row.sample, name)
    return read_recording(path, name, rate_hz, channel, disk_above_s)


def _digest(path: Path, name: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RowError("unreadable_file", f"'{name}': {error.strerror}") from None


def read_recording(
    path: Path,
    name: str,
    rate_hz: int,
    channel: Channel = "first",
    disk_above_s: float = math.inf,
) -> Recording:
    """Return a decoded file; ``name`` is what messages call it.

    Raises:
        RowError: ``empty_file``, ``decode_error`` (damaged, cut off, unknown format, no samples)
            or ``bad_samples`` (more than 1 % NaN or infinite).
    """
    import soundfile

    try:
        if path.stat().st_size == 0:
            raise RowError("empty_file", f"'{name}' has 0 bytes", "obtain the file again")
        with soundfile.SoundFile(str(path)) as file:
            _check_complete(path, name)
            return _decode(file, name, rate_hz, channel, disk_above_s)
    except (OSError, RuntimeError) as error:
        # libsndfile's errors are RuntimeErrors; their text ends with the cause.
        cause = str(error).rpartition(": ")[2].strip() or type(error).__name__
        hint = "the file is damaged, truncated or no audio; obtain it again"
        raise RowError("decode_error", f"'{name}': {cause}", hint) from None


def _check_complete(path: Path, name: str) -> None:
    missing = missing_bytes(path)
    if missing is not None:
        lacking, promised = missing
        share = f"{lacking:,} of the {promised:,} bytes of samples that its header promises"
        hint = "the file was cut off; obtain it again"
        raise RowError("decode_error", f"'{name}' lacks {share}", hint)


def _decode(file: Any, name: str, rate_hz: int, channel: Channel, disk_above_s: float) -> Recording:
    source_rate, channels = int(file.samplerate), int(file.channels)
    lowest, highest = RATES_HZ
    if not lowest <= source_rate <= highest or channels > MAX_CHANNELS:
        got = f"{source_rate} Hz and {channels} channels"
        raise RowError(
            "decode_error", f"'{name}': header says {got}", "the header is damaged or no audio"
        )
    counts = _Counts()
    blocks = _mono_blocks(file, channel, counts)
    on_disk = file.frames / source_rate > disk_above_s
    samples = _collect(resampled(blocks, source_rate, rate_hz), on_disk)
    if counts.total == 0:
        raise RowError("decode_error", f"'{name}' has no samples", "obtain the file again")
    if counts.bad > MAX_BAD_SHARE * counts.total:
        share = f"{100 * counts.bad / counts.total:.1f} % of the samples are NaN or infinite"
        raise RowError("bad_samples", f"'{name}': {share}", "at most 1 % can be repaired")
    return Recording(
        samples,
        rate_hz,
        source_rate,
        channels,
        counts.clipped / counts.total,
        counts.bad / counts.total,
    )


@dataclass(slots=True)
class _Counts:
    total: int = 0
    bad: int = 0
    clipped: int = 0


def _mono_blocks(file: Any, channel: Channel, counts: _Counts) -> Iterator[NDArray[np.float64]]:
    """Yield finite samples of one channel, block after block, and count."""
    size = _BLOCK_SAMPLES // int(file.channels)
    limit = _FULL_SCALE.get(file.subtype, 1.0 - 2.0**-15)
    while True:
        block = file.read(size, dtype="float64", always_2d=True)
        if len(block) == 0:
            return
        used = block[:, :1] if channel == "first" else block
        bad = ~np.isfinite(used)
        used = np.where(bad, 0.0, used)
        counts.total += used.size
        counts.bad += int(bad.sum())
        counts.clipped += int((np.abs(used) >= limit).sum())
        yield np.ascontiguousarray(used.mean(axis=1) if used.shape[1] > 1 else used[:, 0])


def resampled(
    blocks: Iterator[NDArray[np.float64]], source_hz: int, rate_hz: int
) -> Iterator[NDArray[np.float64]]:
    """Yield blocks at another rate; how the input is cut into blocks does not show.

    Args:
        blocks: Samples at ``source_hz``.
        source_hz: Their rate.
        rate_hz: Rate wanted.
    """
    if source_hz == rate_hz:
        yield from blocks
        return
    from scipy.signal import resample_poly

    common = math.gcd(source_hz, rate_hz)
    up, down = rate_hz // common, source_hz // common
    # A block begins at a multiple of `down`, where input and output coincide.
    context = -(-_CONTEXT * max(up, down) // (up * down)) * down
    held = np.zeros(0)
    before = 0
    for block in blocks:
        held = np.concatenate([held, block])
        ready = (len(held) - before - context) // down * down
        if ready > 0:
            part = resample_poly(held[: before + ready + context], up, down)
            yield part[before // down * up : (before + ready) // down * up]
            keep = min(before + ready, context)
            held = held[before + ready - keep :]
            before = keep
    if len(held) > before:
        yield resample_poly(held, up, down)[before // down * up :]


def _collect(blocks: Iterator[NDArray[np.float64]], on_disk: bool) -> NDArray[np.float64]:
    """Return blocks joined, in memory or in an unnamed temporary file."""
    if not on_disk:
        found = list(blocks)
        return np.concatenate(found) if found else np.zeros(0)
    with tempfile.TemporaryFile() as file:
        count = 0
        for block in blocks:
            file.write(block.astype(np.float64).tobytes())
            count += len(block)
        file.flush()
        if count == 0:
            return np.zeros(0)
        return np.memmap(file, dtype=np.float64, mode="r+", shape=(count,))
