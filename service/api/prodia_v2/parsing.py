"""Parsing of submitted jobs: JSON, or a form with the job in one part and images in the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request

from models.errors import InvalidTicket, ProblemCode, quoted
from service.api.bodies import parse_json, parsed, received_json, require_json_type
from service.api.errors import invalid_field
from service.api.multipart import FormPart, is_form, parse_form
from service.api.prodia_v2.form_images import FormImage
from service.api.prodia_v2.schemas import V2JobBody
from service.api.validation import field_problems

JOB_PART, INPUT_PART = "job", "input"


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A job as a client submitted it, and the images of its form."""

    type: str
    config: Mapping[str, Any]
    accept: str | None
    """The media type of the image if the Accept header leaves it open."""
    images: tuple[FormImage, ...] = ()
    warnings: tuple[str, ...] = ()


async def read_submission(request: Request) -> Submission:
    """The job in the request's body.

    Raises:
        ApiError: the body is not JSON, or its Content-Type is neither JSON nor a form.
        InvalidTicket: the body is not a job.
    """
    content_type = request.headers.get("content-type", "")
    if is_form(request.headers):
        return await parsed(await request.body(), lambda body: _from_parts(parse_form(body, content_type, None)))
    require_json_type(request.headers)
    return await parsed(await received_json(request, has_images=True), _submission)


def _from_parts(parts: Sequence[FormPart]) -> Submission:
    jobs = [part.data for part in parts if part.name == JOB_PART]
    if len(jobs) != 1:
        message = f"must come once as a part of the form, and came {len(jobs)} times"
        raise invalid_field(JOB_PART, message, ProblemCode.CONFLICT if jobs else ProblemCode.REQUIRED)
    images = tuple(FormImage(part.filename or "", part.data) for part in parts if part.name == INPUT_PART)
    others = [part.name for part in parts if part.name not in (JOB_PART, INPUT_PART)]
    warnings = tuple(f"the part {quoted(name)} is not known here, and was ignored" for name in others)
    return _submission(jobs[0], images, warnings)


def _submission(body: bytes, images: tuple[FormImage, ...] = (), warnings: tuple[str, ...] = ()) -> Submission:
    job = _job(body)
    accept = job.accept if isinstance(job.accept, str) else None
    return Submission(type=job.type, config=job.config or {}, accept=accept, images=images, warnings=warnings)


def _job(body: bytes) -> V2JobBody:
    try:
        return V2JobBody.model_validate(parse_json(body))
    except ValidationError as error:
        raise InvalidTicket(field_problems(error.errors(include_url=False, include_input=False))) from error
