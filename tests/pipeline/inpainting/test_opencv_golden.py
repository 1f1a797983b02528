"""OpenCV's fillings of two pictures, as recorded."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image
from support.shared import SHARED, needs_shared

pytest.importorskip("cv2", reason="needs opencv")

from affectflow.pipeline.inpainting.inpainter import InpainterConfig, open_inpainter

FOLDER = SHARED / "golden" / "deepfill"
METHODS = {"telea": "telea", "ns": "navier_stokes"}


@needs_shared("golden/deepfill")
@pytest.mark.parametrize("picture", ["meme0", "meme1"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("radius", [3, 5])
def test_fillings_equal_the_record(picture, method, radius):
    import json

    image = np.asarray(Image.open(FOLDER / "images" / f"{picture}.png").convert("RGB"))
    mask = np.asarray(Image.open(FOLDER / "images" / f"{picture}_textmask.png").convert("L"))
    config = InpainterConfig(method=METHODS[method], radius=radius, fill_side=0)
    holes = (mask > 127).astype(np.uint8) * 255
    (filled,) = open_inpainter(config).fill([image], [holes])
    name = f"{picture}_{method}_r{radius}"
    with np.load(FOLDER / "opencv_inpaint.npz") as file:
        rows, columns = file[f"{name}_rowcol"].T
        wanted = file[f"{name}_rgb"]
    assert np.abs(filled[rows, columns].astype(int) - wanted).max() <= 2
    facts = json.loads((FOLDER / "opencv_inpaint.json").read_text())
    import cv2

    if cv2.__version__ == facts["opencv"]:
        digest = hashlib.sha256(filled.tobytes()).hexdigest()
        assert digest == facts["results"][name]["sha256_rgb_bytes"]
