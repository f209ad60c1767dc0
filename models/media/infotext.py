"""A1111's infotext: the settings of an image as text, which galleries and other tools read. Written and parsed here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
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
_FIRST = re.compile(r"[ ]*+Steps:[ ]*+\d")
_ADDED = re.compile(r"((?:Negative )?Template):")
"""What the extension Dynamic Prompts adds after the settings."""
_DOCUMENTS_MAX = 8
"""How many JSON documents are looked for in one text, so that the time stays linear."""
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


def infotext_of(settings: Mapping[str, object]) -> str:
    """The text for ``settings``, whose names are those of :func:`parse_parameters`."""
    others = {name: str(value) for name, value in settings.items() if name not in (PROMPT, NEGATIVE_PROMPT)}
    width, height = others.pop("Size-1", ""), others.pop("Size-2", "")
    if width and height:
        others["Size"] = f"{width}x{height}"
    first = {"Steps": others.pop("Steps")} if "Steps" in others else {}
    lines = [str(settings.get(PROMPT, ""))]
    if settings.get(NEGATIVE_PROMPT):
        lines.append(f"{NEGATIVE_PROMPT}: {settings[NEGATIVE_PROMPT]}")
    return "\n".join((*lines, _line([*first.items(), *others.items()])))


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
    lines, settings = _split(text.strip().split("\n"))
    prompt, negative_prompt = _read_prompts(lines)
    if not (prompt or negative_prompt or settings):
        return {}
    return {PROMPT: prompt, NEGATIVE_PROMPT: negative_prompt, **_IMPLIED, **settings}


def _split(lines: list[str]) -> tuple[list[str], dict[str, str]]:
    """The lines of the prompts, and the settings after them.

    The settings begin at the last line with the steps, because values may contain line breaks, and extensions add
    lines of their own. A text of another form has its settings on the last line, as in A1111.
    """
    first = next((place for place in range(len(lines) - 1, -1, -1) if _FIRST.match(lines[place])), len(lines) - 1)
    end = next((place for place in range(first + 1, len(lines)) if _ADDED.match(lines[place])), len(lines))
    settings = _read_line("\n".join(lines[first:end]))
    if len(settings) < _SETTINGS_MIN:
        return lines, {}
    return lines[:first], {**settings, **_read_added(lines[end:])}


def _read_added(lines: list[str]) -> dict[str, str]:
    """Settings with a line each, whose values are neither quoted nor ended by a comma."""
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        match = _ADDED.match(line)
        name = match[1] if match else name
        found[name] = line[match.end() :].strip() if match else f"{found[name]}\n{line}".rstrip()
    return found


def _read_line(line: str) -> dict[str, str]:
    found: dict[str, str] = {}
    place, documents_left = 0, _DOCUMENTS_MAX
    while place < len(line) and (match := _SETTING.match(line, place)):
        name, value, place = match[1], match[2], max(match.end(), place + 1)
        if not name:
            continue
        if value.startswith(("[", "{")) and documents_left:  # such as the resources of Civitai
            documents_left -= 1
            begin = match.start(2)
            end = _document_end(line, begin)
            if end is not None:
                value, place = line[begin:end], line.find(",", end) + 1 or len(line)
        found.update(_named(name.strip(), _unquoted(value.strip())))
    return found


def _named(name: str, text: str) -> dict[str, str]:
    size = _SIZE.fullmatch(text)
    return {f"{name}-1": size[1], f"{name}-2": size[2]} if size else {name: text}


def _document_end(line: str, begin: int) -> int | None:
    """Where the JSON document ends that begins there; ``None`` if there is none."""
    try:
        return json.JSONDecoder().raw_decode(line, begin)[1]
    except (ValueError, RecursionError):
        return None


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
