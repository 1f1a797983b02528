"""Text detection with the system program `tesseract`; weak on display type over pictures."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from ..errors import InvalidInput, RowError
from ..media.images import encode_png
from .quads import box_quad
from .scaling import detection_size, resized

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .detection import DetectorConfig, Found

_SECONDS = 60
# Page segmentation 11: sparse text in no particular order. Level 5 of the table: single words.
_SPARSE_TEXT = "11"
_WORD = "5"


def program() -> str:
    """Return the path of the program.

    Raises:
        InvalidInput: It is not installed.
    """
    found = shutil.which("tesseract")
    if found is None:
        raise InvalidInput(
            "the program 'tesseract' is not on the PATH",
            "install it (Debian: apt-get install tesseract-ocr) or use backend=rapidocr",
        )
    return found


def identity(config: DetectorConfig) -> dict[str, str]:
    """Return the version that the program reports."""
    answer = subprocess.run(
        [program(), "--version"], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    lines = (answer.stdout or answer.stderr).splitlines()
    return {"tesseract": lines[0].strip() if lines else "unknown"}


class Detector:
    """One process per picture; the picture goes through a pipe."""

    def __init__(self, config: DetectorConfig, threads: int) -> None:
        self._config = config
        self._command = [program(), "-", "-", "-l", config.language, "--psm", _SPARSE_TEXT, "tsv"]
        self._environment = {**os.environ, "OMP_THREAD_LIMIT": str(threads)}

    def detect(self, image: NDArray[np.uint8]) -> list[Found]:
        """Return quad, confidence and text of every word in ``(H, W, 3)`` uint8 RGB."""
        height, width = image.shape[:2]
        size = detection_size(width, height, self._config.min_side, self._config.max_side)
        table = self._run(encode_png(resized(image, size)))
        scale = (width / size[0], height / size[1])
        return words(table, scale, self._config.recognise)

    def _run(self, png: bytes) -> str:
        try:
            answer = subprocess.run(
                self._command,
                input=png,
                capture_output=True,
                timeout=_SECONDS,
                check=False,
                env=self._environment,
            )
        except subprocess.TimeoutExpired:
            raise RowError("detector_timeout", f"tesseract took over {_SECONDS} s") from None
        if answer.returncode != 0:
            cause = answer.stderr.decode("utf-8", "replace").strip().splitlines()
            raise RowError("detector_failed", f"tesseract: {cause[-1] if cause else 'no message'}")
        return answer.stdout.decode("utf-8", "replace")


def words(table: str, scale: tuple[float, float], keep_text: bool) -> list[Found]:
    """Return the words of tesseract's tab-separated table in original pixels."""
    found: list[Found] = []
    for row in csv.DictReader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE):
        text = (row.get("text") or "").strip()
        if row["level"] != _WORD or not text:
            continue
        left, top = int(row["left"]) * scale[0], int(row["top"]) * scale[1]
        right = left + int(row["width"]) * scale[0] - 1
        bottom = top + int(row["height"]) * scale[1] - 1
        score = min(1.0, max(0.0, float(row["conf"]) / 100))
        found.append((box_quad(left, top, right, bottom), score, text if keep_text else ""))
    return found
