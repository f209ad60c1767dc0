"""What OpenAI's clients are given: images as links or in Base64, with what they were made by."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, Field

from models.catalog.styles import apply_style, find_style
from models.jobs.params import DrawParams
from models.jobs.records import JobRecord, JobStatus
from service.api.openai.errors import failed_job
from service.api.openai.fields import Fields
from service.api.openai.output import Output

_SHOWN_QUALITIES: Mapping[str | None, str] = {
    "low": "low", "high": "high", "hd": "high", "xhigh": "xhigh", "max": "max",
}  # fmt: skip


class InputTokens(BaseModel):
    """Of the prompt and of images."""

    text_tokens: int = 0
    image_tokens: int = 0


class Usage(BaseModel):
    """What clients expect; nothing is counted in tokens here, so that all of it is 0."""

    input_tokens: int = 0
    input_tokens_details: InputTokens = InputTokens()
    output_tokens: int = 0
    total_tokens: int = 0


class ImageData(BaseModel):
    """One image."""

    url: str | None = Field(None, description="There if links were asked for.")
    b64_json: str | None = Field(None, description="There if Base64 was asked for.")
    revised_prompt: str = Field(
        description="The prompt as it was drawn: rewritten, if it was, and with the words of its style preset."
    )
    seed: int = Field(description="Photogram's own.")


class ImagesAnswer(BaseModel):
    """The images of one request."""

    created: int = Field(description="Seconds since the epoch.")
    data: list[ImageData]
    background: Literal["opaque"] = "opaque"
    output_format: str
    quality: str
    size: str = Field(description="Of each image, as `WIDTHxHEIGHT`.")
    usage: Usage = Usage()


def shown_quality(fields: Fields) -> str:
    """The quality in the words that answers may have."""
    return _SHOWN_QUALITIES.get(fields.quality, "medium")


def shown_size(params: DrawParams) -> str:
    """As in ``512x768``."""
    return f"{params.width}x{params.height}"


def image_data(params: DrawParams, link: str, file: bytes | None) -> ImageData:
    """The entry of an image: with ``file`` in it, or with ``link`` if there is none."""
    encoded = None if file is None else base64.b64encode(file).decode()
    return ImageData(
        url=link if file is None else None, b64_json=encoded, revised_prompt=_drawn_prompt(params), seed=params.seed
    )


def _drawn_prompt(params: DrawParams) -> str:
    style = None if params.style_preset is None else find_style(params.style_preset)
    return params.prompt if style is None else apply_style(style, params.prompt, params.negative_prompt)[0]


def images_answer(records: list[JobRecord], data: list[ImageData], fields: Fields, output: Output) -> ImagesAnswer:
    """The answer to ``fields``; the jobs of ``records`` are over."""
    last = records[-1]
    return ImagesAnswer(
        created=int(last.finished_at or last.created_at),
        data=data,
        output_format=output.file_format,
        quality=shown_quality(fields),
        size=shown_size(draw_params(last)),
    )


def draw_params(record: JobRecord) -> DrawParams:
    """The parameters as a job draws with them; others are never queued here."""
    params = record.drawn_params
    assert isinstance(params, DrawParams)
    return params


def require_images(records: list[JobRecord]) -> None:
    """Raise :class:`OpenAiError` if a job gave no image."""
    for record in records:
        if record.status is not JobStatus.SUCCEEDED:
            raise failed_job(record)
