"""From a recording to its 74 columns: the stages in order, and their grids.

``L`` samples at 16 kHz, ``N`` rows, ``T`` sinusoidal frames kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from . import (
    closure,
    creak,
    envelope,
    glottal_flow,
    glottal_shape,
    harmonics,
    pitch,
    pulses,
    wavelets,
)
from . import phase_distortion as hmpd
from .blocks import SAMPLES, allocate, release, spans
from .columns import GROUPS, HOP, NAMES, RATE, interpolate, num_frames, positions, round_away
from .pitch import Pitch
from .residual import polarity, residuals

Signal = NDArray[np.float64]

_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Settings:
    """How the columns are computed.

    Attributes:
        strict: Reproduce the numbers of the original, its defects included.
        rd_version: ``1.4.1`` fits the LF model itself, ``1.4.2`` its conjugate.
        creak: ``h2h1-v1`` or ``zeros``.
        envelope_step: The envelope uses every this many bins of 4096.
        iaif_max_t0: Longest period of inverse filtering in samples; None for no limit.
        windows: Averages of the phase distortion.
        seed: Of the random phases in strict mode.
    """

    strict: bool = False
    rd_version: Literal["1.4.1", "1.4.2"] = "1.4.1"
    creak: Literal["h2h1-v1", "zeros"] = "h2h1-v1"
    envelope_step: int = 4
    iaif_max_t0: int | None = None
    windows: hmpd.Windows = field(default_factory=hmpd.Windows)
    seed: int = 0


@dataclass(slots=True)
class Analysis:
    """The columns of a recording and what was found on the way.

    Attributes:
        features: ``(N, 74)`` float32; a memory map where signals lie on disk.
        valid: ``(N, 10)`` whether each group of columns was measured near the row, in the order
            of `GROUPS`.
        polarity: +1 or -1; 0 where it was undefined.
        median_f0: Hz; NaN without voiced frames.
        seconds: Stage to processor seconds of the calling thread.
        stages: Values of the stages before interpolation, by name.
    """

    features: NDArray[np.float32]
    valid: NDArray[np.bool_]
    polarity: int = 0
    median_f0: float = float("nan")
    seconds: dict[str, float] = field(default_factory=dict)
    stages: dict[str, NDArray] = field(default_factory=dict)


def analyse(
    signal: Signal, settings: Settings, *, on_disk: bool = False, keep_stages: bool = False
) -> Analysis:
    """Return the 74 columns of a recording.

    Args:
        signal: ``(L,)`` at 16 kHz, finite, full scale 1.
        settings: How.
        on_disk: Keep signals in temporary files instead of memory; the result is the same.
        keep_stages: Also return the values of the stages.
    """
    run = _Run(signal, settings, on_disk, keep_stages)
    run.columns()
    return run.result


class _Run:
    """One recording on its way through the stages."""

    def __init__(self, signal: Signal, settings: Settings, on_disk: bool, keep: bool) -> None:
        self.signal, self.settings, self.on_disk, self.keep = signal, settings, on_disk, keep
        self.strict = settings.strict
        rows = num_frames(len(signal))
        self.at = positions(len(signal))
        self.result = Analysis(
            allocate((rows, len(NAMES)), on_disk, np.float32), np.zeros((rows, len(GROUPS)), bool)
        )

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.thread_time()
        yield
        seconds = self.result.seconds
        seconds[stage] = seconds.get(stage, 0.0) + time.thread_time() - start

    def columns(self) -> None:
        """Fill every column."""
        if len(self.at) == 0:
            return
        start, seconds = time.thread_time(), self.result.seconds
        with np.errstate(invalid="ignore"):
            self._source()
            self._frames()
        # Interpolation to the rows, and whatever else no stage counts.
        seconds["rows"] = time.thread_time() - start - sum(seconds.values())

    def _keep(self, **values: NDArray[Any]) -> None:
        """Remember values of stages where they are asked for; those of an hour are not small."""
        if self.keep:
            self.result.stages |= values

    def _put(
        self,
        group: str,
        known_at: NDArray[Any],
        values: NDArray[Any],
        circular: bool = False,
    ) -> None:
        """Interpolate a group of columns to the rows; outside the known range it is 0.

        Angles (``circular``) come unwrapped along time and are wrapped afterwards.
        """
        features = self.result.features[:, GROUPS[group]]
        valid = self.result.valid[:, list(GROUPS).index(group)]
        columns = values if values.ndim == 2 else values[:, None]
        for low, high in spans(len(self.at), _ROWS):
            found = interpolate(self.at[low:high], known_at, columns)
            valid[low:high] = ~np.isnan(found).any(axis=1)
            if circular:
                found = _wrap(found)
            features[low:high] = np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)
            release(self.result.features, values)

    def _source(self) -> None:
        strict, disk, result = self.strict, self.on_disk, self.result
        padded = _at_least_one_frame(self.signal)
        with self._timed("residual"):
            first, second = residuals(padded, (12, 18), strict=strict, on_disk=disk)
        with self._timed("pitch"):
            track = pitch.track(first, strict=strict, on_disk=disk)
            del first
        with self._timed("polarity"):
            result.polarity = polarity(padded, second, strict=strict, on_disk=disk)
        self.sign = result.polarity or 1
        self.upright = _signed(self.signal, self.sign, disk)
        self.pitch, result.median_f0 = track, track.median
        self.residual = _signed(second[_offset(self.signal) :][: len(self.signal)], self.sign, disk)
        self._put_pitch(track)
        self._glottal(track)
        with self._timed("creak"):
            self._creak(track)
        del self.residual

    def _put_pitch(self, track: Pitch) -> None:
        at = track.positions - _offset(self.signal)
        self._put("f0", at, track.fine_f0)
        self._put("vuv", at, track.voiced.astype(np.float64))
        voiced = self.result.features[:, GROUPS["vuv"]]
        voiced[:] = voiced >= 0.5
        self.voiced = voiced[:, 0] > 0
        release(self.result.features)
        self._keep(f0=track.fine_f0, srh_f0=track.f0, srh_val=track.strength, srh_vuv=track.voiced)

    def _glottal(self, track: Pitch) -> None:
        strict, settings = self.strict, self.settings
        with self._timed("instants"):
            found = closure.instants(
                self.upright, self.residual, track, strict=strict, on_disk=self.on_disk
            )
            if len(found) < 2:
                found = found[:0]
        with self._timed("flow"):
            flow, derivative = glottal_flow.inverse_filter(
                self.upright,
                found,
                strict=strict,
                max_t0=settings.iaif_max_t0,
                on_disk=self.on_disk,
            )
        with self._timed("pulses"):
            shapes = pulses.shape_parameters(flow, derivative, found, strict=strict)
        del flow, derivative
        with self._timed("wavelets"):
            dispersion = wavelets.dispersion(self.residual, found, strict=strict)
            slope = wavelets.peak_slope(self.upright, strict=strict)
        self._keep(gci_sample0=found, vq_at_gci=shapes, mdq_at_gci=dispersion, peakslope_raw=slope)
        self._put("glottal", found + 1.0, shapes)
        self._put("mdq", found + (0.0 if strict else 1.0), dispersion)
        self._put("peak_slope", 320 + HOP * np.arange(len(slope), dtype=np.float64), slope)
        self._mask_gaps(found)

    def _mask_gaps(self, instants: NDArray[np.int64]) -> None:
        """Mark pulse measures valid only in voiced rows with an instant within 20 ms."""
        near = np.zeros(len(self.at), bool)
        if len(instants):
            right = np.clip(np.searchsorted(instants, self.at), 0, len(instants) - 1)
            distance = np.minimum(
                np.abs(instants[right] - self.at),
                np.abs(instants[np.maximum(right - 1, 0)] - self.at),
            )
            near = distance <= 0.02 * RATE
        for group in ("glottal", "mdq"):
            self.result.valid[:, list(GROUPS).index(group)] &= near & self.voiced

    def _creak(self, track: Pitch) -> None:
        place = list(GROUPS).index("creak")
        if self.settings.creak == "zeros" or not np.isfinite(track.median):
            return
        value = creak.creakiness(self.upright, self.residual, track.median, on_disk=self.on_disk)
        self.result.features[:, GROUPS["creak"]] = value[:, None]
        release(self.result.features)
        self.result.valid[:, place] = True

    def _frames(self) -> None:
        signal, offset = self.upright, 0
        if len(self.pitch.f0) and len(signal) < pitch.SHORTEST:
            signal, offset = _at_least_one_frame(signal), _offset(signal)
        f0 = self._analysis_f0()
        kept = harmonics.kept(len(signal), f0)
        rows = _Rows(len(kept), self.on_disk)
        frames = harmonics.analyse(signal, f0)
        low = 0
        while True:
            with self._timed("harmonics"):
                batch = next(frames, None)
            if batch is None:
                break
            high = low + len(batch.index)
            self._batch(batch, rows, low, high)
            low = high
        with self._timed("hmpd"):
            means, deviations = hmpd.statistics(
                rows.distortion, self.settings.windows, strict=self.strict, on_disk=self.on_disk
            )
        at = pitch.FIRST + HOP * kept.astype(np.float64) - offset
        self._put_frames(at, rows, means, deviations)
        rd = np.stack([rows.rd, rows.confidence], axis=1)
        self._keep(frames_f0=f0[kept], rd_raw=rd, mcep_raw=rows.mcep)

    def _analysis_f0(self) -> Signal:
        f0 = np.array(self.pitch.f0)
        rest = harmonics.DEFAULT_F0
        if not self.strict and np.isfinite(self.pitch.median):
            rest = self.pitch.median
        f0[f0 <= 0] = rest
        return f0

    def _batch(self, batch: harmonics.Frames, rows: _Rows, low: int, high: int) -> None:
        settings = self.settings
        with self._timed("rd"):
            rows.rd[low:high], rows.confidence[low:high] = glottal_shape.estimate(
                batch, conjugated=settings.rd_version == "1.4.2"
            )
        with self._timed("mcep"):
            rows.mcep[low:high] = _mel_cepstra(batch, settings.envelope_step)
            release(rows.mcep)
        with self._timed("hmpd"):
            generator = np.random.default_rng([settings.seed, low]) if self.strict else None
            rows.distortion[low:high] = hmpd.distortion(batch, generator)
            release(rows.distortion)

    def _put_frames(self, at: Signal, rows: _Rows, means: Signal, deviations: Signal) -> None:
        self._put("rd", at, np.stack([rows.rd, rows.confidence], axis=1))
        self._put("hmpdd", at + 1, deviations)
        _unwrap(means)
        self._put("hmpdm", at + 1, means, circular=True)
        if len(at) == 0:
            return
        if self.strict:
            stretched = round_away(np.linspace(1, len(self.signal), len(at))).astype(np.float64)
            self._put("mcep", stretched, rows.mcep)
            return
        for low, high in spans(len(self.at), _ROWS):
            held = np.clip(self.at[low:high], at[0], at[-1])
            found = interpolate(held, at, rows.mcep)
            # Samples beyond 1e154 have no finite power.
            self.result.features[low:high, GROUPS["mcep"]] = np.nan_to_num(
                found, nan=0.0, posinf=0.0, neginf=0.0
            )
            release(self.result.features, rows.mcep)
        inside = (self.at >= at[0]) & (self.at <= at[-1])
        self.result.valid[:, list(GROUPS).index("mcep")] = inside


class _Rows:
    """What the frames of a recording give before interpolation."""

    def __init__(self, count: int, on_disk: bool) -> None:
        self.rd, self.confidence = np.zeros(count), np.zeros(count)
        self.mcep = allocate((count, envelope.ORDER + 1), on_disk)
        self.distortion = allocate((count, hmpd.BINS), on_disk, np.float32)


def _mel_cepstra(frames: harmonics.Frames, step: int) -> Signal:
    """Return MCEP ``(B, 25)`` of every ``step``-th bin, or of all where the order needs them."""
    result = np.zeros((len(frames.f0), envelope.ORDER + 1))
    long = envelope.envelope_order(frames.f0) > frames.power[:, ::step].shape[1] - 2
    for members, stride in ((np.flatnonzero(~long), step), (np.flatnonzero(long), 1)):
        if len(members):
            level = harmonics.log_level(frames.power[members, ::stride])
            result[members] = envelope.mel_cepstra(level, frames.f0[members])
    return result


def _wrap(angle: Signal) -> Signal:
    return np.asarray(angle - 2 * np.pi * np.round(angle / (2 * np.pi)))


def _unwrap(angles: Signal) -> None:
    """Bring each row ``(T, C)`` within half a turn of the one before, in place."""
    if len(angles) == 0:
        return
    first, before = angles[0].copy(), angles[:1].copy()
    turned = np.zeros_like(before)
    for low, high in spans(len(angles) - 1, _ROWS):
        rows = slice(low + 1, high + 1)
        steps = _wrap(np.diff(np.concatenate([before, angles[rows]]), axis=0))
        before = angles[high : high + 1].copy()
        # Rows are added up one after the other, so that blocks do not show.
        turned = np.cumsum(np.concatenate([turned[-1:], steps]), axis=0)
        angles[rows] = first + turned[1:]
        release(angles)


def _offset(signal: Signal) -> int:
    """Return how many zeros `_at_least_one_frame` puts before a signal."""
    return max(0, pitch.SHORTEST - len(signal)) // 2


def _at_least_one_frame(signal: Signal) -> Signal:
    """Return the signal, centred in zeros where it is too short for a single pitch frame."""
    if len(signal) >= pitch.SHORTEST:
        return signal
    padded = np.zeros(pitch.SHORTEST)
    before = _offset(signal)
    padded[before : before + len(signal)] = signal
    return padded


def _signed(signal: Signal, sign: int, on_disk: bool) -> Signal:
    if sign == 1:
        return signal
    if not on_disk:
        return -signal
    result = allocate(len(signal), on_disk)
    for low, high in spans(len(signal), SAMPLES):
        np.negative(signal[low:high], out=result[low:high])
        release(signal, result)
    return result
