"""Aligning faces: from an image to the upright square that face models are trained on, and back."""

from __future__ import annotations

from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

FACE_PX = 512
"""The side of the square in pixels."""
_FEATHER_PX = 48
_MARGIN_PX = 2
"""How far linear interpolation may reach beyond the square."""
_STRIP_PX = 1 << 20

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


def paste(image: Pixels, face: Pixels, transform: Transform) -> None:
    """Put ``face`` [512, 512, 3] back into ``image`` in place, faded out towards the border of the square.

    Only the area that the square covers is computed, strip by strip, since its values take 40 bytes a pixel.
    """
    back, square = cv2.invertAffineTransform(transform), _feathered_square()
    left, top, right, bottom = _covered(back, image)
    if left == right:
        return
    rows = max(1, _STRIP_PX // max(1, right - left))
    for upper in range(top, bottom, rows):
        lower = min(upper + rows, bottom)
        area = image[upper:lower, left:right]
        moved, size = back - np.array([(0, 0, left), (0, 0, upper)]), (right - left, lower - upper)
        placed = cv2.warpAffine(face, moved, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        share = cv2.warpAffine(square, moved, size, flags=cv2.INTER_LINEAR)[..., None]
        area[:] = _bytes(np.rint(placed * share + area * (1 - share)))


def _covered(back: Transform, image: Pixels) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the smallest part of ``image`` outside of which the square does not reach."""
    corners = np.array([(x, y, 1) for x in (0, FACE_PX) for y in (0, FACE_PX)]) @ back.T
    limits = np.array(image.shape[1::-1])
    low = np.clip(np.floor(corners.min(axis=0)).astype(int) - _MARGIN_PX, 0, limits)
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + _MARGIN_PX, 0, limits)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _feathered_square() -> NDArray[np.float32]:
    """[512, 512]: 1 in the middle, falling to 0 at the border."""
    to_border_px = np.minimum(np.arange(FACE_PX), np.arange(FACE_PX)[::-1])
    ramp = np.clip(to_border_px / _FEATHER_PX, 0, 1)
    return np.minimum.outer(ramp, ramp).astype(np.float32)


def _bytes(values: Any) -> Pixels:
    pixels: Pixels = values.astype(np.uint8)
    return pixels
