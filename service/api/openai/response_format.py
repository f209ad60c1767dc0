"""How a response returns images: as links or in Base64, and in which file format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from types import MappingProxyType
from typing import Self

from models.jobs.cost import area
from service.api.conversions import Conversions
from service.api.decoding import Decoding
from service.api.formats import JPEG, PNG, WEBP, ImageFormat
from service.api.openai.errors import OpenAiError
from service.api.openai.names import without_provider
from service.api.openai.schemas import EditForm, GenerateBody, ImageFields
from service.api.previews import enlarged

FORMATS: Mapping[str, ImageFormat] = MappingProxyType({"png": PNG, "jpeg": JPEG, "webp": WEBP})
_PNG = "png"
_QUALITY_MAX = 100
_BASE64_MODELS = re.compile(r"gpt-image|chatgpt-")


@dataclass(frozen=True)
class ResponseFormat:
    """How the response to one request returns images."""

    file_format: str
    compression: int
    """The quality of jpeg and webp files, 0 to 100."""
    is_url: bool
    partial_images: int
    """The largest number of previews before each image."""

    @classmethod
    def of(cls, fields: ImageFields) -> Self:
        """The format that ``fields`` request.

        Raises:
            OpenAiError: a value is not available, or two fields contradict each other.
        """
        file_format = fields.output_format or _PNG
        compression = _QUALITY_MAX if fields.output_compression is None else fields.output_compression
        _check_format(fields, file_format, compression)
        is_stream, partial_images = _streaming(fields)
        is_url = not is_stream and _is_url(fields)
        if is_url and file_format != _PNG:
            raise _FieldError("output_format", f"must be png if response_format is url; {file_format} needs b64_json")
        return cls(file_format, compression, is_url, partial_images)

    async def encoded(self, conversions: Conversions, image_id: str, png: bytes) -> bytes:
        """The generated image, whose PNG file is ``png``, in the file format of the response."""
        return await conversions.of(image_id, png, self._format, quality=self._quality)

    async def preview(self, decoding: Decoding, data_url: str, size: tuple[int, int]) -> bytes:
        """The preview in ``data_url``, resized to ``size`` (width, height) and encoded like an image."""
        png = await decoding.run(area(size), lambda: _resized(data_url, size))
        return await decoding.convert(png, self._format, quality=self._quality)

    @property
    def _format(self) -> ImageFormat:
        return FORMATS[self.file_format]

    @property
    def _quality(self) -> int:
        return max(self.compression, 1)


def _resized(data_url: str, size: tuple[int, int]) -> bytes:
    buffer = BytesIO()
    enlarged(data_url, size).save(buffer, "PNG")
    return buffer.getvalue()


class _FieldError(OpenAiError):
    def __init__(self, param: str, reason: str) -> None:
        super().__init__(f"{param}: {reason}", param=param)


def _check_format(fields: ImageFields, file_format: str, compression: int) -> None:
    if file_format not in FORMATS:
        raise _FieldError("output_format", f"must be one of {', '.join(FORMATS)}; {file_format} is not available")
    if file_format == _PNG and compression != _QUALITY_MAX:
        raise _FieldError("output_compression", "is for jpeg and webp, and has no effect on png")
    if fields.background == "transparent":
        raise _FieldError("background", "transparent is not available: images are opaque")


def _streaming(fields: ImageFields) -> tuple[bool, int]:
    if not isinstance(fields, GenerateBody | EditForm):
        return False, 0
    if fields.partial_images and not fields.stream:
        raise _FieldError("partial_images", "needs stream to be true")
    if fields.stream and fields.response_format == "url":
        raise _FieldError("response_format", "must be b64_json if stream is true")
    return bool(fields.stream), fields.partial_images or 0


def _is_url(fields: ImageFields) -> bool:
    if fields.response_format is not None:
        return fields.response_format == "url"
    return _BASE64_MODELS.match(without_provider(fields.model or "")) is None
