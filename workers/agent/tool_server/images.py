"""Images in a workspace: read with all checks of images from outside, and written without anything but their pixels."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL import Image, ImageColor

from models.errors import UnreadableImage, quoted, shortened
from models.media.images import decode_layer, header_size
from workers.agent.tool_server.errors import Refused
from workers.agent.tool_server.folder import Folder

IMAGE_MAX_PX = 1 << 24
"""16 megapixels: the largest image that is written, and read."""
SIDE_MAX_PX = 1 << 14
Color = tuple[int, int, int, int]

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_OPTIONS: dict[str, dict[str, Any]] = {"JPEG": {"quality": 92}, "WEBP": {"quality": 92, "method": 4}, "PNG": {}}
_COLOR_MAX_CHARS = 40
_TEXT_MARK = b"<"


def read_image(folder: Folder, name: str) -> Image.Image:
    """An image, upright: RGBA if a pixel of it is transparent, else RGB. Of an animation, the first frame.

    Raises:
        Refused: there is no such file, or it is no image that is read here.
    """
    return decoded(folder.read(name), name)


def decoded(data: bytes, name: str) -> Image.Image:
    """As :func:`read_image`, of the content of the file ``name``."""
    if data.lstrip()[:1] == _TEXT_MARK:
        raise Refused(f"{quoted(name)} is a text such as SVG or HTML, not an image of pixels")
    width, height = header_size(BytesIO(data)) or (0, 0)
    if width * height > IMAGE_MAX_PX or max(width, height) > SIDE_MAX_PX:
        raise Refused(f"{quoted(name)} is {width}x{height} pixels; at most {IMAGE_MAX_PX} pixels are read")
    try:
        image = decode_layer(data)
    except UnreadableImage as error:
        raise Refused(f"{quoted(name)} cannot be read: {error}") from error
    image.info = {}
    return image


def require_size(width: int, height: int) -> None:
    """Refuse images that are too large to be written."""
    if width * height > IMAGE_MAX_PX or max(width, height) > SIDE_MAX_PX:
        raise Refused(
            f"the result would be {width}x{height} pixels; at most {IMAGE_MAX_PX} pixels, and {SIDE_MAX_PX} on a side, "
            "are written"
        )


def require_ending(name: str, endings: tuple[str, ...] = tuple(_FORMATS)) -> str:
    """The ending of a file name, which says the format.

    Raises:
        Refused: it is none of ``endings``.
    """
    ending = name[name.rfind(".") :].lower() if "." in name else ""
    if ending not in endings:
        raise Refused(f"save_as must end with {' or '.join(endings)}, not as {quoted(name)}")
    return ending


def write_image(folder: Folder, name: str, image: Image.Image, background: Color) -> dict[str, Any]:
    """Write an image in the format that the name's ending says; what the tool answers.

    Args:
        background: put under transparent images in formats that have no transparency.
    """
    file_format = _FORMATS[require_ending(name)]
    if file_format == "JPEG":
        image = flattened(image, background)
    buffer = BytesIO()
    image.save(buffer, file_format, **_OPTIONS[file_format])
    return write_file(folder, name, buffer.getvalue(), image.width, image.height)


def write_file(folder: Folder, name: str, data: bytes, width: int, height: int) -> dict[str, Any]:
    """Write an encoded image; what the tool answers."""
    folder.write(name, data)
    return {"saved": name, "width": width, "height": height, "bytes": len(data)}


def flattened(image: Image.Image, background: Color) -> Image.Image:
    """``image`` as RGB, on ``background`` where it is transparent."""
    if image.mode == "RGB":
        return image
    ground = Image.new("RGBA", image.size, (*background[:3], 255))
    return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")


def color(text: str) -> Color:
    """A colour by its name in CSS, or as ``#rrggbb``; ``transparent`` is one.

    Raises:
        Refused: it is none.
    """
    if text.strip().lower() == "transparent":
        return (0, 0, 0, 0)
    try:
        found = ImageColor.getrgb(text.strip()) if len(text) <= _COLOR_MAX_CHARS else None
    except ValueError:
        found = None
    if found is None or any(not 0 <= level <= 255 for level in found):
        raise Refused(f"{shortened(text)!r} is no colour; use a name such as white, or #rrggbb")
    return (found[0], found[1], found[2], found[3] if len(found) > 3 else 255)
