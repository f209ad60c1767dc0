"""Finished jobs as OpenAI's Images API shows them."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from models.catalog.styles import find_style
from models.jobs.composition import styled
from models.jobs.params import DrawParams
from models.jobs.records import JobRecord, JobStatus
from service.api.openai.errors import failed_job
from service.api.openai.response_format import ResponseFormat
from service.api.openai.schemas import ImageData, ImageFields, ImagesAnswer
from service.api.openai.translate import wire_name

_SHOWN_QUALITIES: Mapping[str | None, str] = {
    "low": "low", "high": "high", "hd": "high", "xhigh": "xhigh", "max": "max",
}  # fmt: skip


def shown_quality(fields: ImageFields) -> str:
    """The quality of the request, as one of the values that answers may have."""
    return _SHOWN_QUALITIES.get(fields.quality, "medium")


def shown_size(params: DrawParams) -> str:
    """The size as ``WIDTHxHEIGHT``."""
    return f"{params.width}x{params.height}"


def image_data(params: DrawParams, link: str, file: bytes | None) -> ImageData:
    """One image of the answer.

    Args:
        file: the encoded image; ``None`` puts ``link`` into the answer instead.
    """
    encoded = None if file is None else base64.b64encode(file).decode()
    return ImageData(
        url=link if file is None else None, b64_json=encoded, revised_prompt=_styled_prompt(params), seed=params.seed
    )


def _styled_prompt(params: DrawParams) -> str:
    style = None if params.style_preset is None else find_style(params.style_preset)
    return params.prompt if style is None else styled(style, params.prompt, params.negative_prompt)[0]


def images_answer(
    records: list[JobRecord], data: list[ImageData], fields: ImageFields, response_format: ResponseFormat
) -> ImagesAnswer:
    """The answer with ``data``, the images of the finished jobs in ``records``."""
    last = records[-1]
    return ImagesAnswer(
        created=int(last.finished_at or last.created_at),
        data=data,
        output_format=response_format.file_format,
        quality=shown_quality(fields),
        size=shown_size(draw_params(last)),
    )


def draw_params(record: JobRecord) -> DrawParams:
    """The parameters that the job runs with, after rewriting; this API submits no other kinds of job."""
    params = record.drawn_params
    assert isinstance(params, DrawParams)
    return params


def require_images(records: list[JobRecord]) -> None:
    """Raise :class:`OpenAiError` if a job has not succeeded."""
    for record in records:
        if record.status is not JobStatus.SUCCEEDED:
            raise failed_job(record, wire_name)
