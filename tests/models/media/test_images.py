"""Images from outside: what is read, what is refused before it is decoded, and how it is flattened."""

from __future__ import annotations

import re
import struct
import zlib
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, ImageChops

from models.errors import UnreadableImage
from models.media.images import FORMATS, INPUT_MAX_PX, decode, decode_mask, measure

IMAGE = Image.effect_noise((40, 30), 60).convert("RGB")


def saved(image: Image.Image, name: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(width: int, height: int) -> bytes:
    """A PNG file of a few bytes that claims to be that large."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read(name: str) -> None:
    data = saved(IMAGE.resize((32, 32)), name)
    assert measure(data) == (32, 32)
    image = decode(data)
    assert (image.mode, image.size) == ("RGB", (32, 32))
    assert decode_mask(data).mode == "L"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_every_mode_is_read(mode: str) -> None:
    image = Image.new("L", (8, 8), 255)
    data = saved(Image.new(mode, (8, 8), 65_535) if mode[0] == "I" else image.convert(mode), "TIFF")
    assert measure(data) == (8, 8)
    assert decode(data).getpixel((4, 4)) == (255, 255, 255)


def test_levels_from_0_to_1_are_scaled() -> None:
    assert decode(saved(Image.new("F", (2, 2), 1.0), "TIFF")).getpixel((0, 0)) == (255, 255, 255)


def test_colour_spaces_that_cannot_be_converted_are_refused_at_submission() -> None:
    with pytest.raises(UnreadableImage, match="convert it to RGB"):
        measure(saved(Image.new("LAB", (8, 8)), "TIFF"))


def test_only_the_first_frame_of_a_moving_image_is_read() -> None:
    red, blue = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    assert decode(saved(red, "GIF", save_all=True, append_images=[blue])).getpixel((0, 0)) == (255, 0, 0)


def test_what_is_transparent_is_white_in_an_image_and_dark_in_a_mask() -> None:
    layer = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    layer.putpixel((1, 0), (255, 0, 0, 255))
    for data in (saved(layer), saved(layer, "WEBP", lossless=True)):
        assert [decode(data).getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (255, 0, 0)]
        assert [decode_mask(data).getpixel((x, 0)) for x in (0, 1)] == [0, 255]
    palette = Image.new("P", (1, 1), 0)
    palette.putpalette([0, 0, 0])
    assert decode(saved(palette, transparency=0)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("colour", ["black", "red", "white", (1, 2, 3)])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("name", ["PNG", "WEBP", "TIFF", "ICO", "AVIF"])
def test_strokes_on_a_transparent_layer_are_the_mask_whatever_their_colour(
    name: str, mode: str, colour: str | tuple[int, int, int]
) -> None:
    layer = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    layer.paste(Image.new("RGBA", (16, 32), colour), (0, 0))
    mask = decode_mask(saved(layer.convert("LA") if mode == "LA" else layer, name))
    assert (mask.mode, mask.getpixel((4, 4)), mask.getpixel((28, 28))) == ("L", 255, 0)


def test_the_strokes_of_a_palette_are_the_mask_too() -> None:
    layer = Image.new("P", (2, 1), 0)
    layer.putpalette([255, 255, 255, 0, 0, 0])
    layer.putpixel((1, 0), 1)
    for name in ("PNG", "GIF"):
        assert [decode_mask(saved(layer, name, transparency=0)).getpixel((x, 0)) for x in (0, 1)] == [0, 255]


def test_the_brightness_of_a_mask_counts_if_all_of_it_is_opaque() -> None:
    layer = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    layer.putpixel((1, 0), (255, 255, 255, 255))
    assert [decode_mask(saved(layer)).getpixel((x, 0)) for x in (0, 1)] == [0, 255]


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
     saved(IMAGE, "EPS"), saved(IMAGE, "PDF"), saved(IMAGE, "TGA"), saved(IMAGE, "SGI"), saved(IMAGE, "PCX"),
     saved(IMAGE.convert("1"), "XBM"), bomb(10, 10)],
)  # fmt: skip
def test_what_is_no_image_of_ours_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableImage, match="image"):
        decode(data)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}])
@pytest.mark.parametrize("missing", [1, 2, 3, 100])
def test_a_jpeg_that_lacks_its_end_is_read_as_far_as_it_goes(missing: int, options: dict[str, Any]) -> None:
    whole = saved(IMAGE, "JPEG", **options)
    assert measure(whole[:-missing]) == (40, 30)
    read, shown = decode(whole[:-missing]), decode(whole)
    assert ImageChops.difference(read, shown).crop((0, 0, 40, 8)).getbbox() is None or "progressive" in options


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "1", "P"])
def test_a_png_that_lacks_its_end_is_read_as_far_as_it_goes(mode: str) -> None:
    whole = saved(IMAGE.convert(mode))
    for missing in (1, 4, 8, 12, 20, 60):
        assert measure(whole[:-missing]) == (40, 30)
        read = decode(whole[:-missing])
        assert ImageChops.difference(read, decode(whole)).crop((0, 0, 40, 10)).getbbox() is None


def test_a_png_that_lacks_most_of_its_rows_is_refused() -> None:
    whole = saved(IMAGE)
    for read in (measure, decode):
        with pytest.raises(UnreadableImage, match="incomplete"):
            read(whole[: len(whole) // 3])


@pytest.mark.parametrize("name", [each for each in FORMATS if each not in ("PNG", "JPEG")])
@pytest.mark.parametrize("missing", [10, 100])
def test_other_files_that_lack_their_end_are_refused_before_they_are_decoded(name: str, missing: int) -> None:
    with pytest.raises(UnreadableImage):
        measure(saved(IMAGE.resize((32, 32)), name)[:-missing])


def test_an_icon_that_hides_a_large_image_is_refused_before_pillow_decodes_it() -> None:
    inner = bomb(8000, 6000)
    icon = b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22) + inner
    for read in (measure, decode):
        with pytest.raises(UnreadableImage, match="larger than 1024 x 1024"):
            read(icon)


@pytest.mark.parametrize("name", FORMATS)
def test_damage_at_any_byte_is_no_surprise(name: str) -> None:
    data = saved(IMAGE.resize((32, 32) if name == "ICO" else (8, 8)), name)
    for place in range(0, len(data), max(1, len(data) // 150)):
        for broken in (data[:place], data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]):
            for read in (measure, decode):
                try:
                    read(broken)
                except UnreadableImage:
                    continue


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("exif", [b"Exif\0\0" + bytes(range(100, 150)), b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff"])
def test_exif_data_that_cannot_be_read_say_nothing(name: str, exif: bytes) -> None:
    buffer = BytesIO()
    Image.new("RGB", (6, 4), "red").save(buffer, name, exif=exif)
    assert decode(buffer.getvalue()).size == measure(buffer.getvalue()) == (6, 4)


DAMAGED_FILES = {
    "a PNG without pixels": saved(Image.new("RGB", (8, 8)), "PNG")[:33] + b"\0\0\0\0IEND\xaeB`\x82",
    "half a WebP": saved(Image.effect_noise((90, 90), 60).convert("RGB"), "WEBP")[:200],
    "a GIF of zeros": saved(Image.new("L", (8, 8)), "GIF")[:13] + bytes(90),
    "a JPEG of zeros": saved(Image.new("L", (8, 8)), "JPEG")[:20] + bytes(90),
    "a TIFF of zeros": b"II*\0\x08\0\0\0" + bytes(90),
    "a text of 80 MB": saved(Image.new("L", (8, 8)))[:33] + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80 << 20))),
}


@pytest.mark.parametrize("name", DAMAGED_FILES)
def test_damage_is_told_without_the_words_of_libraries(name: str) -> None:
    with pytest.raises(UnreadableImage) as caught:
        decode(DAMAGED_FILES[name])
    assert not re.search(r"list index|decoder|MAX_TEXT|Pillow|PIL|struct|unpack|\(", str(caught.value))
