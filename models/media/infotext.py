"""A1111's infotext: the settings of an image as text, which galleries and other tools read. Written and parsed here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal

from models.catalog.families import TXT2IMG
from models.catalog.samplers import LISTED, SAMPLERS, find_sampler
from models.jobs.params import (
    Control,
    DrawParams,
    FaceRestoreParams,
    JobParams,
    LoraUse,
    Mask,
    SecondPass,
    UpscaleParams,
)

Setting = tuple[str, object]

PROMPT, NEGATIVE_PROMPT = "Prompt", "Negative prompt"
_SETTING = re.compile(r'[ ]*+([^,:"\n]++):[ ]*+("(?:\\.|[^"\\])*+"(?=[ ]*+(?:,|$))|[^,]*+),?|[^,]*+,?')
_SIZE = re.compile(r"(\d{1,9})x(\d{1,9})")
_SETTINGS_MIN = 3
"""A last line with fewer settings is part of the prompt, as in A1111."""
_IMPLIED = {"Clip skip": "1", "Schedule type": "Automatic"}
"""The values that A1111 does not write."""


def a1111_parameters(kind: str, params: JobParams) -> str:
    """The text that A1111 stores as ``parameters``: the prompts, and then ``name: value`` pairs on one line."""
    if not isinstance(params, DrawParams):
        return _line([*_postprocessing(params), ("Version", "Photogram")])
    lines = [_prompt(params)]
    if params.negative_prompt:
        lines.append(f"Negative prompt: {params.negative_prompt}")
    lines.append(_line([*_settings(kind, params), ("Version", "Photogram")]))
    return "\n".join(lines)


def _prompt(params: DrawParams) -> str:
    """The prompt with its LoRAs as tags, as in A1111."""
    return " ".join((params.prompt, *(f"<lora:{lora.name}:{_lora_weight(lora)}>" for lora in params.loras)))


def _lora_weight(lora: LoraUse) -> str:
    """The weight, or A1111's two: that of the text encoders first."""
    weight, text_encoder_weight = lora.weights
    return ":".join(map(_number, dict.fromkeys((text_encoder_weight, weight))))


def _line(settings: list[Setting]) -> str:
    return ", ".join(f"{name}: {_quoted(str(value))}" for name, value in settings)


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ',:\n"') else value


def _number(value: float) -> str:
    """The shortest text that gives ``value`` again, without an exponent, and without a point if it is whole."""
    return format(Decimal(repr(float(value))).normalize(), "f")


def _settings(kind: str, params: DrawParams) -> Iterator[Setting]:
    yield "Steps", params.num_inference_steps
    yield from _sampler(params.sampler)
    yield "CFG scale", _number(params.guidance_scale)
    yield from _seeds(params)
    yield "Size", f"{params.width}x{params.height}"
    yield "Model", params.model
    if params.clip_skip > 1:
        yield "Clip skip", params.clip_skip
    if params.style_preset is not None:
        yield "Style preset", params.style_preset
    if kind != TXT2IMG:
        yield "Denoising strength", _number(params.strength)
    if params.mask is not None:
        yield from _inpainting(params.mask)
    for index, control in enumerate(params.controls):
        yield f"ControlNet {index}", _control(control)
    if params.second_pass is not None:
        yield from _second_pass(kind, params.second_pass)
    if params.refiner is not None:
        yield "Refiner", params.refiner.model
        yield "Refiner switch at", _number(params.refiner.start)


def _seeds(params: DrawParams) -> Iterator[Setting]:
    yield "Seed", params.seed
    if params.variation is not None and params.variation.strength:
        yield "Variation seed", params.variation.seed
        yield "Variation seed strength", _number(params.variation.strength)


def _sampler(name: str) -> Iterator[Setting]:
    if name in SAMPLERS and name not in LISTED:
        yield "Sampler", SAMPLERS[name].solver
        yield "Schedule type", SAMPLERS[name].layout or ""
        return
    yield "Sampler", name
    if find_sampler(name, "Automatic") != name:  # A1111 uses the layout of Automatic if none is given
        yield "Schedule type", "Uniform"


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
        f"Weight: {_number(control.weight)}",
        f"Guidance Start: {_number(control.start)}",
        f"Guidance End: {_number(control.end)}",
        f"Control Mode: {control.mode}",
        f"Resize Mode: {control.resize_mode}",
    ))  # fmt: skip


def _second_pass(kind: str, second_pass: SecondPass) -> Iterator[Setting]:
    yield "Denoising strength" if kind == TXT2IMG else "Hires denoising strength", _number(second_pass.strength)
    yield "Hires upscale", _number(second_pass.scale)
    yield "Hires steps", second_pass.num_inference_steps
    yield "Hires upscaler", second_pass.upscaler


def _postprocessing(params: JobParams) -> Iterator[Setting]:
    if isinstance(params, UpscaleParams):
        yield "Postprocess upscale by", params.scale
        yield "Postprocess upscaler", params.upscaler
    elif isinstance(params, FaceRestoreParams):
        yield "Postprocess face restoration", "GFPGAN"


def parse_parameters(text: str) -> dict[str, str]:
    """The settings in a text from A1111 or from :func:`a1111_parameters`, parsed in time linear in its length.

    The prompts have the keys ``Prompt`` and ``Negative prompt``. A size is split into ``Size-1``, the width, and
    ``Size-2``, the height. A text without settings is a prompt; an empty text gives an empty mapping.
    """
    *lines, last = text.strip().split("\n")
    settings = _read_line(last)
    if len(settings) < _SETTINGS_MIN:
        lines, settings = [*lines, last], {}
    prompt, negative_prompt = _read_prompts(lines)
    if not (prompt or negative_prompt or settings):
        return {}
    return {PROMPT: prompt, NEGATIVE_PROMPT: negative_prompt, **_IMPLIED, **settings}


def _read_line(line: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in _SETTING.findall(line):
        if name:
            text = _unquoted(value.strip())
            size = _SIZE.fullmatch(text)
            found.update({f"{name}-1": size[1], f"{name}-2": size[2]} if size else {name: text})
    return found


def _unquoted(value: str) -> str:
    if len(value) < 2 or not (value.startswith('"') and value.endswith('"')):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value


def _read_prompts(lines: list[str]) -> tuple[str, str]:
    mark = f"{NEGATIVE_PROMPT}:"
    found = next((index for index, line in enumerate(lines) if line.strip().startswith(mark)), len(lines))
    negative = [line.strip().removeprefix(mark).strip() for line in lines[found:]]
    return "\n".join(line.strip() for line in lines[:found]).strip(), "\n".join(negative).strip()
