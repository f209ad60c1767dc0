"""Aligning faces: from an image to the upright square that face models are trained on, and back."""

from __future__ import annotations

from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

FACE_PX = 512
"""The side of the square in pixels."""
_FEATHER_PX = 48

Pixels: TypeAlias = NDArray[np.uint8]
"""RGB [height, width, 3]."""
Points: TypeAlias = NDArray[np.float64]
"""x, y in pixels [5, 2]: both eyes, tip of the nose, both corners of the mouth; in each pair the left one first."""
Transform: TypeAlias = NDArray[np.float64]
"""An affine transform [2, 3] from the image's coordinates to the square's."""


def landmarks_in_square() -> Points:
    """The landmarks in the square: the average of FFHQ (Karras et al. 2019), as in facexlib."""
    return np.array([
        (192.98138, 239.94708), (318.90277, 240.19360), (256.63416, 314.01935), (201.26117, 371.41043),
        (313.08905, 371.15118),
    ])  # fmt: skip


def align(landmarks: Points) -> Transform:
    """The similarity transform of ``landmarks`` to the square's landmarks, by least squares (Umeyama 1991)."""
    target = landmarks_in_square()
    source_centre, target_centre = landmarks.mean(axis=0), target.mean(axis=0)
    source = (landmarks - source_centre) @ (1, 1j)
    rotation = np.vdot(source, (target - target_centre) @ (1, 1j)) / np.vdot(source, source).real
    linear = np.array([(rotation.real, -rotation.imag), (rotation.imag, rotation.real)])
    return np.column_stack([linear, target_centre - linear @ source_centre])


def cut_out(image: Pixels, transform: Transform) -> Pixels:
    """The face in the square, upright; beyond the image's borders its edges are repeated."""
    return _bytes(
        cv2.warpAffine(image, transform, (FACE_PX, FACE_PX), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )


def paste(image: Pixels, face: Pixels, transform: Transform) -> Pixels:
    """Put ``face`` [512, 512, 3] back into ``image``, faded out towards the border of the square."""
    height, width = image.shape[:2]
    back = cv2.invertAffineTransform(transform)
    placed = cv2.warpAffine(face, back, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(_feathered_square(), back, (width, height), flags=cv2.INTER_LINEAR)[..., None]
    return _bytes(np.rint(placed * share + image * (1 - share)))


def _feathered_square() -> NDArray[np.float32]:
    """[512, 512]: 1 in the middle, falling to 0 at the border."""
    to_border_px = np.minimum(np.arange(FACE_PX), np.arange(FACE_PX)[::-1])
    ramp = np.clip(to_border_px / _FEATHER_PX, 0, 1)
    return np.minimum.outer(ramp, ramp).astype(np.float32)


def _bytes(values: Any) -> Pixels:
    pixels: Pixels = values.astype(np.uint8)
    return pixels
