"""EXIF data are read from the chunks of a PNG wherever they are, and no pixels are decoded for them."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import pytest
from PIL import ExifTags, Image, ImageFile

from models.media.header_exif import header_exif

ORIENTATION = ExifTags.Base.Orientation


def saved(name: str, orientation: int | None) -> bytes:
    exif, buffer = Image.Exif(), BytesIO()
    if orientation is not None:
        exif[ORIENTATION] = orientation
    Image.new("RGB", (6, 4)).save(buffer, name, exif=exif)
    return buffer.getvalue()


def with_exif_at_the_end(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    body = b"eXIf" + exif.tobytes().removeprefix(b"Exif\x00\x00")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    plain = saved("PNG", None)
    return plain[:-12] + chunk + plain[-12:]


def orientation_of(data: bytes) -> int | None:
    with Image.open(BytesIO(data)) as image:
        found: int | None = header_exif(image, data).get(ORIENTATION)
    return found


@pytest.fixture(autouse=True)
def nothing_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("the pixels were decoded"))


@pytest.mark.parametrize("orientation", [None, 1, 6])
@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP"])
def test_the_orientation_is_read(name: str, orientation: int | None) -> None:
    assert orientation_of(saved(name, orientation)) == orientation


def test_exif_after_the_pixels_of_a_png_is_found() -> None:
    assert orientation_of(with_exif_at_the_end(8)) == 8


@pytest.mark.parametrize("cut", [9, 20, 40])
def test_a_png_that_is_cut_off_has_none(cut: int) -> None:
    data = saved("PNG", None)
    with Image.open(BytesIO(data)) as image:
        assert header_exif(image, data[:cut]).get(ORIENTATION) is None
