"""What txt2img and img2img may ask of A1111 and not of this server; each is refused, and the reason told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from models.jobs.checks import Problems
from service.api.sdapi.fields import IMAGES_MAX, SdDrawBody, SdImg2ImgBody, SdTxt2ImgBody

Refusal = tuple[str, bool, str]
"""A field, whether it asks for something, and what is to be said then."""

CONTROLNET = "controlnet"
_SAME = ("", "none", "use same checkpoint", "use same sampler", "use same scheduler")
_NO_SCRIPTS = "not available: this server runs no scripts"
_ENABLED = ("enabled", "enable")
_ANCESTRAL = " a"


def refuse(body: SdDrawBody, sampler: str | None, problems: Problems) -> None:
    """Note everything in ``body`` that cannot be had, whatever the model; ``sampler`` is by its own name."""
    for field, is_asked, reason in _refusals(body, sampler):
        if is_asked:
            problems.note(field, reason)
    _check_scripts(body.alwayson_scripts, problems)


def _refusals(body: SdDrawBody, sampler: str | None) -> Iterator[Refusal]:
    yield from _of_any(body, sampler)
    if isinstance(body, SdTxt2ImgBody) and body.enable_hr:
        yield from _of_hires(body)
    if isinstance(body, SdImg2ImgBody):
        yield from _of_img2img(body)


def _of_any(body: SdDrawBody, sampler: str | None) -> Iterator[Refusal]:
    yield "n_iter", body.count > IMAGES_MAX, f"makes more than {IMAGES_MAX} images with batch_size"
    yield "subseed_strength", body.subseed_strength != 0, "not available: variations of a seed"
    for field in ("seed_resize_from_w", "seed_resize_from_h"):
        yield field, getattr(body, field) > 0, "not available: noise is drawn at the image's own size"
    restore = "not available while drawing: post the image to extra-single-image with gfpgan_visibility 1"
    yield "restore_faces", body.restore_faces, restore
    yield "tiling", body.tiling, "not available: images are not made to repeat"
    yield "s_min_uncond", body.s_min_uncond != 0, "not available: guidance works in every step"
    yield "s_churn", body.s_churn != 0, "not available: no noise is added but the sampler's own"
    yield "s_noise", body.s_noise not in (0, 1), "not available: noise is never scaled"
    yield "eta", not _is_usual_eta(body.eta, sampler), "not available: samplers draw as much noise as is usual for them"
    yield "script_name", bool(body.script_name), _NO_SCRIPTS


def _is_usual_eta(eta: float | None, sampler: str | None) -> bool:
    """1, which clients send with every sampler, or 0 for those that draw no noise."""
    is_noisy = sampler is not None and (sampler.endswith(_ANCESTRAL) or "SDE" in sampler or sampler == "LCM")
    return eta is None or eta == 1 or (eta == 0 and not is_noisy)


def _of_hires(body: SdTxt2ImgBody) -> Iterator[Refusal]:
    is_latent = (body.hr_upscaler or "").startswith("Latent")
    latent = "not available: latents are not enlarged; use Lanczos or another of GET /sdapi/v1/upscalers"
    yield "hr_upscaler", is_latent, latent
    for field in ("hr_checkpoint_name", "hr_sampler_name", "hr_scheduler"):
        same = (*_SAME, *_own(body, field))
        yield field, (getattr(body, field) or "").lower() not in same, "not available: it is the first pass's"
    for field in ("hr_prompt", "hr_negative_prompt"):
        same_text = ("", getattr(body, field.removeprefix("hr_")))
        yield field, getattr(body, field) not in same_text, "not available: it is the first pass's"
    for field in ("firstphase_width", "firstphase_height"):
        yield field, getattr(body, field) != 0, "not available: use width, height and hr_scale"


def _own(body: SdTxt2ImgBody, field: str) -> Iterable[str]:
    """What the first pass has, in the request's own words."""
    first = {"hr_sampler_name": (body.sampler_name, body.sampler_index), "hr_scheduler": (body.scheduler,)}
    return [name.lower() for name in first.get(field, ()) if name]


def _of_img2img(body: SdImg2ImgBody) -> Iterator[Refusal]:
    yield "init_images", len(body.init_images) > 1, "may hold one image"
    latent = body.resize_mode == 3
    yield "resize_mode", latent, "3 is not available: latents are not enlarged; use 0, 1 or 2"
    yield "resize_mode", not latent and not 0 <= body.resize_mode <= 2, "must be 0, 1 or 2"
    uneven = body.mask_blur is None and body.mask_blur_x != body.mask_blur_y
    yield "mask_blur_x", uneven, "not available: blurs that differ across and down"
    yield "mask_round", not body.mask_round, "not available: areas are drawn anew or kept"
    yield "latent_mask", bool(body.latent_mask), "not available: use mask"
    noise = body.initial_noise_multiplier
    yield "initial_noise_multiplier", noise not in (None, 1), "not available: noise is never scaled"


def _check_scripts(scripts: Mapping[str, Any], problems: Problems) -> None:
    for name, script in scripts.items():
        if name.lower() != CONTROLNET and not _is_off(args_of(script)):
            problems.note(f"alwayson_scripts.{name}", _NO_SCRIPTS)
        elif not isinstance(args_of(script), list):
            problems.note(f"alwayson_scripts.{name}.args", "must be a list")


def args_of(script: Any) -> Any:
    """The arguments of an always-on script."""
    return script.get("args") or [] if isinstance(script, dict) else script or []


def _is_off(args: Any) -> bool:
    """Whether a script with such arguments does nothing, as scripts tell it: by a leading false, or by name."""
    if not isinstance(args, list):
        return False
    return not args or args[0] is False or all(_is_off_by_name(arg) for arg in args)


def _is_off_by_name(arg: Any) -> bool:
    return isinstance(arg, dict) and any(arg.get(name) is False for name in _ENABLED)
