"""Prodia's API from before it had keys: ``GET /generate`` and ``GET /job/{id}``, which need no API key."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import AliasChoices, Field, model_validator

from service.api.errors import renamed_problems
from service.api.images import base_url, image_job
from service.api.origins import OwnOrigin
from service.api.prodia_v1.errors import responses
from service.api.prodia_v1.routes import CREATING, READING
from service.api.prodia_v1.schemas import Number, ProdiaGenerateBody, ProdiaJob
from service.api.prodia_v1.translate import to_request, wire_name
from service.api.prodia_v1.views import known_job, new_job
from service.api.state import GatewayState
from service.jobs.caller import Caller

EVERYBODY = Caller("prodia-keyless")
"""The owner of all jobs that are submitted without a key; no API key has this id."""

router = APIRouter(tags=["prodia v1"])


class GenerateQuery(ProdiaGenerateBody):
    """GenerateRequest as query parameters; an empty value is the same as an absent one."""

    cfg_scale: Number = Field(None, validation_alias=AliasChoices("cfg", "cfg_scale"))

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, fields: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in fields.items() if value != ""}


@router.get(
    "/generate",
    operation_id="prodiaGenerateWithoutKey",
    summary="Generate an image, without an API key",
    response_model=ProdiaJob,
    deprecated=True,
    responses=responses(*CREATING),
)
async def generate(
    request: Request, gateway: GatewayState, origin: OwnOrigin, query: Annotated[GenerateQuery, Query()]
) -> JSONResponse:
    """Queue a job that everybody may read. Only with the setting `PHOTOGRAM_PRODIA_KEYLESS=1`."""
    job_request = to_request(query, gateway.catalog.current(), is_sdxl=False)
    with renamed_problems(wire_name):
        accepted = await gateway.jobs.submit(EVERYBODY, job_request, our_url=base_url(request, gateway))
    return new_job(accepted.record)


@router.get(
    "/job/{job_id}",
    operation_id="prodiaGetJobWithoutKey",
    summary="Read a job that was submitted without an API key",
    response_model=ProdiaJob,
    deprecated=True,
    responses=responses(*READING),
)
async def get_job(request: Request, gateway: GatewayState, job_id: str) -> JSONResponse:
    """The job as it is now. Only with the setting `PHOTOGRAM_PRODIA_KEYLESS=1`."""
    return known_job(image_job(await gateway.jobs.find(EVERYBODY, job_id)), request, gateway)
