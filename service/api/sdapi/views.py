"""Finished jobs as A1111's txt2img and img2img show them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models.catalog.catalog import Catalog
from models.catalog.families import TXT2IMG
from models.catalog.styles import find_style
from models.jobs.composition import styled
from models.jobs.params import DrawParams
from models.jobs.records import JobRecord
from models.media.infotext import a1111_parameters, parse_parameters
from models.media.png import encode
from service.api.previews import enlarged
from service.api.sdapi.names import model_hash
from service.api.sdapi.schemas import SdDrawBody

_IN_FIELDS = (
    "Prompt", "Negative prompt", "Steps", "Sampler", "CFG scale", "Seed", "Variation seed", "Variation seed strength",
    "Size-1", "Size-2", "Model", "Clip skip",
    "Version",
)  # fmt: skip
"""Names in the infotext that are not repeated in ``extra_generation_params``."""


FinishedJob = tuple[JobRecord, bytes]
"""A job that succeeded or was interrupted, and its image in the format of the answer."""


def unfinished_image(record: JobRecord, preview: str) -> bytes:
    """The PNG file of an interrupted job: its last ``preview``, a ``data:`` URL, at the size of the image. Blocking."""
    params = _params(record)
    return encode(enlarged(preview, (params.width, params.height)), record.kind, params)


@dataclass(frozen=True)
class Drawn:
    """What became of a call."""

    records: Sequence[JobRecord]
    """All its jobs."""
    finished: Sequence[FinishedJob]
    """Those that were not interrupted."""
    comments: tuple[str, ...] = ()
    """What was read otherwise than it was sent."""


def draw_answer(body: SdDrawBody, drawn: Drawn, catalog: Catalog) -> dict[str, Any]:
    """The answer to ``body``. Blocking."""
    images = [base64.b64encode(file).decode() for _, file in drawn.finished] if body.send_images else []
    shown = [record for record, _ in drawn.finished] or drawn.records[:1]
    info = _info(body, shown, catalog)
    if drawn.comments:
        info["comments"] = "\n".join(drawn.comments)
    return {"images": images, "parameters": _parameters(body, drawn.records[0]), "info": json.dumps(info)}


def _parameters(body: SdDrawBody, record: JobRecord) -> dict[str, Any]:
    """The request as it was sent, with the model's defaults for fields that it left out."""
    params, echo = _params(record), body.echo()
    defaults = {
        "negative_prompt": params.negative_prompt,
        "sampler_name": params.sampler,
        "steps": params.num_inference_steps,
        "cfg_scale": params.guidance_scale,
        "width": params.width,
        "height": params.height,
    }
    return {**echo, **{name: value for name, value in defaults.items() if echo[name] is None}}


def _params(record: JobRecord) -> DrawParams:
    params = record.drawn_params
    assert isinstance(params, DrawParams)
    return params


def _info(body: SdDrawBody, records: Sequence[JobRecord], catalog: Catalog) -> dict[str, Any]:
    """A1111's ``Processed`` as JSON-ready values; fields of features that this server lacks have neutral values."""
    first, seeds = _params(records[0]), [_params(record).seed for record in records]
    subseeds = [_subseed(_params(record), body) for record in records]
    infotexts = [a1111_parameters(record.kind, _params(record)) for record in records]
    prompts, negative_prompts = zip(*(_styled_prompts(_params(record)) for record in records), strict=True)
    model = catalog.resolve(first.model)
    return {
        "prompt": prompts[0],
        "all_prompts": list(prompts),
        "negative_prompt": negative_prompts[0],
        "all_negative_prompts": list(negative_prompts),
        "seed": seeds[0],
        "all_seeds": seeds,
        "subseed": subseeds[0],
        "all_subseeds": subseeds,
        "subseed_strength": body.subseed_strength,
        "width": first.width,
        "height": first.height,
        "sampler_name": first.sampler,
        "cfg_scale": first.guidance_scale,
        "steps": first.num_inference_steps,
        "batch_size": body.batch_size,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": first.model,
        "sd_model_hash": None if model is None else model_hash(model),
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": _denoising_strength(records[0].kind, first),
        "extra_generation_params": _extra(infotexts[0]),
        "index_of_first_image": 0,
        "infotexts": infotexts,
        "styles": body.styles,
        "job_timestamp": datetime.fromtimestamp(records[0].created_at).strftime("%Y%m%d%H%M%S"),
        "clip_skip": first.clip_skip,
        "is_using_inpainting_conditioning": False,
        "version": "Photogram",
    }


def _subseed(params: DrawParams, body: SdDrawBody) -> int | None:
    return body.subseed if params.variation is None else params.variation.seed


def _styled_prompts(params: DrawParams) -> tuple[str, str]:
    style = find_style(params.style_preset or "")
    return styled(style, params.prompt, params.negative_prompt) if style else (params.prompt, params.negative_prompt)


def _denoising_strength(kind: str, params: DrawParams) -> float | None:
    if kind != TXT2IMG:
        return params.strength
    return None if params.second_pass is None else params.second_pass.strength


def _extra(infotext: str) -> Mapping[str, str]:
    return {name: value for name, value in parse_parameters(infotext).items() if name not in _IN_FIELDS}
