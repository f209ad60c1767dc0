"""From A1111's bodies to requests for the job service, and from parameters to A1111's field names."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from models.catalog.bounds import SIZE_MULTIPLE_PX
from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.families import FAMILIES, IMG2IMG, INPAINT
from models.catalog.names import did_you_mean
from models.catalog.samplers import SAMPLERS, find_sampler
from models.catalog.styles import STYLES, Style, find_style
from models.catalog.upscalers import BUILT_IN_UPSCALERS
from models.errors import Problem, ProblemCode, quoted
from models.jobs.checks import Problems
from models.jobs.composition import styled
from models.jobs.params import (
    DRAWN_SEED_MAX,
    FILLS,
    RESIZE_MODES,
    Control,
    DrawRequest,
    Mask,
    Refiner,
    SecondPass,
    Variation,
)
from models.jobs.seeds import client_seed
from models.jobs.sources import is_url
from service.api.sdapi.controlnet.translate import read_units
from service.api.sdapi.errors import SdError
from service.api.sdapi.names import find_model
from service.api.sdapi.noise import sampler_at_eta
from service.api.sdapi.options.translate import Options
from service.api.sdapi.schemas import SdDrawBody, SdImg2ImgBody, SdTxt2ImgBody
from service.api.sdapi.scripts import CONTROLNET, args_of
from service.api.sdapi.unsupported import check_unsupported

_AUTOMATIC = "Automatic"
_NONE = ("", "none")
_LATENT = "latent"
_LATENT_RESIZE = 3
_RESIZE_MODES: Mapping[int, str] = MappingProxyType({**dict(enumerate(RESIZE_MODES)), _LATENT_RESIZE: RESIZE_MODES[0]})
_WIRE_NAMES: Mapping[str, str] = MappingProxyType({
    "num_inference_steps": "steps",
    "guidance_scale": "cfg_scale",
    "sampler": "sampler_name",
    "variation.seed": "subseed",
    "variation.strength": "subseed_strength",
    "style_preset": "styles",
    "loras": "prompt",
    "model": "override_settings.sd_model_checkpoint",
    "clip_skip": "override_settings.CLIP_stop_at_last_layers",
    "image": "init_images[0]",
    "strength": "denoising_strength",
    "mask.image": "mask",
    "mask.blur_px": "mask_blur",
    "mask.fill": "inpainting_fill",
    "mask.padding_px": "inpaint_full_res_padding",
    "second_pass": "enable_hr",
    "second_pass.scale": "hr_scale",
    "second_pass.upscaler": "hr_upscaler",
    "second_pass.strength": "denoising_strength",
    "second_pass.num_inference_steps": "hr_second_pass_steps",
    "refiner": "refiner_checkpoint",
    "refiner.model": "refiner_checkpoint",
    "refiner.start": "refiner_switch_at",
    "controls": f"alwayson_scripts.{CONTROLNET}.args",
})  # fmt: skip
_CONTROL_NAMES = {"preprocessor": "module", "start": "guidance_start", "end": "guidance_end", "mode": "control_mode"}
_CONTROL = re.compile(r"controls\[(\d+)\]\.(\w+)")


def wire_name(field: str) -> str:
    """A1111's name for the parameter ``field``."""
    found = _CONTROL.fullmatch(field)
    if found is None:
        return _WIRE_NAMES.get(field, field)
    return f"{_WIRE_NAMES['controls']}[{found[1]}].{_CONTROL_NAMES.get(found[2], found[2])}"


def to_request(
    body: SdDrawBody, options: Options, catalog: Catalog, problems: Problems, comments: list[str]
) -> DrawRequest:
    """The request for the first image of ``body``; a seed that is left open is drawn here.

    Args:
        problems: those found so far.
        comments: what is read otherwise than it was sent is added here, as text for the client.

    Raises:
        SdError: there is no such sampler, or img2img has no image.
        InvalidTicket: with ``problems`` and the further problems found.
    """
    sampler, model = _sampler(body), catalog.resolve(options.model)
    check_unsupported(body, model.defaults.sampler if sampler is None and model is not None else sampler, problems)
    prompt, negative_prompt, style = _styled(body, problems)
    request = DrawRequest(
        prompt=prompt,
        negative_prompt=negative_prompt,
        model=options.model,
        sampler=_without_noise(sampler, body, model, comments),
        num_inference_steps=body.steps,
        guidance_scale=body.cfg_scale,
        seed=_seed(body),
        variation=_variation(body),
        width=_rounded_down(body.width, model),
        height=_rounded_down(body.height, model),
        style_preset=style,
        clip_skip=_clip_skip(options, model, comments),
        metadata=options.metadata,
        controls=_controls(body, problems),
        refiner=_refiner(body, catalog),
    )
    if isinstance(body, SdImg2ImgBody):
        request = _img2img(request, body, comments)
    elif isinstance(body, SdTxt2ImgBody) and body.enable_hr:
        request = replace(request, second_pass=_second_pass(body, options, catalog, problems, comments))
    problems.raise_if_any()
    return request


def _sampler(body: SdDrawBody) -> str | None:
    """The catalog's name of the sampler with its scheduler, also of one that is refused; ``None`` if none is named."""
    name = body.sampler_name or body.sampler_index
    if not name:
        return None
    found = find_sampler(name, body.scheduler or _AUTOMATIC)
    if found is None:
        unknown = f"Sampler not found{did_you_mean(name, SAMPLERS)}"
        raise SdError(400, unknown if find_sampler(name) is None else _wrong_scheduler(body.scheduler, name))
    return found


def _seed(body: SdDrawBody) -> int:
    sent = client_seed(body.seed)
    return secrets.randbelow(DRAWN_SEED_MAX + 1) if sent is None else sent


def _variation(body: SdDrawBody) -> Variation | None:
    if body.subseed_strength == 0:
        return None
    return Variation(seed=client_seed(body.subseed), strength=body.subseed_strength)


def _without_noise(sampler: str | None, body: SdDrawBody, model: ModelSpec | None, comments: list[str]) -> str | None:
    """``sampler``, or the model's own, as it draws at the body's ``eta``."""
    usual = sampler if sampler is not None or model is None else model.defaults.sampler
    if usual is None or body.eta is None:
        return sampler
    drawn, comment = sampler_at_eta(usual, body.eta)
    comments += [comment] if comment else []
    return drawn if comment else sampler


def _clip_skip(options: Options, model: ModelSpec | None, comments: list[str]) -> int | None:
    """The layers to skip, no more than the model can: A1111 refuses no number."""
    wanted = options.clip_skip
    facts = None if model is None else FAMILIES.get(model.family)
    if wanted is None or model is None or facts is None:
        return wanted
    most = model.limits.max_clip_skip if facts.takes_clip_skip else 1
    if wanted > most:
        comments.append(f"Clip skip {wanted} is not available: {model.name} skips at most {most}")
    return min(max(wanted, 1), most)


def _wrong_scheduler(scheduler: str | None, sampler: str) -> str:
    return f"Scheduler not found: {quoted(scheduler or '')}, for the sampler {quoted(sampler)}"


def _rounded_down(size_px: int | None, model: ModelSpec | None) -> int | None:
    grid_px = SIZE_MULTIPLE_PX if model is None else model.grid_px
    return None if size_px is None else size_px // grid_px * grid_px


def _styled(body: SdDrawBody, problems: Problems) -> tuple[str, str | None, str | None]:
    """The prompt and the negative prompt with all styles but the last applied, and the name of the last style.

    A request has one style preset, so that the worker applies the last one.
    """
    styles = _styles(body.styles, problems)
    prompt, negative_prompt = body.prompt, body.negative_prompt
    for style in styles[:-1]:
        prompt, negative_prompt = styled(style, prompt, negative_prompt or "")
    return prompt, negative_prompt, styles[-1].name if styles else None


def _styles(names: Sequence[str], problems: Problems) -> list[Style]:
    found: list[Style] = []
    for index, name in enumerate(names):
        style = find_style(name)
        if style is not None:
            found.append(style)
        elif name.lower() not in _NONE:
            message = (
                f"there is no style {quoted(name)}{did_you_mean(name, STYLES)}; GET /sdapi/v1/prompt-styles lists them"
            )
            problems.note(f"styles[{index}]", Problem(message, ProblemCode.UNKNOWN_NAME))
    return found


def _controls(body: SdDrawBody, problems: Problems) -> tuple[Control, ...]:
    scripts = body.alwayson_scripts.items()
    found = [(name, args_of(script)) for name, script in scripts if name.lower() == CONTROLNET]
    if not found or not isinstance(found[0][1], list):
        return ()
    name, args = found[0]
    return read_units(args, problems, f"alwayson_scripts.{name}.args")


def _refiner(body: SdDrawBody, catalog: Catalog) -> Refiner | None:
    name = body.refiner_checkpoint or ""
    if name.lower() in _NONE:
        return None
    found, start = find_model(name, catalog), body.refiner_switch_at
    return Refiner(model=name if found is None else found.name, start=Refiner.start if start is None else start)


def _img2img(request: DrawRequest, body: SdImg2ImgBody, comments: list[str]) -> DrawRequest:
    if not body.init_images or not body.init_images[0]:
        raise SdError(404, "Init image not found")
    mask = _mask(body) if body.mask else None
    if body.resize_mode == _LATENT_RESIZE:
        comments.append("resize_mode 3 is drawn as 0: the image is enlarged, not its latents")
    resize_mode = _RESIZE_MODES.get(body.resize_mode)
    return replace(
        request,
        kind=IMG2IMG if mask is None else INPAINT,
        image=readable_source(body.init_images[0]),
        strength=body.denoising_strength,
        resize_mode=resize_mode,
        mask=mask,
    )


def _mask(body: SdImg2ImgBody) -> Mask:
    return Mask(
        image=readable_source(body.mask or ""),
        blur_px=body.mask_blur_x if body.mask_blur is None else body.mask_blur,
        fill=FILLS[body.inpainting_fill],
        invert=bool(body.inpainting_mask_invert),
        only_masked=body.inpaint_full_res,
        padding_px=body.inpaint_full_res_padding,
    )


def readable_source(source: str) -> str:
    """``source`` without the line breaks that some clients insert into Base64."""
    return source if is_url(source) else "".join(source.split())


def _second_pass(
    body: SdTxt2ImgBody, options: Options, catalog: Catalog, problems: Problems, comments: list[str]
) -> SecondPass:
    upscaler = body.hr_upscaler or ""
    if upscaler.lower().startswith(_LATENT):
        comments.append(
            f"hr_upscaler {upscaler} is drawn as {BUILT_IN_UPSCALERS[0]}: the image is enlarged, not its latents"
        )
        upscaler = ""
    return SecondPass(
        scale=_hires_scale(body, options, catalog, problems),
        # Without an upscaler, A1111 resizes with Lanczos.
        upscaler=BUILT_IN_UPSCALERS[0] if upscaler.lower() in _NONE else upscaler,
        strength=body.denoising_strength,
        num_inference_steps=body.hr_second_pass_steps or None,
    )


def _hires_scale(body: SdTxt2ImgBody, options: Options, catalog: Catalog, problems: Problems) -> float:
    model = catalog.resolve(options.model)
    if model is None or not (body.hr_resize_x or body.hr_resize_y):
        return body.hr_scale
    width, height = (
        _rounded_down(body.width, model) or model.defaults.width,
        _rounded_down(body.height, model) or model.defaults.height,
    )
    horizontal, vertical = body.hr_resize_x / width, body.hr_resize_y / height
    if horizontal and vertical and horizontal != vertical:
        message = f"must have the same ratio to {width} as hr_resize_y to {height}: the image is not cropped"
        problems.note("hr_resize_x", Problem(message, ProblemCode.CONFLICT))
    return horizontal or vertical
