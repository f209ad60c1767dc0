"""What ``deploy.json`` says about a model beside its graphs: all that ``photogram_runtime`` needs to use them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models.catalog.families import FAMILIES, STABLE_DIFFUSION
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.pipeline import Pipeline
from models.vision.finetuning.saving import CARD
from models.vision.model import EMBEDDING, LOGITS, POOLED, VisionModel

TOKENIZER = "tokenizer.json"
_DEFAULTS = "_use_default_values"
"""In a loaded configuration, the names of the settings that the checkpoint's file does not have."""


def drawing_description(checkpoint: Checkpoint, folder: Path) -> dict[str, Any] | None:
    """The section ``drawing`` of ``deploy.json``, whose tokenizer is written into ``folder``.

    Returns:
        ``None``, and nothing is written, if ``photogram_runtime`` cannot draw with such a model: it draws from noise
        with a UNet that takes the hidden states of one text encoder and nothing else.
    """
    pipeline, spec = checkpoint.pipeline, checkpoint.spec
    backend = getattr(pipeline.tokenizer, "backend_tokenizer", None)
    if spec.family != STABLE_DIFFUSION or backend is None or not _is_plain(checkpoint):
        return None
    (folder / TOKENIZER).write_text(backend.to_str(), encoding="utf-8")
    start_id, end_id = pipeline.tokenizer("").input_ids
    config, defaults = pipeline.vae.config, spec.defaults
    return {
        "scheduler": _scheduler(pipeline), "sampler": defaults.sampler, "steps": defaults.num_inference_steps,
        "guidance_scale": defaults.guidance_scale, "width": defaults.width, "height": defaults.height,
        "negative_prompt": defaults.negative_prompt, "size_multiple": FAMILIES[spec.family].size_multiple_px,
        "latent_channels": config.latent_channels, "scale_factor": pipeline.vae_scale_factor,
        "scaling_factor": config.scaling_factor, "shift_factor": getattr(config, "shift_factor", None) or 0.0,
        "tokenizer": TOKENIZER, "tokens": pipeline.tokenizer.model_max_length, "start_id": start_id, "end_id": end_id,
        "pad_id": pipeline.tokenizer.pad_token_id,
        "uses_mask": bool(getattr(pipeline.text_encoder.config, "use_attention_mask", False)),
    }  # fmt: skip


def _is_plain(checkpoint: Checkpoint) -> bool:
    """Whether the UNet takes latents, timesteps and hidden states alone, and the VAE one scale for all channels."""
    pipeline = checkpoint.pipeline
    is_distilled = pipeline.unet.config.time_cond_proj_dim is not None
    has_statistics = getattr(pipeline.vae.config, "latents_mean", None) is not None
    return not (is_distilled or has_statistics or checkpoint.family.takes_mask(pipeline))


def _scheduler(pipeline: Pipeline) -> dict[str, Any]:
    """The scheduler's configuration as the checkpoint's file has it: each sampler has defaults of its own."""
    config = dict(pipeline.scheduler.config)
    left_out = config.pop(_DEFAULTS, ())
    return {name: value for name, value in config.items() if name not in left_out}


def vision_description(model: VisionModel) -> dict[str, Any] | None:
    """The section ``vision`` of ``deploy.json``; ``None`` for a NaFlex model, whose preprocessing is another one."""
    if model.keeps_aspect:
        return None
    config = model.config
    has_classes, is_projected = bool(model.labels), model.projection is not None
    return {
        "input_size": list(config["input_size"]), "mean": list(config["mean"]), "std": list(config["std"]),
        "interpolation": str(config["interpolation"]), "crop_pct": float(config["crop_pct"]),
        "crop_mode": str(config["crop_mode"]), "labels": [[label.name, label.text] for label in model.labels],
        "outputs": [*([LOGITS] * has_classes), POOLED, *([EMBEDDING] * is_projected)],
        "multi_label": _has_independent_classes(model),
    }  # fmt: skip


def _has_independent_classes(model: VisionModel) -> bool:
    """Whether an image may have several labels, as the data card of a finetuned model says."""
    folder = model.spec.folder
    try:
        card = None if folder is None else json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(card, dict) and card.get("multi_label") is True
