"""What is kept of images to find them: it survives writing, and near copies have nearly equal hashes."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from models.eyes.fingerprints import Fingerprint, perceptual_hash, read_fingerprints


def drawing(seed: int, size: int = 256) -> Image.Image:
    """Shapes in random places and colours on white."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (size, size), "white")
    canvas = ImageDraw.Draw(image)
    for _ in range(6):
        left, top, width, height = (int(each) for each in rng.integers(0, size // 2, 4))
        color = tuple(int(each) for each in rng.integers(0, 255, 3))
        canvas.ellipse((left, top, left + width + 8, top + height + 8), fill=color)
    return image


def as_jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=70)
    return Image.open(buffer).convert("RGB")


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "scaled down": lambda image: image.resize((100, 100)),
    "scaled up": lambda image: image.resize((700, 700)),
    "as JPEG": as_jpeg,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(0.92),
}


def distance(one: Image.Image, other: Image.Image) -> int:
    return (perceptual_hash(one) ^ perceptual_hash(other)).bit_count()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_near_copies_have_nearly_equal_hashes(change: Callable[[Image.Image], Image.Image]) -> None:
    assert max(distance(drawing(seed), change(drawing(seed))) for seed in range(30)) <= 4


def test_other_images_have_other_hashes() -> None:
    hashes = [perceptual_hash(drawing(seed)) for seed in range(60)]
    pairs = [(one ^ other).bit_count() for place, one in enumerate(hashes) for other in hashes[:place]]
    assert min(pairs) > 6 and 24 < sum(pairs) / len(pairs) < 40


@pytest.mark.parametrize("color", ["black", "white", "#7f7f80", "red"])
def test_plain_images_of_any_colour_are_alike(color: str) -> None:
    assert distance(Image.new("RGB", (50, 90), color), Image.new("RGB", (640, 640), "grey")) <= 1


def test_fingerprints_survive_writing() -> None:
    made = Fingerprint.of(drawing(1))
    vectors, hashes = read_fingerprints([Fingerprint.of(drawing(2)).to_text(), made.to_text()])
    assert int(hashes[1]) == made.hash == perceptual_hash(drawing(1)) != int(hashes[0])
    assert float(vectors[1] @ made.vector) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("text", ["", "AAAA", "?", "é", Fingerprint.of(drawing(1)).to_text()[:-4], "/" * 352])
def test_other_texts_are_no_fingerprints(text: str) -> None:
    with pytest.raises(ValueError):
        read_fingerprints([Fingerprint.of(drawing(3)).to_text(), text])
