"""The body and the answer of ``POST /v1/assist``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, SkipValidation

from models.catalog.families import IMG2IMG, INPAINT, TXT2IMG
from models.jobs.kinds import find_kind
from models.jobs.params import SOURCE_TEXT, UPSCALE
from service.api.job_bodies import job_body
from service.api.validation import StrictBody

MESSAGE_MAX_CHARS = 2000
"""Short, because the tools already take half of a context of 4096 tokens."""
IMAGES_MAX = 8

CHANGED_KINDS = tuple(map(find_kind, (TXT2IMG, IMG2IMG, INPAINT, UPSCALE)))
"""The kinds of job that a request may change."""

if TYPE_CHECKING:
    JobToChange = dict[str, Any]
else:  # documented as a union; parse_job parses it, because its errors name the field
    JobToChange = SkipValidation[job_body(CHANGED_KINDS, "JobToChange")]


class AssistBody(StrictBody):
    """A request in plain language."""

    message: str = Field(
        min_length=1, max_length=MESSAGE_MAX_CHARS, description="The request, in any language; not only spaces."
    )
    job: JobToChange | None = Field(
        None, description="A job to change: as it was posted, or with the effective `params` of an answer."
    )
    images: list[str] | None = Field(
        None, max_length=IMAGES_MAX, description=f"Images that the message may refer to, in this order. {SOURCE_TEXT}"
    )
    stream: bool | None = Field(None, description="Whether to answer with server-sent events.")


class ProposedJob(BaseModel):
    """A job that is not queued yet."""

    kind: str
    params: dict[str, Any] = Field(description="The parameters for `POST /v1/jobs`; images are stored already.")


class CallView(BaseModel):
    """A tool call of the language model."""

    name: str
    arguments: dict[str, Any]
    outcome: str = Field(description="`proposed`, `answered`, or why the call was refused.")


class AssistView(BaseModel):
    """The proposed job."""

    status: str = Field(description="Always `proposed`.")
    job: ProposedJob
    message: str = Field(description="The text of the language model beside its calls; often empty.")
    calls: list[CallView] = Field(description="All calls in order; the last one is the proposal.")
    rounds: int = Field(description="The number of requests to the language model.")
    engine: str = Field(description="The name of the language model.")
    template: str = Field(description="The version of the instructions to the language model.")


EXAMPLE: dict[str, Any] = {
    "message": "Mach es quadratisch, ohne Menschen, wie ein Comic",
    "job": {"kind": "txt2img", "params": {"prompt": "a street in Lisbon at noon", "aspect_ratio": "16:9"}},
}
