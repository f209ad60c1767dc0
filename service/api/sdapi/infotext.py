"""The ``parameters`` text of an image (infotext) as the fields of a request for the same image."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from models.jobs.params import FILLS
from models.media.infotext import NEGATIVE_PROMPT, PROMPT, parse_parameters

_FIELDS: Mapping[str, str] = MappingProxyType({
    PROMPT: "prompt",
    NEGATIVE_PROMPT: "negative_prompt",
    "Steps": "steps",
    "Sampler": "sampler_name",
    "Schedule type": "scheduler",
    "CFG scale": "cfg_scale",
    "Seed": "seed",
    "Size-1": "width",
    "Size-2": "height",
    "Denoising strength": "denoising_strength",
    "Variation seed": "subseed",
    "Variation seed strength": "subseed_strength",
    "Hires upscale": "hr_scale",
    "Hires steps": "hr_second_pass_steps",
    "Hires upscaler": "hr_upscaler",
    "Hires resize-1": "hr_resize_x",
    "Hires resize-2": "hr_resize_y",
    "Hires prompt": "hr_prompt",
    "Hires negative prompt": "hr_negative_prompt",
    "Hires sampler": "hr_sampler_name",
    "Hires checkpoint": "hr_checkpoint_name",
    "Refiner": "refiner_checkpoint",
    "Refiner switch at": "refiner_switch_at",
    "Mask blur": "mask_blur",
    "Masked area padding": "inpaint_full_res_padding",
    "Tiling": "tiling",
})  # fmt: skip
_SETTINGS: Mapping[str, str] = MappingProxyType({
    "Model": "sd_model_checkpoint",
    "Clip skip": "CLIP_stop_at_last_layers",
})  # fmt: skip
_OVERRIDES = "override_settings"
_HIRES = ("Hires upscale", "Hires resize-1")
_NOT_MASKED, _ONLY_MASKED = "Inpaint not masked", "Only masked"


def with_infotext(given: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The request ``given``, completed by the fields of the infotext ``text`` that it leaves out."""
    fields = fields_of_infotext(text)
    merged = {**fields, **{name: value for name, value in given.items() if value is not None}}
    if isinstance(merged.get(_OVERRIDES), dict):
        merged[_OVERRIDES] = {**fields.get(_OVERRIDES, {}), **merged[_OVERRIDES]}
    return merged


def fields_of_infotext(text: str) -> dict[str, Any]:
    """The fields of ``text`` under the names of A1111's request; the values stay texts."""
    found = parse_parameters(text)
    fields: dict[str, Any] = {field: found[name] for name, field in _FIELDS.items() if name in found}
    if "Style preset" in found:
        fields["styles"] = [found["Style preset"]]
    if any(name in found for name in _HIRES):
        fields["enable_hr"] = True
    if "Mask blur" in found:
        fields.update(_inpainting(found))
    settings = {setting: found[name] for name, setting in _SETTINGS.items() if name in found}
    return {**fields, _OVERRIDES: settings} if settings else fields


def _inpainting(found: Mapping[str, str]) -> dict[str, Any]:
    content = found.get("Masked content", "original").replace(" ", "_")
    return {
        "inpainting_mask_invert": int(found.get("Mask mode") == _NOT_MASKED),
        "inpainting_fill": FILLS.index(content) if content in FILLS else content,
        "inpaint_full_res": found.get("Inpaint area") == _ONLY_MASKED,
    }
