"""A request for a job as it comes over the wire: as JSON, or as a form with the job in one part, images in others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from models.errors import FieldProblem, InvalidTicket
from service.api.bodies import parse_json, require_json_type
from service.api.errors import field_problems
from service.api.multipart import FormPart, is_form, parse_form
from service.api.prodia_v2.inputs import Input

JOB_PART, INPUT_PART = "job", "input"


_NAMES = ("DrawConfig", "UpscaleConfig", "FaceRestoreConfig")
_CONFIGS: list[Any] = [{"$ref": f"#/components/schemas/{name}"} for name in _NAMES]
_EMPTY: list[Any] = [{"type": "object", "maxProperties": 0}, {"type": "null"}]


class V2JobBody(BaseModel):
    """A job to be done; `name` and other keys that clients add are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: str = Field(description="A name from `GET /v2/types`.")
    config: dict[str, Any] | None = Field(
        None,
        json_schema_extra={"anyOf": _CONFIGS + _EMPTY},
        description="What the type takes. Keys that are not known are ignored, and named in the job's `warnings`.",
    )
    accept: Any = Field(None, description="The media type of the image where the Accept header leaves it open.")

    @property
    def hint(self) -> str | None:
        """``accept``, if it is one."""
        return self.accept if isinstance(self.accept, str) else None


class Call:
    """A job as it was asked for, and the images that came along."""

    def __init__(self, body: V2JobBody, inputs: Sequence[Input] = (), warnings: Sequence[str] = ()) -> None:
        self.type = body.type
        self.config = body.config or {}
        self.hint = body.hint
        self.inputs = tuple(inputs)
        self.warnings = tuple(warnings)


async def read_call(request: Request) -> Call:
    """The request's body.

    Raises:
        ApiError: it is no JSON, or says that it is something else than JSON or a form.
        InvalidTicket: it is no job.
    """
    content_type = request.headers.get("content-type", "")
    if is_form(request.headers):
        body = await request.body()
        return await run_in_threadpool(lambda: _from_parts(parse_form(body, content_type)))
    require_json_type(request.headers)
    body = await request.body()
    return await run_in_threadpool(lambda: Call(_job(body)))


def _from_parts(parts: Sequence[FormPart]) -> Call:
    jobs = [part.data for part in parts if part.name == JOB_PART]
    if len(jobs) != 1:
        raise InvalidTicket(
            [FieldProblem(JOB_PART, f"must come once as a part of the form, and came {len(jobs)} times")]
        )
    inputs = [Input(part.filename or "", part.data) for part in parts if part.name == INPUT_PART]
    others = [part.name[:100] for part in parts if part.name not in (JOB_PART, INPUT_PART)]
    warnings = [f"the part {name!r} is not known here, and was ignored" for name in others]
    return Call(_job(jobs[0]), inputs, warnings)


def _job(body: bytes) -> V2JobBody:
    try:
        return V2JobBody.model_validate(parse_json(body))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidTicket(field_problems(found)) from error
