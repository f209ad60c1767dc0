"""Prodia's v1 dialect: its fields, its four status words, its plain-text errors."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from models.catalog import Catalog
from models.errors import FieldProblem, InvalidTicket
from models.job import JobRecord, JobStatus
from models.params import DrawRequest
from models.samplers import SAMPLERS
from service.api.auth import Owner
from service.api.bodies import read_body
from service.api.documented import json_body, texts
from service.api.errors import ApiError, Dialect, ErrorCode
from service.api.images import base_url
from service.api.state import Gateway, GatewayState
from service.api.submission import find_job, submit

INVALID = "Invalid Generation Parameters"
REASON_HEADER = "X-Photogram-Reason"
_REASON_MAX_CHARS = 500
_INVALID_CODES = (ErrorCode.INVALID_PARAMS, ErrorCode.MALFORMED_JSON)
_WORDS = {
    JobStatus.QUEUED: "queued",
    JobStatus.RUNNING: "generating",
    JobStatus.SUCCEEDED: "succeeded",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELED: "failed",
}
_ASPECTS_PX = {"square": (512, 512), "portrait": (512, 768), "landscape": (768, 512)}
_OUR_NAMES = {"num_inference_steps": "steps", "guidance_scale": "cfg_scale"}
_EXAMPLE = {"prompt": "puppies in a cloud, 4k", "steps": 20, "cfg_scale": 7, "seed": -1, "sampler": "DPM++ 2M Karras"}
_KEY_TEXT = (ErrorCode.UNAUTHORIZED.status, ErrorCode.UNAUTHORIZED.title)

router = APIRouter(tags=["prodia v1"])


def render_error(error: ApiError, request_id: str) -> Response:
    """The error as Prodia tells it, with the reason in a header, for people who look."""
    is_invalid = error.code in _INVALID_CODES
    headers = {**error.headers, **_reason(error.detail)}
    return Response(
        INVALID if is_invalid else error.code.title, 400 if is_invalid else error.code.status, headers, "text/plain"
    )


DIALECT = Dialect(re.compile(r"/v1/(sd|job|models/list)(/|$)"), render_error)


def _reason(text: str) -> dict[str, str]:
    """A header that carries ``text`` in printable ASCII."""
    plain = text.encode("ascii", "backslashreplace").decode()
    return {REASON_HEADER: re.sub(r"[^ -~]+", " ", plain)[:_REASON_MAX_CHARS].strip()}


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


_Whole = Annotated[int | None, BeforeValidator(_no_boolean)]
_Number = Annotated[float | None, BeforeValidator(_no_boolean)]


class GenerateBody(BaseModel):
    """Prodia's GenerateRequest. Numbers may be strings, null is the same as absent, unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    prompt: str
    model: str | None = Field(None, description="A name that is not known here means the default model.")
    negative_prompt: str | None = None
    sampler: str | None = None
    steps: _Whole = None
    cfg_scale: _Number = None
    seed: _Whole = Field(None, description="Any negative number draws a seed.")
    width: _Whole = None
    height: _Whole = None
    aspect_ratio: Literal["square", "portrait", "landscape"] | None = Field(
        None, description="512x512, 512x768 or 768x512, where width and height do not say otherwise."
    )
    upscale: bool | None = Field(None, description="Refused if true.")
    style_preset: Any = Field(None, description="Refused if given.")

    def to_request(self, catalog: Catalog) -> DrawRequest:
        """The same in our words; raises :class:`InvalidTicket` for what cannot be done here."""
        self._refuse_unsupported()
        aspect_width, aspect_height = _ASPECTS_PX.get(self.aspect_ratio or "", (None, None))
        return DrawRequest(
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            model=self.model if catalog.resolve(self.model) else None,
            sampler=self.sampler,
            num_inference_steps=self.steps,
            guidance_scale=self.cfg_scale,
            seed=None if self.seed is None or self.seed < 0 else self.seed,
            width=aspect_width if self.width is None else self.width,
            height=aspect_height if self.height is None else self.height,
        )

    def _refuse_unsupported(self) -> None:
        unsupported = {"style_preset": self.style_preset is not None, "upscale": bool(self.upscale)}
        problems = [FieldProblem(name, "is not supported") for name, is_asked in unsupported.items() if is_asked]
        if problems:
            raise InvalidTicket(problems)


class ProdiaJob(BaseModel):
    """Prodia's Job."""

    job: str
    status: Literal["queued", "generating", "succeeded", "failed"]
    imageUrl: str | None = Field(None, description="Only there once the job succeeded.")


_GENERATE_RESPONSES = texts((400, INVALID), _KEY_TEXT, (413, ErrorCode.BODY_TOO_LARGE.title), (503, "Queue Full"))


@router.post(
    "/v1/sd/generate",
    operation_id="prodiaGenerate",
    summary="Have a picture drawn",
    response_model=ProdiaJob,
    openapi_extra=json_body(GenerateBody, _EXAMPLE),
    responses=_GENERATE_RESPONSES,
)
@router.post(
    "/v1/job",
    operation_id="prodiaGenerateByOldName",
    summary="Have a picture drawn, by the old name",
    response_model=ProdiaJob,
    deprecated=True,
    openapi_extra=json_body(GenerateBody, _EXAMPLE),
    responses=_GENERATE_RESPONSES,
)
async def generate(request: Request, gateway: GatewayState, owner: Owner) -> JSONResponse:
    """Queue a job. A refusal says why in the header `X-Photogram-Reason`."""
    body = await read_body(request, GenerateBody)
    wanted = body.to_request(gateway.catalog.current())
    accepted = await submit(gateway, owner, wanted, wire_name=lambda name: _OUR_NAMES.get(name, name))
    return _job_response(accepted.record, request, gateway)


@router.get(
    "/v1/job/{job_id}",
    operation_id="prodiaGetJob",
    summary="Read a job",
    response_model=ProdiaJob,
    responses=texts(_KEY_TEXT, (404, ErrorCode.JOB_NOT_FOUND.title)),
)
async def get_job(request: Request, gateway: GatewayState, owner: Owner, job_id: str) -> JSONResponse:
    """The job as it is now. A canceled job is shown as failed; the header `X-Photogram-Reason` says why it failed."""
    return _job_response(await find_job(gateway, owner, job_id), request, gateway)


def _job_response(record: JobRecord, request: Request, gateway: Gateway) -> JSONResponse:
    shown = {"job": record.job_id, "status": _WORDS[record.status]}
    if record.status is JobStatus.SUCCEEDED:
        shown["imageUrl"] = f"{base_url(request, gateway)}/images/{record.images[0].image_id}.png"
    is_failed = shown["status"] == "failed"
    return JSONResponse(shown, headers=_reason(record.error_message or record.status) if is_failed else None)


_LIST_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The names.", "content": {"text/plain": {"example": '["house"]'}}},
    **texts(_KEY_TEXT),
}


@router.get(
    "/v1/sd/models",
    operation_id="prodiaListModels",
    summary="The models' names",
    response_model=list[str],
    responses=_LIST_RESPONSES,
)
@router.get(
    "/v1/models/list",
    operation_id="prodiaListModelsByOldName",
    summary="The models' names, by the old name",
    response_model=list[str],
    deprecated=True,
    responses=_LIST_RESPONSES,
)
async def list_models(gateway: GatewayState, owner: Owner) -> Response:
    """A JSON array, labelled as plain text unless `PHOTOGRAM_PRODIA_LIST_TYPE` says otherwise."""
    return _list_response(list(gateway.catalog.current()), gateway)


@router.get(
    "/v1/sd/samplers",
    operation_id="prodiaListSamplers",
    summary="The samplers' names",
    response_model=list[str],
    responses=_LIST_RESPONSES,
)
async def list_samplers(gateway: GatewayState, owner: Owner) -> Response:
    """A JSON array, labelled as plain text unless `PHOTOGRAM_PRODIA_LIST_TYPE` says otherwise."""
    return _list_response(list(SAMPLERS), gateway)


def _list_response(names: list[str], gateway: Gateway) -> Response:
    return Response(json.dumps(names), headers={"Content-Type": gateway.settings.prodia_list_type})
