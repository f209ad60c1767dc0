"""Fields of txt2img and img2img that A1111 supports and this server does not: each is refused with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from models.errors import Problem, ProblemCode
from models.jobs.checks import Problems
from service.api.sdapi.noise import adds_noise, churns, is_usual_eta
from service.api.sdapi.schemas import IMAGES_MAX, SdDrawBody, SdImg2ImgBody, SdTxt2ImgBody
from service.api.sdapi.scripts import NO_SCRIPTS, check_scripts

Check = tuple[str, bool, str | Problem]
"""A field, whether its value is refused, and why; a bare text has the code ``unavailable``."""

_FIRST_PASS = ("", "none", "use same checkpoint", "use same sampler", "use same scheduler")
"""Values, in lower case, that mean the value of the first pass."""
_SAME_AS_FIRST_PASS = "not available: the second pass uses that of the first pass"
_NO_NOISE_FACTOR = "not available: the noise is not scaled"


def check_unsupported(body: SdDrawBody, sampler: str | None, problems: Problems) -> None:
    """Note a problem for each field of ``body`` that is not supported, whatever the model.

    Args:
        sampler: the catalog's name of the sampler.
    """
    for field, is_refused, reason in _checks(body, sampler):
        if is_refused:
            problems.note(field, Problem(reason, ProblemCode.UNAVAILABLE) if isinstance(reason, str) else reason)
    check_scripts(body.alwayson_scripts, (body.prompt, body.negative_prompt or ""), problems)


def _checks(body: SdDrawBody, sampler: str | None) -> Iterator[Check]:
    yield from _common_checks(body, sampler)
    if isinstance(body, SdTxt2ImgBody) and body.enable_hr:
        yield from _hires_checks(body)
    if isinstance(body, SdImg2ImgBody):
        yield from _img2img_checks(body)


def _common_checks(body: SdDrawBody, sampler: str | None) -> Iterator[Check]:
    too_many = f"makes more than {IMAGES_MAX} images with batch_size"
    yield "n_iter", body.count > IMAGES_MAX, Problem(too_many, ProblemCode.OUT_OF_RANGE, high=IMAGES_MAX)
    for field, size_px in (("seed_resize_from_w", body.width), ("seed_resize_from_h", body.height)):
        is_other = getattr(body, field) > 0 and getattr(body, field) != size_px
        yield field, is_other, "not available: the noise always has the size of the image"
    restore = "not available in this call: post the image to extra-single-image with gfpgan_visibility 1"
    yield "restore_faces", body.restore_faces, restore
    yield "tiling", body.tiling, "not available: seamless tiles"
    yield "s_min_uncond", body.s_min_uncond > 0, "not available: every step uses guidance"
    is_churned = body.s_churn > 0 and churns(sampler)
    yield "s_churn", is_churned, "not available: no noise is added but the sampler's own"
    yield "s_noise", body.s_noise not in (0, 1) and adds_noise(sampler), _NO_NOISE_FACTOR
    usual_eta = "not available: each sampler has a fixed eta"
    yield "eta", not is_usual_eta(body.eta, sampler), usual_eta
    yield "script_name", (body.script_name or "").strip().lower() not in ("", "none"), NO_SCRIPTS


def _hires_checks(body: SdTxt2ImgBody) -> Iterator[Check]:
    for field in ("hr_checkpoint_name", "hr_sampler_name", "hr_scheduler"):
        same = (*_FIRST_PASS, *_of_first_pass(body, field))
        yield field, (getattr(body, field) or "").lower() not in same, _SAME_AS_FIRST_PASS
    for field in ("hr_prompt", "hr_negative_prompt"):
        same_text = ("", getattr(body, field.removeprefix("hr_")))
        yield field, getattr(body, field) not in same_text, _SAME_AS_FIRST_PASS
    for field in ("firstphase_width", "firstphase_height"):
        yield field, getattr(body, field) != 0, "not available: use width, height and hr_scale"


def _of_first_pass(body: SdTxt2ImgBody, field: str) -> Iterable[str]:
    """The values of the first pass, in lower case, that the ``field`` of the second pass corresponds to."""
    first = {"hr_sampler_name": (body.sampler_name, body.sampler_index), "hr_scheduler": (body.scheduler,)}
    return [name.lower() for name in first.get(field, ()) if name]


def _img2img_checks(body: SdImg2ImgBody) -> Iterator[Check]:
    several = Problem("must have exactly one image", ProblemCode.TOO_LONG, high=1)
    yield "init_images", len(body.init_images) > 1, several
    unknown = Problem("must be 0, 1, 2 or 3", ProblemCode.NOT_ALLOWED, allowed=(0, 1, 2, 3))
    yield "resize_mode", not 0 <= body.resize_mode <= 3, unknown
    if body.mask:
        yield from _mask_checks(body)
    yield "latent_mask", bool(body.latent_mask), "not available: use mask"
    yield "initial_noise_multiplier", body.initial_noise_multiplier not in (None, 1), _NO_NOISE_FACTOR


def _mask_checks(body: SdImg2ImgBody) -> Iterator[Check]:
    uneven = body.mask_blur is None and body.mask_blur_x != body.mask_blur_y
    yield "mask_blur_x", uneven, "not available: a blur that differs from mask_blur_y"
    yield "mask_round", not body.mask_round, "not available: soft masks"
