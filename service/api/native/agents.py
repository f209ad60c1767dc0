"""The native route by which people talk to agent jobs while these run."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import Field, field_validator

from service.api.auth import Submitter
from service.api.bodies import read_body, require_json_type
from service.api.documentation import json_body
from service.api.images import base_url
from service.api.native.errors import TELLING_JOB
from service.api.native.schemas import JobView
from service.api.native.views import job_view
from service.api.state import GatewayState
from service.api.validation import StrictBody

router = APIRouter(tags=["jobs"])

INPUT_MAX_CHARS = 4_000


class InputBody(StrictBody):
    """What a person tells an agent job."""

    text: str = Field(min_length=1, max_length=INPUT_MAX_CHARS, description="The answer, or what to change.")
    question: str | None = Field(
        None,
        max_length=100,
        description="The `id` of the question that is answered: the text is refused if the job does not ask it now.",
    )

    @field_validator("text")
    @classmethod
    def _says_something(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("must not be blank")
        return text


OPENAPI_MODELS = (InputBody,)


@router.post(
    "/v1/jobs/{job_id}/input",
    operation_id="tellJob",
    summary="Answer an agent job, or tell it what to change",
    openapi_extra=json_body(InputBody, {"text": "the second one, but with a blue balloon"}),
    responses=TELLING_JOB,
)
async def tell_job(request: Request, gateway: GatewayState, caller: Submitter, job_id: str) -> JobView:
    """Answer the question in `waiting_for_input`; without one, what is said changes the further plan of the job."""
    require_json_type(request.headers)
    body = await read_body(request, InputBody)
    record = await gateway.jobs.tell(caller, job_id, body.text, body.question)
    return job_view(record, base_url(request, gateway))
