"""In which form images are given back: as links or in the answer, and in which file format."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from types import MappingProxyType
from typing import Self

from PIL import Image

from service.api.formats import JPEG, PNG, WEBP, ImageFormat, convert
from service.api.openai.errors import OpenAiError
from service.api.openai.fields import EditForm, Fields, GenerateBody

FORMATS: Mapping[str, ImageFormat] = MappingProxyType({"png": PNG, "jpeg": JPEG, "webp": WEBP})
_PNG = "png"
_QUALITY_MAX = 100
_ANSWERED_IN_BASE64 = re.compile(r"gpt-image|chatgpt-")


@dataclass(frozen=True)
class Output:
    """The form of a request's images."""

    file_format: str
    compression: int
    """The quality of jpeg and webp, 0..100."""
    is_url: bool
    partial_images: int

    @classmethod
    def of(cls, fields: Fields) -> Self:
        """What ``fields`` ask for.

        Raises:
            OpenAiError: they ask for what is not available, or for two things that exclude each other.
        """
        file_format = fields.output_format or _PNG
        compression = _QUALITY_MAX if fields.output_compression is None else fields.output_compression
        _check_format(fields, file_format, compression)
        is_stream, partial_images = _streaming(fields)
        is_url = not is_stream and _is_url(fields)
        if is_url and file_format != _PNG:
            raise _Contradiction("output_format", f"links lead to png files; {file_format} needs b64_json")
        return cls(file_format, compression, is_url, partial_images)

    def encoded(self, png: bytes) -> bytes:
        """The PNG file ``png`` in the output's format. Blocking."""
        return convert(png, FORMATS[self.file_format], quality=max(self.compression, 1))

    def preview(self, data_url: str, size: tuple[int, int]) -> bytes:
        """The preview in ``data_url``, ``size`` pixels wide and high, in the output's format. Blocking."""
        buffer = BytesIO()
        with Image.open(BytesIO(base64.b64decode(data_url.partition(",")[2]))) as image:
            image.resize(size, Image.Resampling.BICUBIC).save(buffer, "PNG")
        return self.encoded(buffer.getvalue())


class _Contradiction(OpenAiError):
    def __init__(self, param: str, reason: str) -> None:
        super().__init__(f"{param}: {reason}", param=param)


def _check_format(fields: Fields, file_format: str, compression: int) -> None:
    if file_format not in FORMATS:
        raise _Contradiction("output_format", f"{file_format} is not available; there are {', '.join(FORMATS)}")
    if file_format == _PNG and compression != _QUALITY_MAX:
        raise _Contradiction("output_compression", "means nothing to png; it is for jpeg and webp")
    if fields.background == "transparent":
        raise _Contradiction("background", "transparent is not available: images are opaque")


def _streaming(fields: Fields) -> tuple[bool, int]:
    if not isinstance(fields, GenerateBody | EditForm):
        return False, 0
    if fields.partial_images and not fields.stream:
        raise _Contradiction("partial_images", "needs stream")
    if fields.stream and fields.response_format == "url":
        raise _Contradiction("response_format", "events carry images as b64_json; there is no url with stream")
    return bool(fields.stream), fields.partial_images or 0


def _is_url(fields: Fields) -> bool:
    if fields.response_format is not None:
        return fields.response_format == "url"
    return _ANSWERED_IN_BASE64.match(fields.model or "") is None
