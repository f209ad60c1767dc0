"""The settings of a picture in A1111's words, which galleries and old clients parse."""

from __future__ import annotations

import json
from collections.abc import Iterator

from models.params import TXT2IMG, Control, DrawParams, Mask, Params, SecondPass, UpscaleParams

Setting = tuple[str, object]


def a1111_parameters(kind: str, params: Params) -> str:
    """The text that A1111 writes under ``parameters``: the prompts, then ``name: value`` pairs on one line."""
    if not isinstance(params, DrawParams):
        return _line([*_postprocessing(params), ("Version", "Photogram")])
    lines = [_prompt(params)]
    if params.negative_prompt:
        lines.append(f"Negative prompt: {params.negative_prompt}")
    lines.append(_line([*_settings(kind, params), ("Version", "Photogram")]))
    return "\n".join(lines)


def _prompt(params: DrawParams) -> str:
    """With the LoRAs as tags, which is where A1111 has them."""
    return " ".join((params.prompt, *(f"<lora:{lora.name}:{lora.weight:g}>" for lora in params.loras)))


def _line(settings: list[Setting]) -> str:
    return ", ".join(f"{name}: {_quoted(str(value))}" for name, value in settings)


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ',:\n"') else value


def _settings(kind: str, params: DrawParams) -> Iterator[Setting]:
    yield "Steps", params.num_inference_steps
    yield "Sampler", params.sampler
    yield "CFG scale", f"{params.guidance_scale:g}"
    yield "Seed", params.seed
    yield "Size", f"{params.width}x{params.height}"
    yield "Model", params.model
    if params.clip_skip > 1:
        yield "Clip skip", params.clip_skip
    if params.style_preset is not None:
        yield "Style preset", params.style_preset
    if kind != TXT2IMG:
        yield "Denoising strength", f"{params.strength:g}"
    if params.mask is not None:
        yield from _inpainting(params.mask)
    for index, control in enumerate(params.controls):
        yield f"ControlNet {index}", _control(control)
    if params.second_pass is not None:
        yield from _second_pass(kind, params.second_pass)
    if params.refiner is not None:
        yield "Refiner", params.refiner.model
        yield "Refiner switch at", f"{params.refiner.start:g}"


def _inpainting(mask: Mask) -> Iterator[Setting]:
    yield "Mask blur", mask.blur_px
    if mask.invert:
        yield "Mask mode", "Inpaint not masked"
    yield "Masked content", mask.fill.replace("_", " ")
    if mask.only_masked:
        yield "Inpaint area", "Only masked"
        yield "Masked area padding", mask.padding_px


def _control(control: Control) -> str:
    return ", ".join((
        f"Module: {control.preprocessor}",
        f"Model: {control.model}",
        f"Weight: {control.weight:g}",
        f"Guidance Start: {control.start:g}",
        f"Guidance End: {control.end:g}",
        f"Control Mode: {control.mode}",
        f"Resize Mode: {control.resize_mode}",
    ))  # fmt: skip


def _second_pass(kind: str, second_pass: SecondPass) -> Iterator[Setting]:
    yield "Denoising strength" if kind == TXT2IMG else "Hires denoising strength", f"{second_pass.strength:g}"
    yield "Hires upscale", f"{second_pass.scale:g}"
    yield "Hires steps", second_pass.num_inference_steps
    yield "Hires upscaler", second_pass.upscaler


def _postprocessing(params: Params) -> Iterator[Setting]:
    if isinstance(params, UpscaleParams):
        yield "Postprocess upscale by", params.scale
        yield "Postprocess upscaler", params.upscaler
    else:
        yield "Postprocess face restoration", "GFPGAN"
