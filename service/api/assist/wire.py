"""The wire of wishes: what a client says, and the job that it is given back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, SkipValidation

from models.catalog.families import IMG2IMG, INPAINT, TXT2IMG
from models.jobs.kinds import find_kind
from models.jobs.params import SOURCE_TEXT, UPSCALE
from service.api.native.schemas import job_body

MESSAGE_MAX_CHARS = 2000
"""Language models with contexts of 4096 tokens need half of that for the tools."""
IMAGES_MAX = 8

CHANGED_KINDS = tuple(map(find_kind, (TXT2IMG, IMG2IMG, INPAINT, UPSCALE)))
"""The kinds of job that a wish may change."""

if TYPE_CHECKING:
    JobToChange = dict[str, Any]
else:  # documented as a union of these kinds; parsed by parse_job, whose errors are plainer
    JobToChange = SkipValidation[job_body(CHANGED_KINDS, "JobToChange")]


class AssistBody(BaseModel):
    """A wish."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    message: str = Field(
        min_length=1, max_length=MESSAGE_MAX_CHARS, description="What is wanted, in any language; not only spaces."
    )
    job: JobToChange | None = Field(
        None, description="A job to change, as it was posted, or with the effective `params` of an answer."
    )
    images: list[str] | None = Field(
        None, max_length=IMAGES_MAX, description=f"Images that the message may speak of, in this order. {SOURCE_TEXT}"
    )
    stream: bool | None = Field(None, description="Answer by server-sent events.")


class ProposedJob(BaseModel):
    """A job that nobody has queued yet."""

    kind: str
    params: dict[str, Any] = Field(description="As `POST /v1/jobs` takes them; images are stored already.")


class CallView(BaseModel):
    """One call of a tool by the language model."""

    name: str
    arguments: dict[str, Any]
    outcome: str = Field(description="`proposed`, `answered`, or what was wrong with it.")


class AssistView(BaseModel):
    """What became of a wish."""

    status: str = Field(description="Always `proposed`.")
    job: ProposedJob
    message: str = Field(description="What the language model said beside it; often nothing.")
    calls: list[CallView] = Field(description="In order; the last one is the proposal.")
    rounds: int = Field(description="How often the language model was asked.")
    engine: str = Field(description="The language model, as its server calls it.")
    template: str = Field(description="The version of the instructions that it was given.")


EXAMPLE: dict[str, Any] = {
    "message": "Mach es quadratisch, ohne Menschen, wie ein Comic",
    "job": {"kind": "txt2img", "params": {"prompt": "a street in Lisbon at noon", "aspect_ratio": "16:9"}},
}
