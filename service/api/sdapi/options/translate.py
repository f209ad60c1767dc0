"""A1111's options: which ones have an effect, which ones may only have one value, and which ones are ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

from models.catalog.catalog import Catalog
from models.catalog.names import unknown_name
from models.errors import Problem, ProblemCode
from models.jobs.checks import Problems, choice_problem, range_problem
from models.jobs.params import NONE
from service.api.formats import JPEG, PNG, WEBP, ImageFormat
from service.api.sdapi.names import find_model, model_hash, model_title

MODEL, CLIP_SKIP, FORMAT, QUALITY = "sd_model_checkpoint", "CLIP_stop_at_last_layers", "samples_format", "jpeg_quality"
WITH_METADATA = "enable_pnginfo"
_FORMATS: Mapping[str, ImageFormat] = MappingProxyType({"png": PNG, "jpg": JPEG, "jpeg": JPEG, "webp": WEBP})
_ON, _OFF = ("true", "1"), ("false", "0")
_QUALITY = 80
"""A1111's default."""

_FIXED: Mapping[str, tuple[Any, ...]] = MappingProxyType({
    "sd_vae": ("Automatic", "None", ""),
    "sd_lora": ("None", ""),
    "sd_hypernetwork": ("None", ""),
    "randn_source": ("CPU", "GPU"),
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
"""Options that affect images in A1111, with the values that are accepted; answers show the first one."""
_USUAL: Mapping[str, tuple[Any, ...]] = MappingProxyType({
    "beta_dist_alpha": (0.6,),
    "beta_dist_beta": (0.6,),
    "comma_padding_backtrack": (20,),
    "ddim_discretize": ("uniform",),
    "enable_batch_seeds": (True,),
    "extra_networks_default_multiplier": (1,),
    "hires_fix_refiner_pass": ("second pass",),
    "img2img_background_color": ("#ffffff",),
    "overlay_inpaint": (True,),
    "sd_noise_schedule": ("Default",),
    "sd_vae_decode_method": ("Full",),
    "sd_vae_encode_method": ("Full",),
    "sdxl_refiner_high_aesthetic_score": (6,),
    "sdxl_refiner_low_aesthetic_score": (2.5,),
    "uni_pc_lower_order_final": (True,),
    "uni_pc_skip_type": ("time_uniform",),
    "upscaler_for_img2img": ("Lanczos",),
})  # fmt: skip
"""Further options that affect images, with A1111's usual values; answers do not show them."""
_NO_FEATURE = (None, False, 0, "", "automatic", "none", "off", "disable", "disabled", "default", "built-in")
"""Values, in lower case, that leave an option of any name as it is without the feature behind it."""
_IGNORED_PREFIXES = (
    "sd_checkpoint_hash", "sd_checkpoints_limit", "sd_checkpoint_cache", "sd_checkpoints_keep_in_cpu", "outdir_",
    "samples_", "grid_", "save_", "live_preview", "show_progress", "return_", "do_not_", "directories_", "webp_",
    "export_for_4chan", "img_downscale_", "target_side_length", "use_original_name_batch", "memmon_poll_rate",
    "add_", "infotext_", "notification_", "api_", "disable_weights_auto_swap", "font", "gallery_", "ui_", "js_",
    "quicksettings", "quick_setting", "control_net_", "controlnet_", "send_", "auto_backcompat",
    "auto_launch", "auto_vae_precision", "batch_cond_uncond", "pad_cond_uncond", "persistent_cond_cache",
    "cross_attention_optimization", "clean_temp_dir", "temp_dir", "code_former_weight", "face_restoration_", "compact_",
    "dat_", "DAT_", "ESRGAN_", "SWIN_", "LDSR_", "SCUNET_", "realesrgan_", "upscaling_max", "deepbooru_",
    "dataset_", "dimensions_", "disable_", "disabled_", "dump_", "enable_console", "enable_upscale", "enable_reloading",
    "extra_networks_", "extra_options_", "forge_preset", "forge_inference_memory", "forge_async_loading",
    "forge_pin_shared", "gradio_", "hidden_", "hide_", "hires_button", "hires_fix_show", "img2img_autosize",
    "img2img_batch", "img2img_inpaint", "img2img_settings", "img2img_sketch", "img_max_size", "include_styles",
    "interrogate_", "interrupt_after", "keyedit_", "list_hidden", "localization", "lora_", "multiple_tqdm", "n_rows",
    "open_dir", "pin_memory", "postprocessing_", "prevent_screen", "print_", "profiling_", "restore_config", "s_tmax",
    "s_tmin", "samplers_in", "sd_checkpoint_dropdown", "sd_vae_checkpoint_cache", "sd_vae_overrides", "sd_webui_",
    "set_scale_by", "settings_in_ui", "show_", "stealth_pnginfo", "tabs_without", "tac_", "textual_inversion_",
    "training_", "txt2img_settings", "unload_models", "use_save_to_dirs", "use_upscaler_name", "sd_lyco",
    "bilingual_", "dp_", "ad_",
)  # fmt: skip
"""Prefixes of options about files, the user interface and memory, which do not affect images; they are ignored."""
_SHOWN: Mapping[str, Any] = MappingProxyType({
    "samples_save": True,
    "grid_save": False,
    "return_grid": False,
    "live_previews_enable": True,
    "show_progress_every_n_steps": 5,
    "control_net_unit_count": 4,
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options that affect a request."""

    model: str | None = None
    """The catalog's name of the model."""
    clip_skip: int | None = None
    file_format: ImageFormat = PNG
    quality: int = _QUALITY
    metadata: str | None = None
    """What files say of how they were made; ``None`` is as the API key prefers."""

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Self:
        """The options in ``stored``, which :func:`read_options` returned."""
        return cls(
            model=stored.get(MODEL),
            clip_skip=stored.get(CLIP_SKIP),
            file_format=_FORMATS[stored.get(FORMAT, "png")],
            quality=stored.get(QUALITY, _QUALITY),
            # Clients send all options back, so that true, the default, must not override the preference of the key.
            metadata=None if stored.get(WITH_METADATA, True) else NONE,
        )


def read_options(given: Mapping[str, Any], catalog: Catalog, problems: Problems, place: str = "") -> dict[str, Any]:
    """The options of ``given`` that have an effect, in the form that is stored; notes what is wrong with the others.

    Null and an empty text leave an option as it is.

    Args:
        place: the prefix of the options' names in problems.
    """
    stored: dict[str, Any] = {}
    for name, value in given.items():
        if value in (None, ""):
            continue
        if name in _READERS:
            stored[name], problem = _READERS[name](value, catalog)
        else:
            problem = _fixed_problem(name, value)
        problems.note(f"{place}{name}", problem)
    return {name: value for name, value in stored.items() if value is not None}


def show_options(stored: Mapping[str, Any], catalog: Catalog) -> dict[str, Any]:
    """All options with their values; a client may send them back unchanged."""
    named = find_model(stored[MODEL], catalog) if MODEL in stored else None
    model = named or catalog[catalog.default]
    return {
        MODEL: model_title(model),
        "sd_checkpoint_hash": model_hash(model),
        CLIP_SKIP: stored.get(CLIP_SKIP, 1),
        FORMAT: stored.get(FORMAT, "png"),
        QUALITY: stored.get(QUALITY, _QUALITY),
        WITH_METADATA: stored.get(WITH_METADATA, True),
        **{name: values[0] for name, values in _FIXED.items()},
        **_SHOWN,
    }


Read = tuple[Any, Problem | None]
"""The value to store, and the problem with the value that was sent."""


def _read_model(value: Any, catalog: Catalog) -> Read:
    found = find_model(value, catalog) if isinstance(value, str) else None
    if found is None:
        return None, unknown_name("model", str(value), map(model_title, catalog.values()))
    return found.name, None


def _read_whole(value: Any, _: Catalog) -> Read:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 9:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not float(value).is_integer():
        return None, Problem("must be a whole number", ProblemCode.MALFORMED)
    return int(value), None


def _read_quality(value: Any, catalog: Catalog) -> Read:
    number, problem = _read_whole(value, catalog)
    if number is not None:
        problem = range_problem(number, 1, 100)
    return (number, None) if problem is None else (None, problem)


def _read_format(value: Any, _: Catalog) -> Read:
    name = value.lower() if isinstance(value, str) else ""
    return (name, None) if name in _FORMATS else (None, choice_problem(name, _FORMATS))


def _read_switch(value: Any, _: Catalog) -> Read:
    name = str(value).lower()
    return (
        (name in _ON, None)
        if name in (*_ON, *_OFF)
        else (None, Problem("must be true or false", ProblemCode.MALFORMED))
    )


_READERS = MappingProxyType({
    MODEL: _read_model, CLIP_SKIP: _read_whole, FORMAT: _read_format, QUALITY: _read_quality,
    WITH_METADATA: _read_switch,
})  # fmt: skip


def _fixed_problem(name: str, value: Any) -> Problem | None:
    if name in _FIXED:
        if value in _FIXED[name]:
            return None
        message = f"not available: its only value is {_FIXED[name][0]!r}"
        return Problem(message, ProblemCode.UNAVAILABLE)
    is_usual = value in _USUAL[name] if name in _USUAL else name.startswith(_IGNORED_PREFIXES) or _is_off(value)
    return None if is_usual else Problem("not available: this server has no such option", ProblemCode.UNAVAILABLE)


def _is_off(value: Any) -> bool:
    """Whether ``value`` leaves the images as they are without the option, whatever its name."""
    if isinstance(value, str):
        return value.strip().lower() in _NO_FEATURE
    if isinstance(value, list):
        return all(isinstance(each, str) and _is_off(each) for each in value)
    return value == {} or value in _NO_FEATURE
