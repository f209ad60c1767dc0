"""The ``parameters`` text of an image (infotext) as the fields of a request for the same image."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import ValidationError

from models.catalog.catalog import Catalog
from models.catalog.samplers import SAMPLERS, find_sampler
from models.catalog.styles import find_style
from models.catalog.upscalers import upscaler_problem
from models.errors import InvalidTicket, quoted
from models.jobs.checks import Problems
from models.jobs.params import FILLS
from models.jobs.tickets import complete
from models.media.infotext import NEGATIVE_PROMPT, PROMPT, parse_parameters
from service.api.errors import renamed_problems
from service.api.sdapi.names import find_model
from service.api.sdapi.options.translate import CLIP_SKIP, MODEL, Options, read_options
from service.api.sdapi.schemas import SdDrawBody
from service.api.sdapi.translate import to_request, wire_name

_PROMPT, _NEGATIVE_PROMPT = "prompt", "negative_prompt"
_TAG = re.compile(r"<(lora|lyco|hypernet):([^<>]*+)>")
_AUTOMATIC = "Automatic"
_FIELDS: Mapping[str, str] = MappingProxyType({
    PROMPT: _PROMPT,
    NEGATIVE_PROMPT: _NEGATIVE_PROMPT,
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
    "Hires schedule type": "hr_scheduler",
    "Hires checkpoint": "hr_checkpoint_name",
    "Refiner": "refiner_checkpoint",
    "Refiner switch at": "refiner_switch_at",
    "Mask blur": "mask_blur",
    "Masked area padding": "inpaint_full_res_padding",
    "Tiling": "tiling",
    "Eta": "eta",
    "Sigma churn": "s_churn",
    "Sigma noise": "s_noise",
})  # fmt: skip
_SETTINGS: Mapping[str, str] = MappingProxyType({
    "Model": MODEL,
    "Clip skip": CLIP_SKIP,
})  # fmt: skip
_OVERRIDES = "override_settings"
_CAUSES: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "hr_scale": ("hr_resize_x", "hr_resize_y", "enable_hr"),
    "sampler_name": ("scheduler", "steps"),
})  # fmt: skip
"""The fields that may be wrong if a field is refused, besides itself."""
_HIRES = ("Hires upscale", "Hires resize-1")
_NOT_MASKED, _ONLY_MASKED = "Inpaint not masked", "Only masked"


_Body = TypeVar("_Body", bound=SdDrawBody)


def with_infotext(body: _Body, catalog: Catalog, stored: Mapping[str, Any], comments: list[str]) -> _Body:
    """``body``, completed by the fields of its infotext that it leaves out.

    A text comes from somebody else's image, made by another program with other models. What this server does not know
    of it, and values that it cannot use, are left out with a comment, as in A1111; the prompts of the text and what the
    request itself says are never left out.

    Args:
        stored: the options of the API key.
    """
    if not body.infotext:
        return body
    found = fields_of_infotext(body.infotext)
    settings = found.pop(_OVERRIDES, {})
    _leave_out_unknown(found, settings, catalog, comments)
    given = {name: getattr(body, name) for name in body.model_fields_set}
    if isinstance(given.get(_OVERRIDES), dict):
        settings = {**settings, **given.pop(_OVERRIDES)}
    sampler = given.get("sampler_name") or given.get("sampler_index")
    if sampler and find_sampler(sampler, found.get("scheduler", _AUTOMATIC)) not in SAMPLERS:
        found.pop("scheduler", None)
    options = Options.of({**stored, **read_options(settings, catalog, Problems())})
    from_text = set(found) - set(given) - {_PROMPT, _NEGATIVE_PROMPT}
    return _usable(type(body), {**found, **given, _OVERRIDES: settings}, from_text, options, catalog, comments)


def _usable(
    kind: type[_Body],
    fields: dict[str, Any],
    from_text: set[str],
    options: Options,
    catalog: Catalog,
    comments: list[str],
) -> _Body:
    """A body of ``fields``, without those of ``from_text`` that do not fit or cannot be used."""
    try:
        body = kind.model_validate(fields)
    except ValidationError as error:
        odd = {str(problem["loc"][0]) for problem in error.errors(include_url=False, include_input=False)} & from_text
        if not odd:
            raise
    else:
        causes = (_cause(field, from_text) for field in _refused_fields(body, options, catalog))
        odd = {cause for cause in causes if cause is not None}
        if not odd:
            return body
    return _usable(kind, _without(fields, odd, comments), from_text - odd, options, catalog, comments)


def _refused_fields(body: SdDrawBody, options: Options, catalog: Catalog) -> list[str]:
    """The fields for which the request in ``body`` would be refused, under A1111's names."""
    try:
        with renamed_problems(wire_name):
            complete(to_request(body, options, catalog, Problems(), []), catalog)
    except InvalidTicket as error:
        return [problem.field for problem in error.problems]
    return []


def _cause(field: str, from_text: set[str]) -> str | None:
    """The field of the text because of which ``field`` is refused; ``None`` if the request itself is the cause."""
    return next((name for name in (field, *_CAUSES.get(field, ())) if name in from_text), None)


def _without(fields: dict[str, Any], names: set[str], comments: list[str]) -> dict[str, Any]:
    comments.extend(f"{name} of the infotext is not available, and was left out" for name in sorted(names))
    return {name: value for name, value in fields.items() if name not in names}


def _leave_out_unknown(found: dict[str, Any], settings: dict[str, Any], catalog: Catalog, comments: list[str]) -> None:
    """Remove from ``found`` and ``settings`` the names that mean nothing here."""
    for fields, name in ((settings, MODEL), (found, "refiner_checkpoint")):
        if name in fields and find_model(fields[name], catalog) is None:
            comments.append(f"the infotext's model {quoted(fields.pop(name))} is not here, and was left out")
    if not re.fullmatch(r"[0-9]{1,9}", settings.get(CLIP_SKIP, "1")):
        comments.append(f"the infotext's clip skip {quoted(settings.pop(CLIP_SKIP))} is no number, and was left out")
    _leave_out_sampler(found, comments)
    upscaler = found.get("hr_upscaler", "")
    is_latent = upscaler.lower().startswith("latent")
    if upscaler and not is_latent and upscaler_problem(upscaler, catalog.upscalers) is not None:
        comments.append(f"the infotext's upscaler {quoted(found.pop('hr_upscaler'))} is not here: Lanczos is used")
    if "styles" in found and find_style(found["styles"][0]) is None:
        comments.append(f"the infotext's style {quoted(found.pop('styles')[0])} is not here, and was left out")
    if _PROMPT in found:
        found[_PROMPT] = _without_unknown_loras(found[_PROMPT], catalog, comments)


def _leave_out_sampler(found: dict[str, Any], comments: list[str]) -> None:
    sampler, scheduler = found.get("sampler_name"), found.get("scheduler", _AUTOMATIC)
    if sampler is None or find_sampler(sampler, scheduler) in SAMPLERS:
        return
    if find_sampler(sampler, _AUTOMATIC) in SAMPLERS:
        comments.append(f"the infotext's schedule type {quoted(scheduler)} is not here: Automatic is used")
        found["scheduler"] = _AUTOMATIC
        return
    comments.append(f"the infotext's sampler {quoted(sampler)} is not here: the model's own is used")
    del found["sampler_name"]
    found.pop("scheduler", None)


def _without_unknown_loras(prompt: str, catalog: Catalog, comments: list[str]) -> str:
    def kept(tag: re.Match[str]) -> str:
        name = tag[2].partition(":")[0].strip()
        if tag[1] != "hypernet" and catalog.loras.resolve(name) is not None:
            return tag[0]
        comments.append(f"the infotext's {tag[1]} {quoted(name)} is not here, and was left out")
        return ""

    return _TAG.sub(kept, prompt)


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
