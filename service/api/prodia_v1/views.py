"""A job as Prodia's v1 shows it: no key that its clients do not know."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from models.catalog.families import TXT2IMG
from models.jobs.params import DrawParams, UpscaleParams
from models.jobs.records import JobRecord, JobStatus
from service.api.images import base_url
from service.api.prodia_v1.errors import reason
from service.api.state import Gateway

_WORDS = {
    JobStatus.QUEUED: "queued",
    JobStatus.RUNNING: "generating",
    JobStatus.SUCCEEDED: "succeeded",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELED: "failed",
}


class ProdiaJob(BaseModel):
    """Prodia's Job."""

    job: str = Field(examples=["0b7c2f0e-6f0e-4b43-9a55-3f6a3e1f7a11"])
    status: Literal["queued", "generating", "succeeded", "failed"]
    params: dict[str, Any] | None = Field(None, description="By A1111's names; not in the answer to a new job.")
    imageUrl: str | None = Field(None, description="Only there once the job succeeded.")


def new_job(record: JobRecord) -> JSONResponse:
    """The answer to a request: nothing but the job's id and status."""
    return JSONResponse({"job": record.job_id, "status": _WORDS[record.status]})


def known_job(record: JobRecord, request: Request, gateway: Gateway) -> JSONResponse:
    """The job as it is now; a header says why it failed, for which the body has no field."""
    shown = {"job": record.job_id, "status": _WORDS[record.status], "params": _params(record)}
    if record.status is JobStatus.SUCCEEDED:
        shown["imageUrl"] = f"{base_url(request, gateway)}/images/{record.images[0].image_id}.png"
    is_failed = shown["status"] == "failed"
    return JSONResponse(shown, headers=reason(record.error_message or record.status) if is_failed else None)


def _params(record: JobRecord) -> dict[str, Any]:
    params = record.params
    if isinstance(params, UpscaleParams):
        return {"resize": params.scale, "model": params.upscaler}
    return _drawn(record.kind, params) if isinstance(params, DrawParams) else {}


def _drawn(kind: str, params: DrawParams) -> dict[str, Any]:
    tags = (f"<lora:{lora.name}:{lora.weight:g}>" for lora in params.loras)
    shown = {
        "prompt": " ".join((params.prompt, *tags)),
        "cfg_scale": params.guidance_scale,
        "steps": params.num_inference_steps,
        "negative_prompt": params.negative_prompt,
        "seed": params.seed,
        "upscale": params.second_pass is not None,
        "sampler_name": params.sampler,
        "width": params.width,
        "height": params.height,
        "options": {"sd_model_checkpoint": params.model},
    }
    return shown if kind == TXT2IMG else shown | {"denoising_strength": params.strength}
