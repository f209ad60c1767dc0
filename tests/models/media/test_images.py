"""Images from outside: what is read, what is refused before it is decoded, and how it is flattened."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import pytest
from PIL import Image

from models.errors import UnreadableImage
from models.media.images import INPUT_MAX_PX, decode, decode_mask, measure

IMAGE = Image.effect_noise((40, 30), 60).convert("RGB")


def saved(image: Image.Image, name: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG file of a few bytes that claims to be that large."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_every_format_is_read(name: str) -> None:
    data = saved(IMAGE, name)
    assert measure(data) == (40, 30)
    image = decode(data)
    assert (image.mode, image.size) == ("RGB", (40, 30))
    assert decode_mask(data).mode == "L"


def test_only_the_first_frame_of_a_moving_image_is_read() -> None:
    red, blue = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    assert decode(saved(red, "GIF", save_all=True, append_images=[blue])).getpixel((0, 0)) == (255, 0, 0)


def test_what_is_transparent_is_white_in_an_image_and_dark_in_a_mask() -> None:
    layer = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    layer.putpixel((1, 0), (255, 0, 0, 255))
    for data in (saved(layer), saved(layer, "WEBP", lossless=True)):
        assert [decode(data).getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (255, 0, 0)]
        assert [decode_mask(data).getpixel((x, 0)) for x in (0, 1)] == [0, 76]
    palette = Image.new("P", (1, 1), 0)
    palette.putpalette([0, 0, 0])
    assert decode(saved(palette, transparency=0)).getpixel((0, 0)) == (255, 255, 255)


def test_a_photograph_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(Image.new("RGB", (40, 30)), "JPEG", exif=exif)
    assert decode(data).size == decode_mask(data).size == (30, 40)


def test_sixteen_bits_of_grey_are_scaled_and_not_cut_off() -> None:
    deep = Image.new("I;16", (3, 1))
    for x, level in enumerate((0, 32768, 65535)):
        deep.putpixel((x, 0), level)
    image = decode(saved(deep))
    assert [image.getpixel((x, 0))[0] for x in range(3)] == [0, 127, 255]


@pytest.mark.parametrize("size", [(INPUT_MAX_PX + 1, 1), (8000, 8000), (12000, 12000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    for read in (measure, decode, decode_mask):
        with pytest.raises(UnreadableImage, match="more than 50000000 pixels"):
            read(bomb(*size))


@pytest.mark.parametrize(
    "data",
    [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\0" * 1000,
     saved(IMAGE, "TIFF"), saved(IMAGE, "PPM"), saved(IMAGE, "ICO"), bomb(10, 10)],
)  # fmt: skip
def test_what_is_no_image_of_ours_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableImage, match="image"):
        decode(data)


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_damage_at_any_byte_is_no_surprise(name: str) -> None:
    data = saved(IMAGE.resize((8, 8)), name)
    for place in range(0, len(data), max(1, len(data) // 150)):
        for broken in (data[:place], data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]):
            for read in (measure, decode):
                try:
                    read(broken)
                except UnreadableImage:
                    continue
