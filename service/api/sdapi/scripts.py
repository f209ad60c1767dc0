"""A1111's always-on scripts: those that repeat fields, those that are switched off, and those that are refused.

A1111 runs scripts of many extensions, and clients send the arguments of all of them, switched off. So scripts are
judged by their arguments, not by a list of names.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from models.errors import Problem, ProblemCode
from models.jobs.checks import Problems

CONTROLNET = "controlnet"
NO_SCRIPTS = "not available: this server runs no scripts"

_SWITCH = ""
"""The place of a switch for the arguments after it."""
_REPEATED: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "sampler": ("steps", "sampler_name", "scheduler"),
    "seed": ("seed", _SWITCH, "subseed", "subseed_strength", "seed_resize_from_w", "seed_resize_from_h"),
    "refiner": (_SWITCH, "refiner_checkpoint", "refiner_switch_at"),
})  # fmt: skip
"""The built-in scripts whose arguments are fields of the request, by the place of the argument."""
_NAMES = ("sampler_name", "scheduler", "refiner_checkpoint")
"""The fields among these that are texts; the others are numbers."""
_WITHOUT_EFFECT = (
    "api payload",
    "comments",
    "extra options",
    "hypertile",
    "lora block weight",
    "never oom",
    "tiled vae",
)
"""The beginnings of names of scripts that save memory or serve the user interface. LoRA Block Weight acts on ``lbw=``
in a prompt's LoRA tags, which the prompt's own check judges."""
_DYNAMIC_PROMPTS = "dynamic prompts"
_DYNAMIC_PROMPTS_CHANGES = (3, 4, 5, 14)
"""The places of its switches that rewrite any prompt, or leave out the image."""
_SWITCHES = ("enabled", "enable", "is_enabled", "isenabled", "active", "ad_tab_enable")
_OFF_TEXTS = ("", "none", "off", "disabled", "disable")
_BOOLEANS: Mapping[str, bool] = MappingProxyType({"true": True, "false": False})


def args_of(script: Any) -> Any:
    """The arguments of an always-on script."""
    return script.get("args") or [] if isinstance(script, dict) else script or []


def repeated_fields(scripts: object) -> dict[str, Any]:
    """The fields that the built-in scripts among ``scripts`` repeat. Arguments that are empty or odd are left out."""
    found: dict[str, Any] = {}
    for name, script in scripts.items() if isinstance(scripts, dict) else ():
        args = args_of(script)
        if isinstance(args, list):
            found.update(_repeated(str(name).lower(), args))
    return found


def _repeated(name: str, args: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    is_on = True
    for field, value in zip(_REPEATED.get(name, ()), args, strict=False):
        if field == _SWITCH:
            is_on = _switch(value) is True
        elif is_on and _fits(field, value):
            yield field, value


def _fits(field: str, value: Any) -> bool:
    if field in _NAMES:
        return isinstance(value, str) and value.strip().lower() not in _OFF_TEXTS
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check_scripts(scripts: Mapping[str, Any], texts: Sequence[str], problems: Problems) -> None:
    """Note a problem for each script that would change the image.

    Args:
        texts: the prompt and the negative prompt.
    """
    for name, script in scripts.items():
        args, plain = args_of(script), name.lower()
        if plain == CONTROLNET:
            if not isinstance(args, list):
                problems.note(f"alwayson_scripts.{name}.args", Problem("must be a list", ProblemCode.MALFORMED))
        elif not _changes_nothing(plain, args if isinstance(args, list) else [args], texts):
            problems.note(f"alwayson_scripts.{name}", Problem(NO_SCRIPTS, ProblemCode.UNAVAILABLE))


def _changes_nothing(name: str, args: Sequence[Any], texts: Sequence[str]) -> bool:
    if name in _REPEATED or name.startswith(_WITHOUT_EFFECT) or _is_off(args):
        return True
    if not name.startswith(_DYNAMIC_PROMPTS):
        return False
    has_template = any(mark in text for text in texts for mark in ("{", "__"))
    return not has_template and not any(_switch(arg) for arg in _at(args, _DYNAMIC_PROMPTS_CHANGES))


def _at(args: Sequence[Any], places: Sequence[int]) -> Iterator[Any]:
    return (args[place] for place in places if place < len(args))


def _is_off(args: Sequence[Any]) -> bool:
    """Whether a script with such arguments is switched off.

    The first boolean is the switch; an image or a text may come before it, as in ReActor, but no number that says
    something. Without a boolean, every argument must be empty or none. Objects are units with switches of their own.
    """
    units = [arg for arg in args if isinstance(arg, dict)]
    if units and all(map(_is_off_unit, units)):
        return True
    for arg in args:
        switch = _switch(arg)
        if switch is not None:
            return not switch
        if not isinstance(arg, str) and arg:
            return False
    return not any(isinstance(arg, str) and arg.strip().lower() not in _OFF_TEXTS for arg in args)


def _switch(arg: Any) -> bool | None:
    """``arg`` as a boolean; ``None`` if it is none."""
    if isinstance(arg, str):
        return _BOOLEANS.get(arg.strip().lower())
    return arg if isinstance(arg, bool) else None


def _is_off_unit(unit: Mapping[str, Any]) -> bool:
    named = {str(name).lower(): value for name, value in unit.items()}
    switches = [named[name] for name in _SWITCHES if name in named]
    model = named.get("ad_model")
    return (
        not unit
        or any(_switch(each) is False or each in (0, None) for each in switches)
        or (isinstance(model, str) and model.strip().lower() in _OFF_TEXTS)
    )
