"""Face detection with YuNet."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np

from models.diffusion.failures import detail_of
from models.diffusion.upscaling.face_alignment import Pixels, Points
from models.errors import ModelUnavailable

_LONG_SIDE_PX = 640
"""Larger images are scaled down to this size, since YuNet detects faces of 10 to 300 px."""
_SCORE_MIN = 0.8


class FaceDetector:
    """YuNet (Wu, Peng and Yu 2023) in OpenCV's implementation, safe for threads.

    Args:
        path: the weights, an ``.onnx`` file of OpenCV's model zoo.

    Raises:
        ModelUnavailable: the file is missing, or holds another model.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ModelUnavailable(f"there is no file {path.name}", detail=str(path))
        try:
            self._net = cv2.FaceDetectorYN.create(str(path), "", (_LONG_SIDE_PX, _LONG_SIDE_PX), _SCORE_MIN)
            self._net.detect(np.zeros((_LONG_SIDE_PX, _LONG_SIDE_PX, 3), np.uint8))
        except cv2.error as error:
            raise ModelUnavailable(
                f"{path.name} is no face detector that OpenCV can read", detail=detail_of(error)
            ) from error
        self._lock = threading.Lock()

    def find(self, image: Pixels) -> list[Points]:
        """The landmarks of each face, the one with the highest score first."""
        height, width = image.shape[:2]
        shrink = min(1.0, _LONG_SIDE_PX / max(height, width))
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if shrink < 1 else image
        with self._lock:
            self._net.setInputSize(size)
            _, faces = self._net.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        to_image = np.array([width / size[0], height / size[1]])
        return [face[4:14].reshape(5, 2) * to_image for face in (() if faces is None else faces)]
