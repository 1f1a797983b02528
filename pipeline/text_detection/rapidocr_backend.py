"""PP-OCR text detection with the model that ships inside the `rapidocr` wheel.

The detector is a network with differentiable binarisation (Liao et al., AAAI 2020): it gives a map
of text-kernel probabilities, whose blobs are boxed and grown back to the size of the text. The
network runs in onnxruntime directly. Reason: rapidocr 3.10 sorts the boxes it returns but not their
scores, and enlarges every picture to 736 pixels. Recognition goes through rapidocr itself.

``H`` height, ``W`` width of the picture; ``h``, ``w`` of the map, multiples of 32.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import MissingDependency, WeightsError
from .quads import clockwise
from .scaling import detection_size, resized

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .detection import DetectorConfig, Found

_STRIDE = 32
# Values of the published PP-OCR configuration.
_KERNEL_THRESHOLD = 0.3
_UNCLIP_RATIO = 1.6
_SMALLEST_KERNEL = 3
_SMALLEST_BOX = 5
_MOST_BOXES = 1000


def model_file(task: Literal["det", "rec"] = "det") -> Path:
    """Return the model for detection or recognition inside the installed wheel.

    Raises:
        MissingDependency: rapidocr is not installed.
        WeightsError: The wheel holds no such model.
    """
    spec = importlib.util.find_spec("rapidocr")
    if spec is None or spec.origin is None:
        raise MissingDependency("rapidocr", "ocr")
    found = sorted((Path(spec.origin).parent / "models").glob(f"*_{task}_*.onnx"))
    if not found:
        raise WeightsError(
            f"the installed rapidocr brings no '{task}' model", "pip install -U rapidocr"
        )
    return found[-1]


def identity(config: DetectorConfig) -> dict[str, str]:
    """Return the digest of every model file that affects the result."""
    models = {"detector": model_file("det")}
    if config.recognise:
        models["recogniser"] = model_file("rec")
    return {
        f"{name}_sha256": hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in models.items()
    }


class Detector:
    """The network, loaded once."""

    def __init__(self, config: DetectorConfig, threads: int) -> None:
        self._config = config
        self._session = _session(model_file("det"), threads)
        self._input = self._session.get_inputs()[0].name
        self._recogniser = _recogniser(threads) if config.recognise else None

    def detect(self, image: NDArray[np.uint8]) -> list[Found]:
        """Return quad, score and text of every piece of text in ``(H, W, 3)`` uint8 RGB."""
        height, width = image.shape[:2]
        probability = self.kernel_map(image)
        scale = np.array((width / probability.shape[1], height / probability.shape[0]))
        found: list[Found] = []
        for box, score in kernel_boxes(probability):
            # Reading is slow: what will be dropped is not read.
            if score < self._config.min_score:
                continue
            quad = np.clip(box * scale, 0, (width - 1, height - 1))
            quad = clockwise(quad.astype(np.float32))
            text = "" if self._recogniser is None else _read(self._recogniser, image, quad)
            found.append((quad, score, text))
        return sorted(found, key=lambda item: (float(item[0][0, 1]), float(item[0][0, 0])))

    def kernel_map(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probability ``(h, w)`` that a pixel belongs to the kernel of a text."""
        limits = (self._config.min_side, self._config.max_side)
        size = detection_size(image.shape[1], image.shape[0], *limits, multiple=_STRIDE)
        # The network was trained on BGR.
        pixels = resized(image, size)[:, :, ::-1]
        values = pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)
        batch = np.ascontiguousarray(values.transpose(2, 0, 1)[None])  # (1, 3, h, w)
        result: NDArray[np.float32] = self._session.run(None, {self._input: batch})[0][0, 0]
        return result


def kernel_boxes(
    probability: NDArray[np.float32],
) -> list[tuple[NDArray[np.float32], float]]:
    """Return box ``(4, 2)`` in map pixels and mean probability of every blob of the map.

    Growing the rectangle around a kernel by ``area · ratio / perimeter`` on each side undoes the
    shrinking that the network was trained with.
    """
    import cv2

    kernels = (probability > _KERNEL_THRESHOLD).astype(np.uint8)
    blobs = cv2.dilate(kernels, np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(blobs, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    boxes: list[tuple[NDArray[np.float32], float]] = []
    for contour in contours[:_MOST_BOXES]:
        centre, (across, along), angle = cv2.minAreaRect(contour)
        if min(across, along) < _SMALLEST_KERNEL:
            continue
        corners = np.asarray(cv2.boxPoints((centre, (across, along), angle)), dtype=np.float32)
        score = _mean_inside(probability, corners)
        growth = _UNCLIP_RATIO * across * along / (across + along)
        grown = (across + growth, along + growth)
        if min(grown) >= _SMALLEST_BOX:
            boxes.append((cv2.boxPoints((centre, grown, angle)).astype(np.float32), score))
    return boxes


def _mean_inside(probability: NDArray[np.float32], corners: NDArray[np.float32]) -> float:
    import cv2

    limit = np.array(probability.shape[::-1]) - 1
    low = np.clip(np.floor(corners.min(axis=0)), 0, limit).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)), 0, limit).astype(int)
    window = probability[low[1] : high[1] + 1, low[0] : high[0] + 1]
    inside = np.zeros(window.shape, dtype=np.uint8)
    cv2.fillPoly(inside, [(corners - low).astype(np.int32)], 1)
    return float(cv2.mean(window, inside)[0])


def _session(path: Path, threads: int) -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise MissingDependency("onnxruntime", "ocr") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Every picture has its own size: an arena would keep the largest of each.
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _recogniser(threads: int) -> Any:
    import logging

    from rapidocr import RapidOCR

    engine = RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.text_score": 0.0,
            "Rec.model_path": str(model_file("rec")),
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )
    logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
    return engine


def _read(recogniser: Any, image: NDArray[np.uint8], quad: NDArray[np.float32]) -> str:
    """Return the text inside a quad; columns of text are turned upright first."""
    import cv2

    width = max(1, round(float(np.linalg.norm(quad[1] - quad[0]))))
    height = max(1, round(float(np.linalg.norm(quad[3] - quad[0]))))
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=np.float32)
    warp = cv2.getPerspectiveTransform(quad, corners)
    line = cv2.warpPerspective(image[:, :, ::-1], warp, (width, height), flags=cv2.INTER_CUBIC)
    if height >= 1.5 * width:
        line = np.rot90(line)
    result = recogniser(np.ascontiguousarray(line), use_det=False, use_cls=False, use_rec=True)
    texts = getattr(result, "txts", None)
    return str(texts[0]).strip() if texts else ""
