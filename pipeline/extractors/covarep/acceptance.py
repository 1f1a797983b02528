"""Agreement with reference outputs of the original, group by group.

A folder of references holds ``<name>.npz`` with the original's columns and stages, and
``wav/<name>.wav``. Figures are pooled over the speech recordings without digital silence, over all
frames, as correlation coefficients, shares or mean cosines; each has a gate it must reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import glottal_flow, pulses
from .analysis import Analysis, Settings, analyse
from .columns import GLOTTAL, GROUPS, NAMES, RATE, interpolate
from .creak import KIND

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Figure:
    """One comparison.

    Attributes:
        group: Columns or stage.
        measure: What the number is.
        value: What was reached.
        gate: What must be reached; None where nothing is required.
        ceiling: The most that any implementation of the same corrections can reach, where known.
    """

    group: str
    measure: str
    value: float
    gate: float | None
    ceiling: float | None = None

    @property
    def met(self) -> bool:
        """Whether the gate is reached; NaN never reaches one."""
        return self.gate is None or bool(self.value >= self.gate)

    @property
    def possible(self) -> bool:
        """Whether the corrections leave the gate within reach."""
        return self.gate is None or self.ceiling is None or self.ceiling >= self.gate


@dataclass(frozen=True, slots=True)
class Pair:
    """One recording: what the original gave and what we give."""

    name: str
    samples: NDArray[np.float64]
    reference: dict[str, Array]
    ours: Analysis


def strict_settings() -> Settings:
    """Return the settings that reproduce the version the references were made with."""
    return Settings(strict=True, rd_version="1.4.2")


def reference_names(folder: Path) -> list[str]:
    """Return all recordings of a folder."""
    return sorted(path.stem for path in folder.glob("*.npz"))


def speech_names(folder: Path) -> list[str]:
    """Return the recordings of speech as it was spoken, without digital silence, that succeeded."""
    return [
        name for name in reference_names(folder) if "_edge_" not in name and _whole(folder, name)
    ]


def _whole(folder: Path, name: str) -> bool:
    with np.load(folder / f"{name}.npz") as file:
        return str(file["status"]) == "ok" and not bool(file["has_25ms_digital_silence"])


def read_wave(folder: Path, name: str) -> NDArray[np.float64]:
    """Return the samples of a recording."""
    import soundfile

    samples, rate = soundfile.read(str(folder / "wav" / f"{name}.wav"), dtype="float64")
    assert rate == RATE
    return np.asarray(samples)


def compare(folder: Path, name: str, settings: Settings) -> Pair:
    """Return reference and our analysis of one recording."""
    samples = read_wave(folder, name)
    with np.load(folder / f"{name}.npz") as file:
        reference = {key: file[key] for key in file.files}
    ours = analyse(samples, settings, keep_stages=True)
    return Pair(name, samples, reference, ours)


def figures(pairs: list[Pair], *, strict: bool) -> list[Figure]:
    """Return every figure of section 10 of the specification for pooled recordings."""
    pool = _Pool(pairs)
    return [
        *_pitch_figures(pool),
        *_glottal_figures(pool, strict),
        *_shape_figures(pool, strict),
        *_creak_figures(pool),
        *_mcep_figures(pool, strict),
        *_phase_figures(pool, strict),
    ]


class _Pool:
    def __init__(self, pairs: list[Pair]) -> None:
        self.pairs = pairs
        self.reference = np.concatenate([pair.reference["features"] for pair in pairs])
        self.ours = np.concatenate([pair.ours.features for pair in pairs])

    def stage(self, key: str) -> tuple[Array, Array]:
        """Return a stage of the original and of ours, joined over the recordings."""
        theirs = np.concatenate([pair.reference[key] for pair in self.pairs])
        return theirs, np.concatenate([pair.ours.stages[key] for pair in self.pairs])

    def column(self, name: str) -> tuple[Array, Array]:
        """Return a column of both."""
        place = NAMES.index(name)
        return self.reference[:, place], self.ours[:, place]


def _correlation(pair: tuple[Array, Array]) -> float:
    return float(np.corrcoef(pair[0], pair[1])[0, 1])


def _pitch_figures(pool: _Pool) -> Iterator[Figure]:
    theirs = np.concatenate([pair.reference["srh_f0"] for pair in pool.pairs])
    ours = np.concatenate([pair.ours.stages["f0"] for pair in pool.pairs])
    yield Figure("F0, frames", "share within 0.5 Hz", _share_near(theirs, ours), 0.99)
    yield Figure("F0, column", "share within 0.5 Hz", _share_near(*pool.column("F0")), 0.99)
    theirs, ours = pool.stage("srh_vuv")
    yield Figure("VUV", "share equal", float(np.mean((theirs > 0) == (ours > 0))), 0.995)
    found = [_matched(p.reference["gci_sample0"], p.ours.stages["gci_sample0"]) for p in pool.pairs]
    share = sum(hits for hits, _ in found) / max(1, sum(count for _, count in found))
    yield Figure("instants", "share within 1 sample", share, 0.99)


def _share_near(theirs: Array, ours: Array) -> float:
    return float(np.mean(np.abs(theirs - ours) <= 0.5))


def _matched(theirs: Array, ours: Array) -> tuple[int, int]:
    """Return how many instants have a partner, and of how many; both sides count."""
    both = [(theirs, ours), (ours, theirs)]
    hits = sum(int((np.abs(a[:, None] - b[None, :]).min(axis=1) <= 1).sum()) for a, b in both)
    return hits, len(theirs) + len(ours)


def _glottal_figures(pool: _Pool, strict: bool) -> Iterator[Figure]:
    gates = {"NAQ": 0.98, "QOQ": 0.98, "H1H2": 0.92, "PSP": 0.96, "MDQ": 0.92, "peakSlope": 0.999}
    for name, gate in gates.items():
        if name == "QOQ" and not strict:
            yield from _first_pulse_figures(pool, gate)
        else:
            yield Figure(name, "r", _correlation(pool.column(name)), gate)


def _first_pulse_figures(pool: _Pool, gate: float) -> Iterator[Figure]:
    """Yield QOQ of the default mode, whose first pulse of a file is not the original's.

    The original's begins at the first sample, so that its QOQ is as large as 33. The default's is
    one period long (D12), so that its QOQ is 1 at most. The few rows between the first two instants
    then keep the correlation over all rows below the gate, however well the rest agrees: that is
    the ceiling. What can be asked for is agreement with the original's column in which the QOQ of
    the first instant alone was computed from a pulse of one period.
    """
    theirs, ours = pool.column("QOQ")
    corrected = _with_first(pool.pairs, one_period_quotient)
    highest = _with_first(pool.pairs, lambda pair: min(_their_quotients(pair)[0], 1.0))
    ceiling = _correlation((theirs, highest))
    yield Figure("QOQ, all rows", "r", _correlation((theirs, ours)), gate, ceiling)
    yield Figure(
        "QOQ, first pulse of one period in both", "r", _correlation((corrected, ours)), gate
    )
    reached = _correlation((theirs, corrected))
    yield Figure("QOQ, original against itself with that pulse", "r", reached, None)


def _with_first(pairs: list[Pair], first: Callable[[Pair], float]) -> Array:
    """Return the original's QOQ column with another value at the first instant of each file."""
    columns = []
    for pair in pairs:
        quotients = np.array(_their_quotients(pair))
        quotients[0] = first(pair)
        at, instants = pair.reference["sample_1based"], pair.reference["gci_sample0"]
        found = interpolate(at.astype(np.float64), instants + 1.0, quotients)
        columns.append(np.nan_to_num(found))
    return np.concatenate(columns)


def _their_quotients(pair: Pair) -> Array:
    return np.asarray(pair.reference["vq_at_gci"][:, 2], dtype=np.float64)


def one_period_quotient(pair: Pair) -> float:
    """Return QOQ of the first instant by the strict method but for a pulse of one period."""
    signal = pair.samples * float(pair.reference["polarity"])
    instants = pair.reference["gci_sample0"].astype(np.int64)
    flow, derivative = glottal_flow.inverse_filter(signal, instants, strict=True)
    shapes = pulses.shape_parameters(flow, derivative, instants, strict=False)
    return float(shapes[0, GLOTTAL.index("QOQ")])


def _shape_figures(pool: _Pool, strict: bool) -> Iterator[Figure]:
    for name, key, gate in (("Rd", "Rd_v141", 0.93), ("Rd_conf", "Rd_conf_v141", 0.98)):
        theirs, ours = pool.column(name)
        if not strict:
            theirs = np.concatenate([pair.reference[key] for pair in pool.pairs])
        yield Figure(name, "r", _correlation((theirs, ours)), gate)


def _creak_figures(pool: _Pool) -> Iterator[Figure]:
    theirs, ours = pool.column("creak")
    yield Figure(f"creak ({KIND})", "r", _correlation((theirs, ours)), 0.6)
    yield Figure(f"creak ({KIND})", "AUC", area_under_curve(theirs > 0.3, ours), 0.95)


def area_under_curve(positive: Array, score: Array) -> float:
    """Return the chance that a positive scores above a negative, ties counting half."""
    ordered = np.sort(score[~positive])
    below = np.searchsorted(ordered, score[positive], side="left")
    upto = np.searchsorted(ordered, score[positive], side="right")
    pairs = max(1, int(positive.sum()) * int((~positive).sum()))
    return float((below + upto).sum() / 2 / pairs)


def _mcep_figures(pool: _Pool, strict: bool) -> Iterator[Figure]:
    theirs, ours = pool.stage("mcep_raw")
    least = min(_correlation((theirs[:, c], ours[:, c])) for c in range(theirs.shape[1]))
    yield Figure("MCEP, frames", "least r", least, 0.98)
    names = [name for name in NAMES if name.startswith("MCEP_")]
    least = min(_correlation(pool.column(name)) for name in names)
    # The original stretches the time axis of the columns; the default does not (D2).
    yield Figure("MCEP, columns", "least r", least, 0.98 if strict else None)


def _cosine(pair: tuple[Array, Array]) -> float:
    return float(np.mean(np.cos(pair[0] - pair[1])))


def _phase_figures(pool: _Pool, strict: bool) -> Iterator[Figure]:
    zeros = pool.ours[:, GROUPS["hmpdm"]][:, :5]
    above = pool.ours[:, :1] > 70
    share = float(np.mean(np.where(above, zeros, 0.0) == 0))
    yield Figure("HMPDM_0–4", "share exactly 0", share, 1.0)
    least = min(_cosine(pool.column(f"HMPDM_{c}")) for c in range(5, 24))
    yield Figure("HMPDM_5–23", "least mean cosine", least, 0.93)
    last = _cosine(pool.column("HMPDM_24"))
    yield Figure("HMPDM_24", "mean cosine", last, 0.94 if strict else None)
    names = [name for name in NAMES if name.startswith("HMPDD_")]
    least = min(_correlation(pool.column(name)) for name in names)
    yield Figure("HMPDD", "least r", least, 0.95 if strict else 0.94)


def acceptance(
    folder: Path, *, strict: bool, progress: Callable[[str], None] = lambda name: None
) -> list[Figure]:
    """Return every figure of one mode over the speech recordings of a folder."""
    settings = strict_settings() if strict else Settings()
    pairs = []
    for name in speech_names(folder):
        progress(name)
        pairs.append(compare(folder, name, settings))
    return figures(pairs, strict=strict)
