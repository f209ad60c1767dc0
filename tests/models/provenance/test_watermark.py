"""The watermark: what it survives, that nobody sees it, and that it is found nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from models.provenance import convolution
from models.provenance.watermark import embed, read
from tests.models.provenance.samples import encoded, icon, photograph

MARK = 0xDEADBEEF


def reencoded(name: str, **options: int) -> Callable[[Image.Image], Image.Image]:
    return lambda image: Image.open(BytesIO(encoded(image, name, **options))).convert("RGB")


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "nothing": lambda image: image,
    "JPEG 95": reencoded("JPEG", quality=95),
    "JPEG 75": reencoded("JPEG", quality=75),
    "WebP 90": reencoded("WEBP", quality=90),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "twice the size": lambda image: image.resize((image.width * 2, image.height * 2)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
}


@pytest.mark.parametrize("source_image", [photograph, icon])
@pytest.mark.parametrize("change", CHANGES)
def test_the_mark_survives(change: str, source_image: Callable[[int, int], Image.Image]) -> None:
    found = read(CHANGES[change](embed(source_image(512, 3), MARK)))
    assert found is not None and found.mark == MARK


def test_the_mark_survives_a_crop() -> None:
    found = read(embed(photograph(512, 3), MARK).crop((40, 30, 500, 490)))
    assert found is not None and found.mark == MARK


@pytest.mark.parametrize("source_image", [photograph, icon])
def test_nobody_sees_it(source_image: Callable[[int, int], Image.Image]) -> None:
    image = source_image(512, 5)
    before, after = (np.asarray(each, np.float64) for each in (image, embed(image, MARK)))
    assert 10 * np.log10(255**2 / np.mean((before - after) ** 2)) > 36


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (64, 64), (2048, 16), (16, 1500), (1100, 1300)])
def test_every_size_can_be_marked_and_read(size: tuple[int, int]) -> None:
    marked = embed(Image.linear_gradient("L").resize(size).convert("RGB"), MARK)
    assert marked.size == size and marked.mode == "RGB"
    read(marked)


def test_an_image_is_marked_alike_whatever_its_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    image = photograph(256, 1)
    whole = embed(image, MARK)
    monkeypatch.setattr("models.provenance.watermark._STRIP_PX", 256 * 7)
    assert embed(image, MARK).tobytes() == whole.tobytes()


def test_the_image_itself_stays() -> None:
    image = photograph(128)
    before = image.tobytes()
    assert embed(image, MARK).tobytes() != before == image.tobytes()


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_found_in_other_images(seed: int) -> None:
    assert read(photograph(300, seed)) is None and read(icon(300, seed)) is None


def test_carriers_are_those_of_every_other_server() -> None:
    """They must never change: marks of earlier versions are read by the same ones."""
    from models.provenance.watermark import _carriers

    carriers = _carriers().reshape(len(_carriers()), -1)
    assert np.allclose(carriers @ carriers.T, np.eye(len(carriers)), atol=1e-5)
    assert np.allclose(carriers[[0, 1, 108], [0, 100, 4095]], FIRST, atol=1e-5)


FIRST = [-0.034361, -0.02114, -0.004928]


@pytest.mark.parametrize("message", [0, 1, 0x123456789ABC, 2**48 - 1])
def test_the_code_corrects_errors(message: int) -> None:
    signs = convolution.encode(message, 48)
    assert len(signs) == convolution.coded_length(48) == 108
    damaged = signs.copy()
    damaged[::12] *= -1  # nine of 108
    assert convolution.decode(damaged) == message
    weak = signs + np.random.default_rng(1).normal(0, 0.6, 108).astype(np.float32)
    assert convolution.decode(weak) == message
