"""Shape parameter Rd of the glottal source from phases.

Degottex, Roebel, Rodet, Phase minimization for glottal model estimation, IEEE TASLP 19, 2011;
source model: Fant, Liljencrants, Lin 1985; Fant 1995. ``B`` frames, ``n`` harmonics with DC.

The error of a model with Rd compares P_k = arg M_k - mp_k(M) - arg G_k(Rd) + mp_k(G(Rd)), where
``mp`` is the minimum phase; phases of G do not depend on F0, so the last two are a table over Rd
for each n.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cepstra import minimum_phase
from .columns import RATE
from .harmonics import Frames

Signal = NDArray[np.float64]

LOWEST = 0.3
HIGHEST = 2.5
_STEP = 0.01
_GRID = LOWEST + _STEP * np.arange(round((HIGHEST - LOWEST) / _STEP) + 1)
_TERMS = 7
_TOLERANCE = 0.01
_GOLDEN = 0.5 * (3.0 - np.sqrt(5.0))
_ROUNDS = 60
# Harmonics with DC of a frame at 50 Hz, and the most that are fitted with the matrix of all
# minimum phases; only frames at 1 Hz, of strict mode, have more.
_USUAL = 161
_LARGEST = 1024


def lf_timing(rd: Signal) -> tuple[Signal, Signal, Signal]:
    """Return tp, te, ta of the LF model with T0 = 1 by Fant's regression."""
    ra = (-1 + 4.8 * rd) / 100
    rk = (22.4 + 11.8 * rd) / 100
    rg = 1 / (4 * ((0.11 * rd / (0.5 + 1.2 * rk)) - ra) / rk)
    tp = 1 / (2 * rg)
    return tp, tp * (1 + rk), ra


def lf_parameters(rd: Signal) -> tuple[Signal, Signal]:
    """Return epsilon of the return phase and the growth ``a``, each like ``rd``.

    epsilon solves epsilon ta = 1 - exp(-epsilon (1 - te)); ``a`` makes the net area zero.
    """
    tp, te, ta = lf_timing(rd)
    epsilon = 1 / ta
    for _ in range(100):
        decay = np.exp(-epsilon * (1 - te))
        epsilon -= (epsilon * ta - 1 + decay) / (ta - (1 - te) * decay)
    rest = _return_area(epsilon, te, ta)
    # At the top the exponent must not overflow; no Rd in range needs more.
    low, high = np.full_like(rd, -100.0), np.full_like(rd, 200.0)
    for _ in range(100):
        middle = (low + high) / 2
        positive = _open_area(middle, tp, te) + rest > 0
        low, high = np.where(positive, middle, low), np.where(positive, high, middle)
    return epsilon, (low + high) / 2


def _open_area(a: Signal, tp: Signal, te: Signal) -> Signal:
    """Return the area of the open phase, whose value at te is -1."""
    w = np.pi / tp
    height = -np.exp(-a * te) / np.sin(w * te)
    area = np.exp(a * te) * (a * np.sin(w * te) - w * np.cos(w * te)) + w
    return np.asarray(height * area / (a**2 + w**2))


def _return_area(epsilon: Signal, te: Signal, ta: Signal) -> Signal:
    decay = np.exp(-epsilon * (1 - te))
    return np.asarray(-((1 - decay) / epsilon - (1 - te) * decay) / (epsilon * ta))


def lf_spectrum(rd: NDArray[Any], harmonics: NDArray[np.int64]) -> NDArray[np.complex128]:
    """Return Fourier coefficients of the LF derivative, ``(R, K)``, for ``rd`` ``(R,)``."""
    tp, te, ta = (part[:, None] for part in lf_timing(rd))
    epsilon, a = (part[:, None] for part in lf_parameters(rd))
    s = 2j * np.pi * harmonics
    w = np.pi / tp
    height = -np.exp(-a * te) / np.sin(w * te)
    p = a - s
    opening = np.exp(p * te) * (p * np.sin(w * te) - w * np.cos(w * te)) + w
    opening = height * opening / (p**2 + w**2)
    decay = np.exp(-epsilon * (1 - te))
    falling = np.exp(-s * te) * (1 - np.exp(-(epsilon + s) * (1 - te))) / (epsilon + s)
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.where(s == 0, 1 - te, (np.exp(-s * te) - np.exp(-s)) / s)
    spectrum: NDArray[np.complex128] = opening - (falling - decay * level) / (epsilon * ta)
    return spectrum


@functools.lru_cache(maxsize=512)
def _minimum_phase_terms(count: int) -> Signal:
    """Return the matrix ``(n, 7)`` from log amplitudes to the differences of minimum phases.

    DC and the last amplitude count as their neighbours.
    """
    terms = _differences(minimum_phase(np.eye(count)))
    terms[1] += terms[0]
    terms[-2] += terms[-1]
    terms[[0, -1]] = 0.0
    return terms


def _minimum_phase_part(level: Signal) -> Signal:
    """Return `_differences` of the minimum phases of log amplitudes ``(B, n)``."""
    count = level.shape[1]
    if count <= _LARGEST:
        return np.asarray(level @ _minimum_phase_terms(count))
    held = np.concatenate([level[:, 1:2], level[:, 1:-1], level[:, -2:-1]], axis=1)
    return _differences(minimum_phase(held))


def _differences(phase: Signal) -> Signal:
    return phase[:, 2 : _TERMS + 2] - phase[:, 1 : _TERMS + 1] - phase[:, 1:2]


@functools.lru_cache(maxsize=4)
def _model(conjugated: bool, count: int) -> tuple[Signal, Signal]:
    """Return phase differences ``(R, 7)`` and log amplitudes ``(R, n)`` of G over the grid."""
    spectrum = lf_spectrum(_GRID, np.arange(count))
    sign = -1.0 if conjugated else 1.0
    level = np.log(np.maximum(np.abs(spectrum), 1e-300))
    return _differences(sign * np.angle(spectrum[:, : _TERMS + 2])), level


@functools.lru_cache(maxsize=512)
def _table(count: int, conjugated: bool) -> Signal:
    """Return P_(k+1) - P_k - P_1 of the model, k = 1 to 7, over the grid of Rd, ``(R, 7)``."""
    phase, level = _model(conjugated, max(count, _LARGEST))
    return np.unwrap(phase - _minimum_phase_part(level[:, :count]), axis=0)


def prepare(conjugated: bool) -> None:
    """Fill the tables for every number of harmonics between 50 and 500 Hz."""
    for count in range(_TERMS + 2, _USUAL + 1):
        _table(count, conjugated)


def estimate(frames: Frames, *, conjugated: bool) -> tuple[Signal, Signal]:
    """Return Rd and its confidence per frame, ``(B,)`` each; both 0 in frames without energy.

    Args:
        frames: Harmonics.
        conjugated: Fit the conjugate of the model, as the original does since 2016.
    """
    rd, confidence = np.zeros(len(frames.f0)), np.zeros(len(frames.f0))
    highest = np.floor(RATE / 2 / np.maximum(frames.spacing, 1.0)).astype(np.int64)
    counts = 1 + np.minimum(frames.count, highest)
    used = np.flatnonzero(~frames.silent & (counts >= _TERMS + 2))
    if len(used) == 0:
        return rd, confidence
    sizes, which = np.unique(counts[used], return_inverse=True)
    measured = _differences(frames.phase[used, : _TERMS + 2])
    for place, size in enumerate(sizes):
        rows = np.flatnonzero(which == place)
        measured[rows] -= _minimum_phase_part(frames.log_amplitude[used[rows], :size])
    tables = np.stack([_table(int(size), conjugated) for size in sizes])
    rd[used], error = _search(measured, tables, which)
    confidence[used] = 1 - np.sqrt(error) / np.pi
    return rd, confidence


def _errors(measured: Signal, tables: Signal, which: NDArray[np.int64], rd: Signal) -> Signal:
    """Return the mean squared wrapped difference of each row at its own Rd, ``(B,)``."""
    place = (rd - LOWEST) / _STEP
    low = np.clip(place.astype(np.int64), 0, len(_GRID) - 2)
    share = (place - low)[:, None]
    model = tables[which, low] * (1 - share) + tables[which, low + 1] * share
    difference = measured - model
    difference -= 2 * np.pi * np.round(difference / (2 * np.pi))
    return np.asarray(np.einsum("bk,bk->b", difference, difference) / difference.shape[1])


def _search(measured: Signal, tables: Signal, which: NDArray[np.int64]) -> tuple[Signal, Signal]:
    """Return Rd and error at the minimum each row is led to by Brent's bounded search, ``(B,)``.

    Brent, Algorithms for minimization without derivatives, 1973, chapter 5, for many rows at once.
    """
    rows = len(measured)
    search = _Brent(rows)
    search.start(_errors(measured, tables, which, search.x))
    active = np.arange(rows)
    for _ in range(_ROUNDS):
        active = active[search.unfinished(active)]
        if len(active) == 0:
            break
        trial = search.propose(active)
        found = _errors(measured[active], tables, which[active], trial)
        search.accept(active, trial, found)
    return search.x, search.fx


class _Brent:
    """State of Brent's search: best x, second w, previous v, bounds a and b, last steps d and e."""

    def __init__(self, rows: int) -> None:
        self.a, self.b = np.full(rows, LOWEST), np.full(rows, HIGHEST)
        self.x = self.a + _GOLDEN * (self.b - self.a)
        self.w, self.v = self.x.copy(), self.x.copy()
        self.d, self.e = np.zeros(rows), np.zeros(rows)

    def start(self, fx: Signal) -> None:
        """Take the errors at the first points."""
        self.fx, self.fw, self.fv = fx, fx.copy(), fx.copy()

    def _tolerance(self, rows: NDArray[np.int64]) -> Signal:
        return np.asarray(np.sqrt(2.2e-16) * np.abs(self.x[rows]) + _TOLERANCE / 3)

    def unfinished(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which rows have not converged."""
        middle = (self.a[rows] + self.b[rows]) / 2
        limit = 2 * self._tolerance(rows) - (self.b[rows] - self.a[rows]) / 2
        return np.asarray(np.abs(self.x[rows] - middle) > limit)

    def propose(self, rows: NDArray[np.int64]) -> Signal:
        """Return the next points: by a parabola where it can be trusted, else by golden section."""
        a, b, x, w, v = (part[rows] for part in (self.a, self.b, self.x, self.w, self.v))
        fx, fw, fv = self.fx[rows], self.fw[rows], self.fv[rows]
        tolerance, middle, before = self._tolerance(rows), (a + b) / 2, self.e[rows]
        r, q = (x - w) * (fx - fv), (x - v) * (fx - fw)
        p = (x - v) * q - (x - w) * r
        q = 2 * (q - r)
        p, q = np.where(q > 0, -p, p), np.abs(q)
        trusted = (np.abs(before) > tolerance) & (np.abs(p) < np.abs(0.5 * q * before))
        trusted &= (p > q * (a - x)) & (p < q * (b - x))
        jump = np.divide(p, q, out=np.zeros_like(p), where=trusted & (q > 0))
        near = (x + jump - a < 2 * tolerance) | (b - x - jump < 2 * tolerance)
        inward = np.where(middle - x >= 0, tolerance, -tolerance)
        parabolic = np.where(near, inward, jump)
        side = np.where(x >= middle, a - x, b - x)
        step = np.where(trusted, parabolic, _GOLDEN * side)
        self.e[rows] = np.where(trusted, self.d[rows], side)
        self.d[rows] = step
        sign = np.where(step >= 0, 1.0, -1.0)
        return np.asarray(x + sign * np.maximum(np.abs(step), tolerance))

    def accept(self, rows: NDArray[np.int64], u: Signal, fu: Signal) -> None:
        """Take the errors ``fu`` at the points ``u``."""
        x, fx = self.x[rows], self.fx[rows]
        better = fu <= fx
        bound = np.where(better, x, u)
        raise_low = np.where(better, u >= x, u < x)
        self.a[rows] = np.where(raise_low, bound, self.a[rows])
        self.b[rows] = np.where(raise_low, self.b[rows], bound)
        w, fw, v, fv = self.w[rows], self.fw[rows], self.v[rows], self.fv[rows]
        second = ~better & ((fu <= fw) | (w == x))
        third = ~better & ~second & ((fu <= fv) | (v == x) | (v == w))
        moved = better | second
        self.v[rows] = np.where(moved, w, np.where(third, u, v))
        self.fv[rows] = np.where(moved, fw, np.where(third, fu, fv))
        self.w[rows] = np.where(better, x, np.where(second, u, w))
        self.fw[rows] = np.where(better, fx, np.where(second, fu, fw))
        self.x[rows], self.fx[rows] = np.where(better, u, x), np.where(better, fu, fx)
