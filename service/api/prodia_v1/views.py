"""Job records as Prodia's API v1 shows them: with no key that its clients do not know."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

from models.catalog.families import TXT2IMG
from models.jobs.candidates import first_seed
from models.jobs.params import DrawParams, LoraUse, UpscaleParams
from models.jobs.records import JobRecord, JobStatus
from service.api.images import base_url, image_url
from service.api.prodia_v1.errors import reason
from service.api.prodia_v1.translate import wire_name
from service.api.state import Gateway

_STATUSES = {
    JobStatus.QUEUED: "queued",
    JobStatus.RUNNING: "generating",
    JobStatus.SUCCEEDED: "succeeded",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELED: "failed",
}


def new_job(record: JobRecord) -> JSONResponse:
    """The answer to the request that submitted the job: only its id and status."""
    return JSONResponse({"job": record.job_id, "status": _STATUSES[record.status]})


def known_job(record: JobRecord, request: Request, gateway: Gateway) -> JSONResponse:
    """The job as it is now; a header says why it failed, because the body has no field for that."""
    shown = {"job": record.job_id, "status": _STATUSES[record.status], "params": _params(record)}
    if record.status is JobStatus.SUCCEEDED:
        shown["imageUrl"] = image_url(base_url(request, gateway), record.images[0].image_id)
    is_failed = shown["status"] == "failed"
    return JSONResponse(shown, headers=reason(_why(record)) if is_failed else None)


def _why(record: JobRecord) -> str:
    message = record.error_message or record.status
    return message if record.error_field is None else f"{wire_name(record.error_field)}: {message}"


def _params(record: JobRecord) -> dict[str, Any]:
    params = record.params
    if isinstance(params, UpscaleParams):
        return {"resize": params.scale, "model": params.upscaler}
    return _draw_params(record, params) if isinstance(params, DrawParams) else {}


def _weights(lora: LoraUse) -> str:
    """A1111's notation: the weight, or that of the text encoders and then that of the denoiser."""
    return ":".join(f"{weight:g}" for weight in dict.fromkeys(reversed(lora.weights)))


def _draw_params(record: JobRecord, params: DrawParams) -> dict[str, Any]:
    tags = (f"<lora:{lora.name}:{_weights(lora)}>" for lora in params.loras)
    shown = {
        "prompt": " ".join((params.prompt, *tags)),
        "cfg_scale": params.guidance_scale,
        "steps": params.num_inference_steps,
        "negative_prompt": params.negative_prompt,
        "seed": first_seed(record),
        "upscale": params.second_pass is not None,
        "sampler_name": params.sampler,
        "width": params.width,
        "height": params.height,
        "options": {"sd_model_checkpoint": params.model},
    }
    return shown if record.kind == TXT2IMG else shown | {"denoising_strength": params.strength}
