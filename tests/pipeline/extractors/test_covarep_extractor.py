"""The covarep extractor: outputs, metadata, options, guarded values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("soundfile")

from support.extractor_rows import run
from support.spoken import glide, vowel, wave_bytes

from affectflow.pipeline import loading
from affectflow.pipeline.extractors import covarep
from affectflow.pipeline.extractors.covarep.columns import GROUPS, HOP_S, NAMES, T0_S
from affectflow.pipeline.records import Row, Sample

# All columns in a few rows of the signal that `guarded` makes, as this package computed them.
GUARDED = Path(__file__).parent / "covarep_values.csv"


def extractor(**changes: Any) -> Any:
    made = loading.make_stage("covarep", changes)
    made.open()
    return made


def row_of(root: Path, samples: np.ndarray, rate: int = 16000, **options: str) -> Row:
    (root / "sound.wav").write_bytes(wave_bytes(samples, rate, **options))
    return Row(Sample(key="key", split="train", audio="sound.wav"), root)


def guarded() -> np.ndarray:
    """Return two vowels of different voices with a pause between them, as 16-bit values."""
    pause = 1e-3 * np.random.default_rng(3).standard_normal(4800)
    signal = np.concatenate([vowel(0.9, 113, 0.9, 1), pause, vowel(0.9, 187, 1.7, 2)])
    return np.rint(signal * 20000) / 32768


def test_columns_are_named_and_on_the_grid() -> None:
    main, valid, facts = extractor().outputs()
    assert main.columns == NAMES
    assert len(set(NAMES)) == 74
    assert (NAMES[0], NAMES[10], NAMES[11], NAMES[36], NAMES[61]) == (
        "F0",
        "creak",
        "MCEP_0",
        "HMPDM_0",
        "HMPDD_0",
    )
    assert (main.hop_s, main.t0_s) == (HOP_S, T0_S) == (0.01, 79 / 16000)
    assert valid.columns == tuple(GROUPS)
    assert facts.columns == covarep.FACTS


def test_facts_say_what_was_found(tmp_path: Path) -> None:
    row = row_of(tmp_path, np.stack([-glide(1.0, 120, 120, 1)] * 2, axis=1), 8000)
    values = run(extractor(), [row])[0]
    facts = dict(zip(covarep.FACTS, values["covarep.facts"].tolist(), strict=True))
    assert facts["source_rate_hz"] == 8000
    assert facts["source_channels"] == 2
    assert facts["narrowband"] == 1
    assert facts["polarity"] in (-1, 1)
    assert facts["seconds"] == pytest.approx(2.0)


@pytest.mark.parametrize("rate", [8000, 22050, 96000])
def test_pitch_does_not_depend_on_the_source(tmp_path: Path, rate: int) -> None:
    time = np.arange(rate) / rate
    voice = sum(np.cos(2 * np.pi * 150 * k * time) / k for k in range(1, 20))
    noise = 5e-4 * np.random.default_rng(0).standard_normal(rate)
    features = run(extractor(), [row_of(tmp_path, 0.1 * voice + noise, rate)])[0]["covarep"]
    assert np.isfinite(features).all()
    assert np.abs(features[10:-10, 0] - 150).max() <= 0.5


FILES: dict[str, tuple[np.ndarray, int, dict[str, str]]] = {
    "8 kHz": (glide(1.0, 100, 140)[::2], 8000, {}),
    "96 kHz": (np.repeat(glide(1.0, 100, 140), 6), 96_000, {}),
    "stereo": (np.stack([glide(1.0, 100, 140), np.zeros(16_000)], axis=1), 16_000, {}),
    "the other channel": (np.stack([np.zeros(16_000), glide(1.0, 90, 99)], axis=1), 16_000, {}),
    "beyond full scale": (30 * glide(1.0, 100, 140), 16_000, {"subtype": "FLOAT"}),
    "a few NaN": (np.where(np.arange(16_000) % 500, 0.1, np.nan), 16_000, {"subtype": "FLOAT"}),
    "8 bits": (glide(1.0, 100, 140), 16_000, {"subtype": "PCM_U8"}),
    "FLAC": (glide(1.0, 100, 140), 44_100, {"format": "FLAC"}),
    "OGG": (glide(1.0, 100, 140), 16_000, {"format": "OGG"}),
    "ten milliseconds": (glide(0.01, 100, 140), 16_000, {}),
    "0.3 s": (glide(0.3, 100, 140), 16_000, {}),
}


@pytest.mark.parametrize("mode", ["default", "strict_covarep"])
@pytest.mark.parametrize("name", FILES)
def test_any_file_gives_finite_rows(tmp_path: Path, name: str, mode: str) -> None:
    samples, rate, options = FILES[name]
    values = run(extractor(mode=mode), [row_of(tmp_path, samples, rate, **options)])[0]
    seconds = len(samples) / rate
    assert len(values["covarep"]) == pytest.approx(100 * seconds, abs=1)
    assert all(np.isfinite(value).all() for value in values.values())


def test_validity_marks_what_was_measured(tmp_path: Path) -> None:
    values = run(extractor(), [row_of(tmp_path, guarded())])[0]
    features, valid = values["covarep"], values["covarep.valid"]
    groups = list(GROUPS)
    unvoiced = features[:, 1] == 0
    assert unvoiced.any()
    assert not valid[unvoiced, groups.index("glottal")].any()
    assert valid[20:40, groups.index("glottal")].all()
    assert (features[valid[:, groups.index("f0")] == 0, 0] == 0).all()


def test_creak_can_be_zeros_and_says_so(tmp_path: Path) -> None:
    made = extractor(creak="zeros")
    values = run(made, [row_of(tmp_path, guarded())])[0]
    assert (values["covarep"][:, 10] == 0).all()
    assert (values["covarep.valid"][:, list(GROUPS).index("creak")] == 0).all()
    assert made.identity()["creak_kind"] == "zeros"
    assert extractor().identity()["creak_kind"] == "h2h1-v1"


def test_modes_differ_where_defects_are(tmp_path: Path) -> None:
    row = row_of(tmp_path, guarded())
    default = run(extractor(), [row])[0]["covarep"]
    strict = run(extractor(mode="strict_covarep"), [row])[0]["covarep"]
    np.testing.assert_array_equal(default[:, 1], strict[:, 1])
    assert 0 < np.abs(default[:, 0] - strict[:, 0]).max() <= 0.5
    # Whole hertz, and the mean of two neighbours of them.
    assert (2 * strict[:, 0] % 1 == 0).all()
    for name in ("Rd", "MCEP_1", "MDQ"):
        place = NAMES.index(name)
        assert not np.allclose(default[:, place], strict[:, place])
    older = run(extractor(mode="strict_covarep", rd_version="1.4.1"), [row])[0]["covarep"]
    np.testing.assert_array_equal(older[:, NAMES.index("Rd")], default[:, NAMES.index("Rd")])


def guarded_rows(features: np.ndarray) -> np.ndarray:
    return features[5:-5:19]


def test_values_are_those_that_were_guarded(tmp_path: Path) -> None:
    features = run(extractor(), [row_of(tmp_path, guarded())])[0]["covarep"]
    wanted = np.loadtxt(GUARDED, delimiter=",", skiprows=1, dtype=np.float64)
    rows = guarded_rows(features).astype(np.float64)
    assert rows.shape == wanted.shape
    circular = slice(36, 61)
    turn = np.abs(np.angle(np.exp(1j * (rows[:, circular] - wanted[:, circular]))))
    assert turn.max() < 0.01
    rows[:, circular] = wanted[:, circular] = 0.0
    np.testing.assert_allclose(rows, wanted, rtol=2e-3, atol=2e-3)
