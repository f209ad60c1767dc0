"""Completing a single file: a folder with the configurations and tokenizers that its weights belong to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from models.catalog.single_file import marked_prediction
from models.catalog.weights import read_header
from models.diffusion.single_files.configurations import ARCHITECTURES, Architecture
from models.diffusion.single_files.vocabulary import write_vocabulary

CHANNELS = (4, 9)
"""The input channels of a UNet: latents, or for inpainting a mask and a masked image, too."""
_FIRST_LAYER, _CONTEXT = "model.diffusion_model.input_blocks.0.0.weight", ".attn2.to_k.weight"
_ZERO_SNR = "ztsnr"
"""The name of an empty tensor with which trainers mark files (ComfyUI and reForge read the same mark)."""
_INPAINTING = {
    "StableDiffusionPipeline": "StableDiffusionInpaintPipeline",
    "StableDiffusionXLPipeline": "StableDiffusionXLInpaintPipeline",
}
_PARTS = {"StableDiffusionPipeline": ("feature_extractor", "image_encoder", "safety_checker")}
"""Parts of pipelines that are left out here."""


def write_configuration(file: Path, family: str, prediction: str, folder: Path) -> bool:
    """Write a diffusers folder without weights for the checkpoint in ``file``; false if its architecture is unknown.

    Args:
        file: a ``.safetensors`` file in its authors' layout.
        prediction: ``epsilon`` or ``v_prediction``; ``auto`` is what the file is marked with, or what the published
            model of its architecture predicts.
        folder: an existing, empty folder.

    Raises:
        ModelUnavailable: the header of the file cannot be read.
    """
    header = read_header(file)
    architecture, channels = _architecture(header, family), _channels(header)
    if architecture is None or channels not in CHANNELS:
        return False
    for part, config in _configs(architecture, channels, _scheduler(architecture, header, prediction)):
        (folder / part).mkdir()
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        (folder / part / name).write_text(json.dumps(config), encoding="utf-8")
    for part, padding in architecture.padding.items():
        (folder / part).mkdir()
        _write_tokenizer(folder / part, padding)
    (folder / "model_index.json").write_text(json.dumps(_index(architecture, channels)), encoding="utf-8")
    return True


def _architecture(header: Mapping[str, Any], family: str) -> Architecture | None:
    widths = {tensor["shape"][-1] for name, tensor in header.items() if name.endswith(_CONTEXT)}
    found = (each for each in ARCHITECTURES if each.family == family and {each.context_width} == widths)
    return next(found, None)


def _channels(header: Mapping[str, Any]) -> int:
    shape = header.get(_FIRST_LAYER, {}).get("shape", (0, 0))
    return int(shape[1])


def _configs(
    architecture: Architecture, channels: int, scheduler: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "unet", {**architecture.unet, "in_channels": channels}
    yield "vae", architecture.vae
    yield "scheduler", scheduler
    yield from architecture.text_encoders.items()


def _scheduler(architecture: Architecture, header: Mapping[str, Any], prediction: str) -> Mapping[str, Any]:
    if prediction == "auto":
        prediction = marked_prediction(header) or architecture.prediction
    return {
        **architecture.scheduler,
        "prediction_type": prediction,
        **({"rescale_betas_zero_snr": True} if _ZERO_SNR in header else {}),
    }


def _write_tokenizer(folder: Path, padding: str) -> None:
    config = {
        "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": padding,
        "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    write_vocabulary(folder)


def _index(architecture: Architecture, channels: int) -> Mapping[str, Any]:
    """The contents of ``model_index.json``: the pipeline, and the library and class of each part."""
    pipeline = architecture.pipeline["_class_name"]
    left_out = {part: (None, None) for part in _PARTS.get(pipeline, ())}
    texts = {part: ("transformers", config["architectures"][0]) for part, config in architecture.text_encoders.items()}
    drawing = {
        part: ("diffusers", config["_class_name"])
        for part, config in (
            ("unet", architecture.unet), ("vae", architecture.vae), ("scheduler", architecture.scheduler)
        )
    }  # fmt: skip
    name = pipeline if channels == CHANNELS[0] else _INPAINTING.get(pipeline, pipeline)
    tokenizers = {part: ("transformers", "CLIPTokenizer") for part in architecture.padding}
    missing = {part: (None, None) for part in ("text_encoder", "tokenizer") if part not in {**texts, **tokenizers}}
    return {**architecture.pipeline, "_class_name": name, **left_out, **missing, **texts, **tokenizers, **drawing}
