"""A1111's options: which of them mean something here, which may only have one value, and which change nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from models.catalog.catalog import Catalog
from models.jobs.checks import Problems, unknown_name
from service.api.formats import JPEG, PNG, WEBP, ImageFormat
from service.api.sdapi.names import find_model, model_hash, model_title

MODEL, CLIP_SKIP, FORMAT, QUALITY = "sd_model_checkpoint", "CLIP_stop_at_last_layers", "samples_format", "jpeg_quality"
_FORMATS: Mapping[str, ImageFormat] = MappingProxyType({"png": PNG, "jpg": JPEG, "jpeg": JPEG, "webp": WEBP})
_QUALITY = 80
"""A1111's own default."""

_FIXED: Mapping[str, tuple[Any, ...]] = MappingProxyType({
    "sd_vae": ("Automatic", "None", ""),
    "sd_lora": ("None", ""),
    "sd_hypernetwork": ("None", ""),
    "randn_source": ("CPU",),
    "emphasis": ("Original",),
    "eta_noise_seed_delta": (0,),
    "eta_ancestral": (1,),
    "eta_ddim": (0,),
    "s_churn": (0,),
    "s_noise": (1,),
    "initial_noise_multiplier": (1,),
    "inpainting_mask_weight": (1,),
    "img2img_color_correction": (False,),
    "img2img_fix_steps": (False,),
    "face_restoration": (False,),
    "tiling": (False,),
    "token_merging_ratio": (0,),
    "token_merging_ratio_img2img": (0,),
    "token_merging_ratio_hr": (0,),
    "use_old_karras_scheduler_sigmas": (False,),
    "always_discard_next_to_last_sigma": (False,),
    "uni_pc_variant": ("bh1",),
    "uni_pc_order": (3,),
})  # fmt: skip
"""Options that decide what is drawn, and the values that they may have; the first is what is shown."""
_HARMLESS = (
    "sd_checkpoint_hash", "sd_checkpoints_limit", "sd_checkpoint_cache", "sd_checkpoints_keep_in_cpu", "outdir_",
    "samples_", "grid_", "save_", "live_preview", "show_progress", "return_", "do_not_", "directories_", "webp_",
    "export_for_4chan", "img_downscale_", "target_side_length", "use_original_name_batch", "memmon_poll_rate",
    "add_", "infotext_", "notification_", "api_", "disable_weights_auto_swap", "font", "gallery_", "ui_", "js_",
    "quicksettings", "enable_pnginfo", "control_net_unit_count", "send_",
)  # fmt: skip
"""How options begin that are about files, windows and memory, and not about what is drawn."""
_SHOWN: Mapping[str, Any] = MappingProxyType({
    "samples_save": True,
    "grid_save": False,
    "return_grid": False,
    "live_previews_enable": True,
    "show_progress_every_n_steps": 5,
    "enable_pnginfo": True,
    "control_net_unit_count": 4,
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What options say about an image."""

    model: str | None = None
    """The catalog's own name."""
    clip_skip: int | None = None
    file_format: ImageFormat = PNG
    quality: int = _QUALITY


def read_options(given: Mapping[str, Any], catalog: Catalog, problems: Problems, place: str = "") -> dict[str, Any]:
    """Those of the options ``given`` that mean something, as they are kept; what cannot be had is noted.

    Args:
        place: what the options' names begin with where they are blamed.
    """
    kept: dict[str, Any] = {}
    for name, value in given.items():
        if value is None:
            continue
        if name in _READERS:
            kept[name], problem = _READERS[name](value, catalog)
        else:
            problem = _fixed_problem(name, value)
        problems.note(f"{place}{name}", problem)
    return {name: value for name, value in kept.items() if value is not None}


def chosen(options: Mapping[str, Any]) -> Chosen:
    """The same from options as they are kept."""
    return Chosen(
        model=options.get(MODEL),
        clip_skip=options.get(CLIP_SKIP),
        file_format=_FORMATS[options.get(FORMAT, "png")],
        quality=options.get(QUALITY, _QUALITY),
    )


def show_options(options: Mapping[str, Any], catalog: Catalog) -> dict[str, Any]:
    """All options with their values, as clients read them; they may be set to the same again."""
    named = find_model(options[MODEL], catalog) if MODEL in options else None
    model = named or catalog[catalog.default]
    return {
        MODEL: model_title(model),
        "sd_checkpoint_hash": model_hash(model),
        CLIP_SKIP: options.get(CLIP_SKIP, 1),
        FORMAT: options.get(FORMAT, "png"),
        QUALITY: options.get(QUALITY, _QUALITY),
        **{name: values[0] for name, values in _FIXED.items()},
        **_SHOWN,
    }


Read = tuple[Any, str | None]
"""What is kept of an option, and why it cannot be had."""


def _read_model(value: Any, catalog: Catalog) -> Read:
    if value == "":
        return None, None
    found = find_model(value, catalog) if isinstance(value, str) else None
    return (
        (None, unknown_name("model", str(value), map(model_title, catalog.values())).message)
        if found is None
        else (found.name, None)
    )


def _read_whole(value: Any, _: Catalog) -> Read:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 9:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not float(value).is_integer():
        return None, "must be a whole number"
    return int(value), None


def _read_quality(value: Any, catalog: Catalog) -> Read:
    number, problem = _read_whole(value, catalog)
    return (number, None) if number is not None and 1 <= number <= 100 else (None, problem or "must be from 1 to 100")


def _read_format(value: Any, _: Catalog) -> Read:
    name = value.lower() if isinstance(value, str) else None
    return (name, None) if name in _FORMATS else (None, f"must be one of {', '.join(_FORMATS)}")


_READERS = MappingProxyType({MODEL: _read_model, CLIP_SKIP: _read_whole, FORMAT: _read_format, QUALITY: _read_quality})


def _fixed_problem(name: str, value: Any) -> str | None:
    if name in _FIXED:
        return None if value in _FIXED[name] else f"not available: it is always {_FIXED[name][0]!r} here"
    return None if name.startswith(_HARMLESS) else "not available: this server has no such option"
