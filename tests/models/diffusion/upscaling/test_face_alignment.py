"""Faces are turned upright and put back where they were."""

from __future__ import annotations

import numpy as np
import pytest

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
    again = paste(image, cut_out(image, transform), transform)
    assert np.abs(again.astype(int) - image).max() <= 3


def test_a_new_face_replaces_the_middle_and_leaves_the_surroundings():
    image = smooth_image(500, 400)
    transform = align(turned(0, 0.5, (100, 80)))  # the square is 100..356, 80..336
    white = paste(image, np.full((512, 512, 3), 255, np.uint8), transform)
    assert (white[150:270, 170:290] == 255).all()
    outside = np.ones((400, 500), bool)
    outside[79:338, 99:358] = False
    assert (white[outside] == image[outside]).all()
    steps = np.abs(np.diff(white[200, 90:180].astype(int), axis=0)).max()
    assert steps < 20  # it fades in


def test_a_face_at_the_edge_is_filled_up_with_the_edge():
    image = np.full((100, 100, 3), 200, np.uint8)
    assert (cut_out(image, align(turned(0, 0.5, (-120, -120)))) == 200).all()
