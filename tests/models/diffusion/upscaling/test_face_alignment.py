"""Faces are turned upright and put back where they were."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from models.diffusion.upscaling import face_alignment
from models.diffusion.upscaling.face_alignment import align, cut_out, landmarks_in_square, paste


def turned(degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    """The landmarks of a face that is turned, of another size, and elsewhere [5, 2]."""
    angle = np.radians(degrees)
    rotation = scale * np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    return landmarks_in_square() @ rotation.T + shift


def smooth_image(width: int, height: int) -> np.ndarray:
    """RGB without edges, so that resampling costs little."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 40), np.cos(y / 50), np.sin((x + y) / 60)]
    return np.stack([128 + 100 * wave for wave in waves], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("degrees", [0, 30, -75, 180])
@pytest.mark.parametrize("scale", [0.3, 1.0, 2.5])
def test_a_turned_face_comes_to_the_landmarks_of_the_square(degrees: float, scale: float):
    landmarks = turned(degrees, scale, (70, 250))
    transform = align(landmarks)
    assert np.allclose(landmarks @ transform[:, :2].T + transform[:, 2], landmarks_in_square())


def test_landmarks_that_do_not_fit_are_met_without_distortion():
    landmarks = turned(10, 0.5, (50, 50)) + np.random.default_rng(0).normal(0, 5, (5, 2))
    linear = align(landmarks)[:, :2]
    assert np.allclose(linear @ linear.T, np.eye(2) * np.linalg.det(linear))
    assert np.linalg.det(linear) == pytest.approx(4, rel=0.3)


@pytest.mark.parametrize("degrees", [0, 40])
def test_a_face_cut_out_and_put_back_unchanged_changes_nothing(degrees: float):
    image = smooth_image(400, 360)
    transform = align(turned(degrees, 0.4, (150, 60)))
    again = image.copy()
    paste(again, cut_out(image, transform), transform)
    assert np.abs(again.astype(int) - image).max() <= 3


def test_a_new_face_replaces_the_middle_and_leaves_the_surroundings():
    image = smooth_image(500, 400)
    transform = align(turned(0, 0.5, (100, 80)))  # the square is 100..356, 80..336
    white = image.copy()
    paste(white, np.full((512, 512, 3), 255, np.uint8), transform)
    assert (white[150:270, 170:290] == 255).all()
    outside = np.ones((400, 500), bool)
    outside[79:338, 99:358] = False
    assert (white[outside] == image[outside]).all()
    steps = np.abs(np.diff(white[200, 90:180].astype(int), axis=0)).max()
    assert steps < 20  # it fades in


def test_a_face_at_the_edge_is_filled_up_with_the_edge():
    image = np.full((100, 100, 3), 200, np.uint8)
    assert (cut_out(image, align(turned(0, 0.5, (-120, -120)))) == 200).all()


@pytest.mark.parametrize("degrees", [0, 33, 180])
@pytest.mark.parametrize(("scale", "shift"), [(0.2, (30, 250)), (0.6, (-60, 200)), (1.5, (-200, -150))])
def test_only_the_covered_part_is_computed_and_looks_as_if_all_were(
    degrees: float, scale: float, shift: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face_alignment, "_STRIP_PX", 3000)  # many strips
    image, transform = smooth_image(420, 370), align(turned(degrees, scale, shift))
    face = smooth_image(512, 512)[::-1].copy()
    back, square = cv2.invertAffineTransform(transform), face_alignment._feathered_square()
    placed = cv2.warpAffine(face, back, (420, 370), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(square, back, (420, 370), flags=cv2.INTER_LINEAR)[..., None]
    whole = np.rint(placed * share + image * (1 - share))
    paste(image, face, transform)
    assert np.abs(whole - image).max() <= 2
