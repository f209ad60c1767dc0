"""The images and data sets that jobs start from: their encoding for requests, and the kind of job that they imply."""

import base64
import io
import os
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Protocol, TypeAlias, TypeGuard, runtime_checkable

from ._arrays import Array, png_of


@runtime_checkable
class OnServer(Protocol):
    """An image that the server has: an upload, or the result of a job."""

    @property
    def source(self) -> str: ...


@runtime_checkable
class PillowImage(Protocol):
    """An image of Pillow, which is sent as PNG."""

    mode: str

    def convert(self, mode: str) -> "PillowImage": ...

    def save(self, fp: IO[bytes], format: str | None = None, **params: object) -> None: ...


@runtime_checkable
class BinaryFile(Protocol):
    """A file that is open for reading bytes."""

    def read(self) -> bytes: ...


Bytes: TypeAlias = bytes | bytearray | memoryview
ImageSource: TypeAlias = str | Bytes | os.PathLike[str] | BinaryFile | PillowImage | Array | OnServer
"""An image: a string that the server resolves (a URL, a `data:` URL, Base64, `input:...` or `image:...`), the bytes of
a file, the path or the open file, an image of Pillow, an array of uint8, or an image that the server has, such as the
first one of a job that has succeeded."""

_IMAGE_TYPES = (str, bytes, bytearray, memoryview, os.PathLike, OnServer, PillowImage, Array, BinaryFile)
_ARCHIVE = "data"
"""The name of a zip archive in parameters."""
_SOURCE_NAMES = frozenset({"image", "mask", _ARCHIVE})
_MODES = {mode: mode for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16")} | {
    "CMYK": "RGB", "YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB", "RGBX": "RGB", "PA": "RGBA", "RGBa": "RGBA", "La": "LA",
}  # fmt: skip
"""The modes of Pillow that can be sent, and the mode in which PNG has them."""
_PREFIXES = ("http://", "https://", "input:", "image:", "data:")


def is_image(value: object) -> TypeGuard[ImageSource]:
    """Whether `value` is an `ImageSource`."""
    return isinstance(value, _IMAGE_TYPES)


def source_of(image: ImageSource) -> str:
    """The source to send for `image`: Base64 for bytes and files, a string unchanged.

    Raises OSError, ValueError for a string that names a file, and for what is no image.
    """
    if isinstance(image, str):
        _check_is_no_path(image)
        return image
    if isinstance(image, OnServer):
        return image.source
    return base64.b64encode(bytes_of(image)).decode()


def bytes_of(image: Bytes | os.PathLike[str] | BinaryFile | PillowImage | Array) -> bytes:
    """The encoded image; raises OSError, and ValueError for what is no image or has no bytes."""
    data = _read(image)
    if not data:
        raise ValueError(f"there is nothing to send: {_named(image)} is empty")
    return data


def _named(image: object) -> str:
    """How a message calls a file, an open file or bytes."""
    if isinstance(image, os.PathLike):
        return str(image)
    name = getattr(image, "name", None)
    return f"the open file {name}" if isinstance(name, str) else f"the {type(image).__name__} object"


def _read(image: Bytes | os.PathLike[str] | BinaryFile | PillowImage | Array) -> bytes:
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, os.PathLike):
        return file_bytes(image)
    if isinstance(image, PillowImage):
        return _png_of(image)
    if isinstance(image, Array):
        return png_of(image)
    if not isinstance(image, BinaryFile):
        raise ValueError(f"no image: {type(image).__name__}")
    data = image.read()
    if not isinstance(data, bytes):
        raise ValueError("the file of an image must be opened for reading bytes, with the mode 'rb'")
    return data


def file_bytes(path: os.PathLike[str] | str) -> bytes:
    """What a file has; raises OSError, and ValueError for a device, which may have no end."""
    with open(path, "rb") as file:
        if stat.S_ISCHR(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"{os.fspath(path)} is a device, and no file")
        return file.read()


def _png_of(image: PillowImage) -> bytes:
    if image.mode not in _MODES:
        raise ValueError(f"an image of Pillow with the mode {image.mode} cannot be sent: convert it to RGB")
    file, mode = io.BytesIO(), _MODES[image.mode]
    (image if mode == image.mode else image.convert(mode)).save(file, "PNG")
    return file.getvalue()


def archive_of(data: Bytes | os.PathLike[str] | BinaryFile) -> bytes:
    """The zip archive in `data`; a folder is packed, without hidden files. Raises as `bytes_of`."""
    if not isinstance(data, os.PathLike) or not Path(data).is_dir():
        return bytes_of(data)
    packed, folder = io.BytesIO(), Path(data)
    with zipfile.ZipFile(packed, "w") as archive:  # stored: images are compressed already
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if path.is_file() and not any(part.startswith(".") for part in name.parts):
                archive.write(path, name.as_posix())
    return packed.getvalue()


def kind_of(params: Mapping[str, object]) -> str:
    """The kind of job that the images in `params` imply: inpaint, img2img or txt2img."""
    if params.get("mask") is not None:
        return "inpaint"
    return "txt2img" if params.get("image") is None else "img2img"


def check_given(**images: object) -> None:
    """Raise ValueError for an image that is None: it would be left out, and a job of another kind be made."""
    for name, image in images.items():
        if image is None:
            raise ValueError(f"{name} must be given, got None")


def wire_params(params: Mapping[str, object]) -> dict[str, object]:
    """`params` without None, and with every image replaced by its source."""
    found = {name: value for name, value in params.items() if value is not None}
    if is_image(found.get("mask")):
        found["mask"] = {"image": found["mask"]}
    return {name: _wire_value(name, value) for name, value in found.items()}


def _wire_value(name: str, value: object) -> object:
    if isinstance(value, str):
        return source_of(value) if name in _SOURCE_NAMES else value
    if isinstance(value, Mapping):
        return wire_params(value)
    if isinstance(value, list | tuple):
        return [_wire_value(name, each) for each in value]
    if name == _ARCHIVE and isinstance(value, os.PathLike):
        return base64.b64encode(archive_of(value)).decode()
    return source_of(value) if is_image(value) else value


def _check_is_no_path(text: str) -> None:
    # A string is never read as a file, because programs pass on strings of their users.
    if not text.lower().startswith(_PREFIXES) and "\0" not in text and os.path.isfile(text):
        raise ValueError(f"{text!r} is a file: pass it as Path({text!r})")
