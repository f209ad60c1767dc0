"""Metadata of other programs' images, as A1111's infotext: ComfyUI, InvokeAI, Fooocus, Civitai and NovelAI.

Each program writes JSON of its own. What is read are the settings that a request here can have; odd values are left
out, since a file may hold anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from models.media.comfyui import graph_settings
from models.media.infotext import NEGATIVE_PROMPT, PROMPT, infotext_of

Found = dict[str, object]
"""Settings under A1111's names."""
_TUPLE = re.compile(r"\(?\s*(\d{1,6})\s*[,x×]\s*(\d{1,6})\s*\)?")
_DREAM = re.compile(r'"((?:\\.|[^"\\]){0,20000})"\s*(.*)', re.DOTALL)
_DREAM_FLAGS = {"-s": "Steps", "-S": "Seed", "-C": "CFG scale", "-A": "Sampler", "-W": "Size-1", "-H": "Size-2"}
_IN_SQUARE = re.compile(r"\[([^\[\]]*)\]")


def foreign_infotext(texts: Mapping[str, str]) -> str | None:
    """The infotext for ``texts``, the texts of an image by name; ``None`` if no known program wrote them."""
    for read in _READERS:
        found = {name: value for name, value in (read(texts) or {}).items() if value not in (None, "", [])}
        if found:
            return infotext_of(found)
    return None


def _json(texts: Mapping[str, str], *names: str) -> dict[str, Any]:
    """The JSON object in the first of the texts that has one."""
    for name in names:
        try:
            value = json.loads(texts.get(name, ""))
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return {}


def _picked(values: Mapping[str, Any], names: Mapping[str, str]) -> Found:
    """The texts and numbers of ``values`` under A1111's names; of several names for one, the first that is there."""
    found: Found = {}
    for name, ours in names.items():
        value = values.get(name)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            found.setdefault(ours, value)
    return found


def _comfyui(texts: Mapping[str, str]) -> Found | None:
    graph = _json(texts, "prompt", "UserComment", "parameters")
    extra = graph.get("extraMetadata")  # of Civitai's generator
    if isinstance(extra, str) and (known := _json({"extra": extra}, "extra")):
        return _picked(known, _CIVITAI)
    return graph_settings(graph)


_CIVITAI = {
    "prompt": PROMPT, "negativePrompt": NEGATIVE_PROMPT, "steps": "Steps", "sampler": "Sampler",
    "cfgScale": "CFG scale", "seed": "Seed", "width": "Size-1", "height": "Size-2", "denoise": "Denoising strength",
    "clipSkip": "Clip skip",
}  # fmt: skip
_INVOKEAI = {
    "positive_prompt": PROMPT, "negative_prompt": NEGATIVE_PROMPT, "steps": "Steps", "scheduler": "Sampler",
    "cfg_scale": "CFG scale", "seed": "Seed", "width": "Size-1", "height": "Size-2", "clip_skip": "Clip skip",
}  # fmt: skip


def _invokeai(texts: Mapping[str, str]) -> Found | None:
    values = _json(texts, "invokeai_metadata")
    if not values:
        return None
    found = _picked(values, _INVOKEAI)
    if isinstance(found.get("Clip skip"), int):
        found["Clip skip"] = int(str(found["Clip skip"])) + 1  # InvokeAI counts the layers that are skipped
    if isinstance(found.get("Sampler"), str):
        found |= _invokeai_sampler(str(found["Sampler"]))
    found["Model"] = _name(values.get("model"))
    loras = values.get("loras")
    tags = [_lora_tag(_name(each.get("model", each.get("lora"))), each.get("weight")) for each in _objects(loras)]
    return _with_tags(found, tags)


def _invokeai_sampler(name: str) -> Found:
    stem = name.removesuffix("_k")
    sampler = re.sub(r"_a$", "_ancestral", stem)
    return {"Sampler": sampler, "Schedule type": "Karras"} if stem != name else {"Sampler": sampler}


def _objects(values: object) -> Iterator[dict[str, Any]]:
    return (each for each in values if isinstance(each, dict)) if isinstance(values, list) else iter(())


def _name(model: object) -> str | None:
    named = [model.get(key) for key in ("name", "model_name", "base_model")] if isinstance(model, dict) else [model]
    return next((each for each in named if isinstance(each, str) and each), None)


def _lora_tag(name: object, weight: object) -> str:
    is_usable = isinstance(name, str) and name and not set(name) & set("<>:")
    number = weight if isinstance(weight, int | float) else 1
    return f"<lora:{str(name).removesuffix('.safetensors')}:{number}>" if is_usable else ""


def _with_tags(found: Found, tags: list[str]) -> Found:
    return {**found, PROMPT: " ".join(filter(None, (str(found.get(PROMPT, "")), *tags)))}


def _old_invokeai(texts: Mapping[str, str]) -> Found | None:
    values = _json(texts, "sd-metadata")
    image = values.get("image")
    if not isinstance(image, dict):
        return _dream(texts.get("Dream", ""))
    prompt = image.get("prompt")
    parts = [each.get("prompt") for each in _objects(prompt)] if isinstance(prompt, list) else [prompt]
    said = [part for part in parts if isinstance(part, str)]
    names = {"steps": "Steps", "cfg_scale": "CFG scale", "seed": "Seed", "width": "Size-1", "height": "Size-2"}
    found = _picked(image, {**names, "sampler": "Sampler"}) | _split_negative(" ".join(said))
    return {**found, "Model": _name(values.get("model_weights"))}


def _split_negative(prompt: str) -> Found:
    """InvokeAI's old notation, in which the negative prompt stands in square brackets."""
    negative = ", ".join(_IN_SQUARE.findall(prompt))
    return {PROMPT: _IN_SQUARE.sub("", prompt).strip(), NEGATIVE_PROMPT: negative}


def _dream(line: str) -> Found | None:
    """The command line of InvokeAI's predecessor: ``"a cat [rain]" -s 50 -S 1 -W 512 -H 512 -C 7.5 -A k_lms``."""
    match = _DREAM.match(line)
    if match is None:
        return None
    flags = re.findall(r"(-[sSCAWH])\s*([^\s-]\S*)", match[2])
    return {**_split_negative(match[1]), **{_DREAM_FLAGS[flag]: value for flag, value in flags}}


_FOOOCUS = {
    "prompt": PROMPT, "negative_prompt": NEGATIVE_PROMPT, "steps": "Steps", "sampler": "Sampler",
    "guidance_scale": "CFG scale", "seed": "Seed", "base_model": "Model", "clip_skip": "Clip skip",
}  # fmt: skip


def _fooocus(texts: Mapping[str, str]) -> Found | None:
    values = _json(texts, "parameters", "UserComment", "Comment")
    # Older versions write the labels of their user interface.
    values = {str(name).lower().replace(" ", "_"): value for name, value in values.items()}
    if "base_model" not in values or "resolution" not in values:
        return None
    found, size = _picked(values, _FOOOCUS), _TUPLE.fullmatch(str(values["resolution"])[:40])
    if size is not None:
        found |= {"Size-1": size[1], "Size-2": size[2]}
    if isinstance(values.get("scheduler"), str):
        found["Schedule type"] = values["scheduler"]
    found["Model"] = re.sub(r"\.safetensors$", "", str(found.get("Model", "")))
    listed = values.get("loras")
    loras = (
        [each[:2] for each in listed if isinstance(each, list) and len(each) >= 2] if isinstance(listed, list) else []
    )
    for name, value in values.items():
        if name.startswith("lora_") and isinstance(value, str) and " : " in value:
            loras.append([value.rpartition(" : ")[0], _number(value.rpartition(" : ")[2])])
    return _with_tags(found, [_lora_tag(*each) for each in loras])


def _number(text: str) -> float:
    return float(text) if re.fullmatch(r"-?\d{1,9}(\.\d{1,9})?", text.strip()) else 1


_NOVELAI = {
    "steps": "Steps", "scale": "CFG scale", "seed": "Seed", "uc": NEGATIVE_PROMPT, "sampler": "Sampler",
    "width": "Size-1", "height": "Size-2", "strength": "Denoising strength",
}  # fmt: skip


def _novelai(texts: Mapping[str, str]) -> Found | None:
    values = _json(texts, "Comment")
    if "NovelAI" not in texts.get("Software", "") or not values:
        return None
    prompt = values.get("prompt")
    return {PROMPT: prompt if isinstance(prompt, str) else texts.get("Description", ""), **_picked(values, _NOVELAI)}


_READERS: tuple[Callable[[Mapping[str, str]], Found | None], ...] = (
    _novelai, _fooocus, _invokeai, _old_invokeai, _comfyui,
)  # fmt: skip
