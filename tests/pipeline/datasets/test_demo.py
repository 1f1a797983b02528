import io
import json
import wave
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from affectflow.pipeline.datasets import demo
from affectflow.pipeline.datasets._demo.speech import SAMPLE_RATE_HZ, spoken, wav_bytes
from affectflow.pipeline.errors import ConfigError, DatasetError, MissingFiles, RowError
from affectflow.pipeline.ingest.phash import perceptual_hash
from affectflow.pipeline.manifest import load_manifest
from affectflow.pipeline.media.images import decode_image, read_bytes

BROKEN = {
    "broken_truncated.jpg": "decode_error",
    "broken_empty.png": "empty_file",
    "broken_missing.jpg": "missing_file",
    "broken_text.png": "decode_error",
}
UNUSUAL = {
    "odd_cmyk.jpg": ("JPEG", "CMYK"),
    "odd_palette.png": ("PNG", "P"),
    "odd_16bit.png": ("PNG", "I;16"),
    "odd_animated.gif": ("GIF", "P"),
}


def manifest(**options):
    return load_manifest("demo").model_copy(update={"options": options})


SMALL = manifest(items=8, clips=2)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "deep" / "demo"
    demo.prepare(folder, SMALL)
    return folder


@pytest.fixture(scope="module")
def rows(root):
    return {row.key: row for row in demo.read(root, SMALL)}


def contents(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def decoded(root, row):
    return decode_image(read_bytes(root, row.image), row.key)


def test_rows_and_statuses(rows):
    assert len(rows) == 8 + 2 + 16
    assert Counter(row.status for row in rows.values()) == {"ok": 25, "bad_row": 1}
    bad = rows["odd_unknown_label.jpg"]
    assert "'ecstatic'" in bad.reason
    assert "negative, neutral, positive" in bad.reason
    assert all(row.split in {"train", "val", "test"} for row in rows.values() if row is not bad)


def test_broken_pictures_fail_with_their_reason(root, rows):
    for key, code in BROKEN.items():
        with pytest.raises(RowError) as caught:
            decoded(root, rows[key])
        assert caught.value.code == code, key


def test_every_other_picture_decodes_to_its_size(root, rows):
    pictures = [row for row in rows.values() if row.image and row.key not in BROKEN]
    assert len(pictures) == 8 + 16 - len(BROKEN) - 1
    for row in pictures:
        height, width, _ = decoded(root, row).shape
        assert (width, height) == (row.extra["width"], row.extra["height"]), row.key


def test_unusual_pictures_are_what_their_names_say(root, rows):
    for key, (kind, mode) in UNUSUAL.items():
        with Image.open(root / rows[key].image) as image:
            assert (image.format, image.mode.replace("I;16B", "I;16")) == (kind, mode), key
            assert getattr(image, "n_frames", 1) == (2 if kind == "GIF" else 1)
            assert ("transparency" in image.info) == (key == "odd_palette.png")
    left_edge = decoded(root, rows["odd_palette.png"])[:, :3]
    assert (left_edge == 255).all()


def test_odd_captions(rows):
    assert rows["odd_no_caption.jpg"].text == ""
    assert rows["odd_no_caption.jpg"].flags == ("no_text",)
    assert rows["odd_no_caption.jpg"].extra["text_boxes"] == []
    assert set(rows["odd_spreadsheet_error.jpg"].flags) == {"spreadsheet_error", "no_text"}
    assert rows["odd_markup.jpg"].flags == ("html",)
    assert rows["odd_markup.jpg"].text.endswith("imgflip.com")


def test_duplicates(root, rows):
    first, second = rows["near_duplicate_a.jpg"], rows["near_duplicate_b.jpg"]
    hashes = [perceptual_hash(decoded(root, row)) for row in (first, second)]
    assert (hashes[0] ^ hashes[1]).bit_count() <= 6
    assert read_bytes(root, first.image) != read_bytes(root, second.image)
    assert first.labels["sentiment"] != second.labels["sentiment"]
    assert first.split == second.split == "train"
    first, second = rows["repeated_caption_a.jpg"], rows["repeated_caption_b.jpg"]
    assert first.text == second.text
    assert (first.split, second.split) == ("train", "test")
    texts = Counter(row.text for row in rows.values() if row.text)
    assert [text for text, times in texts.items() if times > 1] == [first.text]


def test_text_boxes_hold_the_letters(root, rows):
    """Ink of the caption lies in the boxes, not around them: compare with the bare scene."""
    for row in rows.values():
        if not row.key.startswith("meme_"):
            continue
        pixels = decoded(root, row).astype(int)
        height, width, _ = pixels.shape
        inside = np.zeros((height, width), dtype=bool)
        for left, top, right, _, _, bottom, *_ in row.extra["text_boxes"]:
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height
            box = pixels[int(top) : int(bottom), int(left) : int(right)]
            inside[int(top) : int(bottom), int(left) : int(right)] = True
            # Letters and outline are the extremes of brightness in one small place.
            assert np.ptp(box.sum(axis=2)) > 380, row.key
        if row.extra["style"] == "outline":
            black = (pixels < 24).all(axis=2)
            white = (pixels > 238).all(axis=2)
            assert black[inside].mean() > 0.12
            assert white[inside].mean() > 0.15


def test_boxes_are_exactly_the_changed_pixels():
    from affectflow.pipeline.datasets._demo.lettering import lettered

    grey = Image.new("RGB", (400, 300), (90, 120, 150))
    for style in ("outline", "subtitle"):
        picture, boxes = lettered(grey, "some words here", "and some more below", style)
        changed = (np.asarray(picture) != np.asarray(grey)).any(axis=2)
        assert changed.any()
        for left, top, right, _, _, bottom, *_ in boxes:
            box = changed[int(top) : int(bottom), int(left) : int(right)]
            # Tight: ink touches every side of the box, give or take a pixel.
            rows, columns = np.flatnonzero(box.any(axis=1)), np.flatnonzero(box.any(axis=0))
            assert rows[0] <= 2
            assert columns[0] <= 2
            assert rows[-1] >= box.shape[0] - 3
            assert columns[-1] >= box.shape[1] - 3
            changed[int(top) : int(bottom), int(left) : int(right)] = False
        assert not changed.any()


def test_clips_have_the_pitch_they_say(root, rows):
    for row in (row for row in rows.values() if row.audio):
        with wave.open(str(root / row.audio)) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
        assert row.image is None
        assert row.extra["sample_rate_hz"] == SAMPLE_RATE_HZ
        contour = np.asarray(row.extra["f0_hz"])
        hop = round(row.extra["f0_hop_s"] * SAMPLE_RATE_HZ)
        assert len(contour) == -(-len(samples) // hop)
        assert 0.3 < (contour > 0).mean() < 0.95
        assert np.abs(samples).max() == pytest.approx(0.7, abs=0.01)
        assert pitch_errors(samples, contour, hop) < 0.02


def pitch_errors(samples, contour, hop):
    """Median relative error of an autocorrelation estimate in frames voiced throughout."""
    errors = []
    half = 320
    for frame in range(4, len(contour) - 4):
        centre = frame * hop
        if not (contour[frame - 2 : frame + 3] > 0).all():
            continue
        piece = samples[centre - half : centre + half] * np.hanning(2 * half)
        power = np.abs(np.fft.rfft(piece, 4096)) ** 2
        correlation = np.fft.irfft(power)[:half] / (1 - np.arange(half) / (2 * half))
        low, high = (round(SAMPLE_RATE_HZ / (contour[frame] * ratio)) for ratio in (1.4, 0.72))
        lag = low + int(correlation[low:high].argmax())
        errors.append(abs(SAMPLE_RATE_HZ / lag / contour[frame] - 1))
    return float(np.median(errors))


def test_unvoiced_frames_have_no_voice():
    clip = spoken(np.random.default_rng(3), 6, 1)
    silent = clip.samples[: round(0.09 * SAMPLE_RATE_HZ)]
    assert np.abs(silent).max() < 0.02
    assert (clip.f0_hz[:9] == 0).all()
    with wave.open(io.BytesIO(wav_bytes(clip.samples))) as file:
        assert file.getnframes() == len(clip.samples)


def test_same_seed_same_bytes(root, tmp_path):
    demo.prepare(tmp_path / "again", SMALL)
    assert contents(tmp_path / "again") == contents(root)


def test_prepare_leaves_a_finished_folder_alone(root):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    demo.prepare(root, SMALL)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_prepare_refuses_other_content(root, tmp_path):
    with pytest.raises(DatasetError, match="was made with"):
        demo.prepare(root, manifest(items=9, clips=2))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("precious")
    with pytest.raises(DatasetError, match="not empty"):
        demo.prepare(tmp_path / "mine", SMALL)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    with pytest.raises(ConfigError, match="items"):
        demo.prepare(tmp_path / "x", manifest(items=0))


def test_written_whole_or_not_at_all(tmp_path, monkeypatch):
    def fail(self):
        (self.folder / "labels.jsonl").write_text("{}")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(demo.Builder, "build", fail)
    with pytest.raises(DatasetError, match="No space left"):
        demo.prepare(tmp_path / "demo", SMALL)
    assert list(tmp_path.iterdir()) == []


def test_another_process_may_have_been_first(root, tmp_path):
    record = json.loads((root / "demo.json").read_text())
    draft = tmp_path / "draft"
    draft.mkdir()
    (draft / "file").write_text("x")
    demo._publish(draft, root, record)
    assert (root / "labels.jsonl").is_file()
    with pytest.raises(DatasetError, match="was made with"):
        demo._publish(draft, root, {"items": 0})


def test_empty_folder_is_filled_and_other_seed_gives_other_bytes(root, tmp_path):
    with pytest.raises(MissingFiles, match=r"labels\.jsonl"):
        list(demo.read(tmp_path, SMALL))
    (tmp_path / "demo").mkdir()
    demo.prepare(tmp_path / "demo", manifest(items=1, clips=1, seed=8))
    assert len(list(demo.read(tmp_path / "demo", SMALL))) == 18
    found, first = contents(tmp_path / "demo"), contents(root)
    assert found.keys() <= first.keys()
    for name in ("images/meme_0000.jpg", "audio/clip_000.wav", "images/odd_cmyk.jpg"):
        assert found[name] != first[name]


def test_unreadable_lines_stay_rows(tmp_path):
    lines = ["{", '{"text": "no key"}', '{"key": "a", "sentiment": "neutral"}', '{"key": "a"}']
    (tmp_path / "labels.jsonl").write_text("\n".join(lines))
    rows = list(demo.read(tmp_path, SMALL))
    assert [row.status for row in rows] == ["bad_row", "bad_row", "ok", "duplicate_row"]
    assert [row.key for row in rows] == ["labels.jsonl:1", "labels.jsonl:2", "a", "a#2"]
    assert rows[2].labels == {"sentiment": 1, "sarcasm": None}


@pytest.mark.slow
def test_the_default_demo_has_exactly_one_near_duplicate_pair(tmp_path):
    built = load_manifest("demo")
    demo.prepare(tmp_path / "demo", built)
    rows = list(demo.read(tmp_path / "demo", built))
    assert len(rows) == 108
    pictures = [row for row in rows if row.image and row.key not in BROKEN]
    hashes = {row.key: perceptual_hash(decoded(tmp_path / "demo", row)) for row in pictures}
    keys = sorted(hashes)
    near = [
        (first, second)
        for index, first in enumerate(keys)
        for second in keys[index + 1 :]
        if (hashes[first] ^ hashes[second]).bit_count() <= 6
    ]
    assert near == [("near_duplicate_a.jpg", "near_duplicate_b.jpg")]
    assert {row.split for row in rows if row.status == "ok"} == {"train", "val", "test"}
    words = words_by_sentiment(rows)
    # Sincere captions give their sentiment away; noise and sarcasm keep this from being certain.
    assert 0.5 < words < 0.95


def words_by_sentiment(rows):
    """Share of ordinary rows whose label is the one most usual for their closest caption."""
    usable = [row for row in rows if row.status == "ok" and row.text and "noisy_label" in row.extra]
    bags = [set(row.text.lower().split()) for row in usable]
    hits = 0
    for index, row in enumerate(usable):
        others = [
            (len(bags[index] & bag) / len(bags[index] | bag), usable[place].labels["sentiment"])
            for place, bag in enumerate(bags)
            if place != index
        ]
        hits += max(others)[1] == row.labels["sentiment"]
    return hits / len(usable)
