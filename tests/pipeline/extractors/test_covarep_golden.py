"""Every gate against the reference outputs of the original, both modes."""

from __future__ import annotations

import numpy as np
import pytest
from support.shared import SHARED, needs_shared

pytest.importorskip("scipy")
pytest.importorskip("soundfile")

from affectflow.pipeline.extractors.covarep import acceptance
from affectflow.pipeline.extractors.covarep.analysis import Analysis, Settings, analyse

FOLDER = SHARED / "golden" / "covarep"
pytestmark = [pytest.mark.real_data, needs_shared("golden/covarep")]


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "default"])
def test_every_gate_that_is_possible_is_reached(strict: bool) -> None:
    found = acceptance.acceptance(FOLDER, strict=strict)
    wanted = [f for f in found if f.possible]
    missed = [f"{f.group} {f.measure} {f.value:.4f} < {f.gate}" for f in wanted if not f.met]
    assert not missed
    assert len([f for f in wanted if f.gate is not None]) >= 18
    impossible = [f.group for f in found if not f.possible]
    assert impossible == ([] if strict else ["QOQ, all rows"])


def test_the_first_pulse_alone_keeps_one_correlation_below_its_gate() -> None:
    names = acceptance.speech_names(FOLDER)
    pairs = [acceptance.compare(FOLDER, name, Settings()) for name in names]
    figures = {f.group: f for f in acceptance.figures(pairs, strict=False)}
    every = figures["QOQ, all rows"]
    assert every.gate is not None
    assert every.ceiling is not None
    assert every.value <= every.ceiling < every.gate
    # What the correction of that pulse costs even the original, less what D9 costs.
    itself = figures["QOQ, original against itself with that pulse"].value
    assert every.value == pytest.approx(itself, abs=0.002)
    assert figures["QOQ, first pulse of one period in both"].value >= 0.998
    for pair in pairs:
        theirs = pair.reference["vq_at_gci"][:, 2]
        ours = pair.ours.stages["vq_at_gci"][0, 1]
        assert acceptance.one_period_quotient(pair) == pytest.approx(ours, abs=0.02)
        assert theirs[0] > 1 or pair.name == "dev_en_f_allison_queue"
        assert theirs[1:].max() < 1


def test_the_pool_is_the_six_recordings_of_the_specification() -> None:
    names = acceptance.speech_names(FOLDER)
    assert len(names) == 6
    rows = sum(len(np.load(FOLDER / f"{name}.npz")["features"]) for name in names)
    assert rows == 4697


def succeeded() -> list[str]:
    """Return the recordings of which the original made columns, digital silence included."""
    names = acceptance.reference_names(FOLDER)
    return [name for name in names if str(np.load(FOLDER / f"{name}.npz")["status"]) == "ok"]


@pytest.mark.parametrize("name", succeeded())
def test_stages_that_are_discrete_are_identical(name: str) -> None:
    pair = acceptance.compare(FOLDER, name, acceptance.strict_settings())
    theirs, ours = pair.reference, pair.ours
    assert ours.polarity == int(theirs["polarity"])
    assert ours.median_f0 == float(theirs["f0med"])
    np.testing.assert_array_equal(ours.stages["srh_f0"], theirs["srh_f0"])
    np.testing.assert_array_equal(ours.stages["srh_vuv"], theirs["srh_vuv"])
    np.testing.assert_array_equal(ours.stages["gci_sample0"], theirs["gci_sample0"])
    np.testing.assert_array_equal(ours.stages["frames_f0"], theirs["frames_f0"])
    shapes = theirs["vq_at_gci"][:, [1, 2, 3, 5]]
    close = np.isclose(ours.stages["vq_at_gci"], shapes, rtol=1e-3, atol=1e-3)
    assert close.mean() > 0.999


@pytest.mark.parametrize("name", acceptance.speech_names(FOLDER) if FOLDER.exists() else [])
def test_the_default_chooses_the_same_whole_hertz(name: str) -> None:
    pair = acceptance.compare(FOLDER, name, Settings())
    np.testing.assert_array_equal(pair.ours.stages["srh_f0"], pair.reference["srh_f0"])
    assert np.abs(pair.ours.stages["f0"] - pair.reference["srh_f0"]).max() < 0.49
    assert np.abs(pair.ours.features[:, 0] - pair.reference["features"][:, 0]).max() < 0.49


SILENT = ["dev_edge_digitalgap", "dev_en_alsa_front_center", "dev_en_espeak_m"]


@pytest.mark.parametrize("name", SILENT)
def test_strict_follows_the_original_through_digital_silence(name: str) -> None:
    pair = acceptance.compare(FOLDER, name, acceptance.strict_settings())
    theirs, ours = pair.reference, pair.ours.stages
    assert np.corrcoef(theirs["mdq_at_gci"][:, 1], ours["mdq_at_gci"])[0, 1] >= 0.94
    # Frames without energy count as 1 Hz: 8000 harmonics, and the first part of a long window.
    np.testing.assert_allclose(ours["rd_raw"][:, 0], theirs["rd_raw"][:, 1], atol=0.1)
    for place in range(25):
        pairs = theirs["mcep_raw"][:, place], ours["mcep_raw"][:, place]
        assert np.corrcoef(*pairs)[0, 1] >= 0.999
    slope, own = theirs["peakslope_raw"][:, 1], ours["peakslope_raw"]
    np.testing.assert_array_equal(np.isinf(own), np.isinf(slope))
    # One frame at the edge of a gap holds the tail of a wavelet below any rounding.
    steady = np.isfinite(slope)
    own = np.nan_to_num(own)
    assert np.count_nonzero(~np.isclose(own[steady], slope[steady], atol=1e-3)) <= 1
    wanted = theirs["features"][:, 41:60]
    assert np.cos(wanted - pair.ours.features[:, 41:60]).mean(axis=0).min() >= 0.99


def analysed(name: str) -> Analysis:
    samples = acceptance.read_wave(FOLDER, name)
    return analyse(samples, Settings(), keep_stages=True)


def test_tone_is_found_in_every_row_but_the_edges() -> None:
    features = analysed("dev_edge_tone200_3s").features
    np.testing.assert_array_equal(features[5:-5, 0], 200.0)
    np.testing.assert_array_equal(features[5:-5, 1], 1.0)


def test_an_inverted_recording_gives_the_features_of_the_upright_one() -> None:
    turned = acceptance.read_wave(FOLDER, "dev_edge_inverted")
    one, other = analyse(turned, Settings()), analyse(-turned, Settings())
    assert (one.polarity, other.polarity) == (-1, 1)
    np.testing.assert_allclose(one.features, other.features, atol=1e-5)


def test_gaps_are_finite_unvoiced_and_no_frame_is_dropped() -> None:
    found = analysed("dev_edge_digitalgap")
    assert np.isfinite(found.features).all()
    seconds = (79 + 160 * np.arange(len(found.features))) / 16000
    inside = ((seconds > 0.06) & (seconds < 0.44)) | ((seconds > 3.06) & (seconds < 3.44))
    assert (found.features[inside, 1] == 0).all()
    assert len(found.stages["rd_raw"]) == len(found.stages["srh_f0"])


@pytest.mark.parametrize("name", acceptance.reference_names(FOLDER) if FOLDER.exists() else [])
def test_rows_are_as_many_as_the_originals_and_finite(name: str) -> None:
    found = analysed(name)
    assert found.features.shape == np.load(FOLDER / f"{name}.npz")["features"].shape
    assert np.isfinite(found.features).all()
