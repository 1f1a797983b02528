"""The decoding policy: what is readable gives the right pixels, what is not says why."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.broken_files import BROKEN, READABLE
from support.corpus import picture

from affectflow.pipeline.errors import RowAbsent, RowError
from affectflow.pipeline.media.images import decode_image, encode_png, load_original, read_bytes
from affectflow.pipeline.media.paths import confine
from affectflow.pipeline.records import Row, Sample


@pytest.mark.parametrize("name", READABLE)
def test_readable_files_are_rgb(name: str) -> None:
    pixels = decode_image(READABLE[name](), name)
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert pixels.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize(
    "name", [n for n, (make, _) in BROKEN.items() if make and n != "empty.png"]
)
def test_damaged_files_say_why(name: str) -> None:
    make, code = BROKEN[name]
    assert make is not None
    with pytest.raises(RowError) as caught:
        decode_image(make(), name)
    assert caught.value.code == code
    assert name in caught.value.message


def test_sixteen_bits_are_scaled() -> None:
    values = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format="PNG")
    assert decode_image(buffer.getvalue())[0, :, 0].tolist() == [0, 1, 128, 255]


def test_transparency_lies_on_white() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (2, 2), (10, 20, 30, 0)).save(buffer, format="PNG")
    assert (decode_image(buffer.getvalue()) == 255).all()


def test_orientation_is_applied() -> None:
    image = Image.fromarray(picture(1, (20, 30)))
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", exif=exif)
    assert decode_image(buffer.getvalue()).shape == (30, 20, 3)


def outcome(data: bytes) -> str:
    try:
        pixels = decode_image(data)
    except RowError as error:
        return error.code
    return "pixels" if pixels.ndim == 3 and pixels.shape[2] == 3 else "wrong shape"


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=300), cut=st.integers(0, 2000), flip=st.integers(0, 2000))
def test_any_bytes_give_pixels_or_a_reason(data: bytes, cut: int, flip: int) -> None:
    damaged = bytearray(READABLE["cmyk.jpg"]()[:cut] + data)
    if flip < len(damaged):
        damaged[flip] ^= 0xFF
    for candidate in (data, bytes(damaged)):
        assert outcome(candidate) in {"pixels", "decode_error", "too_large"}


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 99))
def test_png_is_lossless(height: int, width: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert (decode_image(encode_png(pixels)) == pixels).all()


def test_paths_stay_below_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "in.png").write_bytes(b"x")
    (tmp_path / "out.png").write_bytes(b"x")
    (tmp_path / "root2").mkdir()
    (tmp_path / "root2" / "near.png").write_bytes(b"x")
    os.symlink(tmp_path / "out.png", root / "link.png")
    assert confine(root, "in.png").name == "in.png"
    for path in ("../out.png", "/etc/hostname", "link.png", "a/../../out.png", "../root2/near.png"):
        with pytest.raises(RowError, match="root"):
            confine(root, path)
    for path in ("", "none.png", "in\x00.png"):
        with pytest.raises(RowError) as caught:
            confine(root, path)
        assert caught.value.code == "missing_file"


def test_empty_and_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    with pytest.raises(RowError) as caught:
        read_bytes(tmp_path, "empty.png")
    assert caught.value.code == "empty_file"
    with pytest.raises(RowAbsent):
        load_original(Row(Sample("a", "train"), tmp_path))
