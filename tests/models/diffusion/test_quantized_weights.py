"""Weights quantised at the load: as diffusers draws with a file of the same type, with offloading and LoRAs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import gguf
import numpy as np
import pytest
import torch
from diffusers.quantizers.gguf.utils import GGUFLinear

from models.catalog.auxiliary import AuxiliaryModel
from models.catalog.catalog import OFFLOADS
from models.catalog.families import STABLE_DIFFUSION
from models.catalog.gguf_files import QUANTIZATIONS, TYPES
from models.diffusion.checkpoint_loading import load_checkpoint
from models.jobs.params import DrawParams, LoraUse
from tests.models.diffusion.far_memory import open_far
from tests.models.diffusion.rig import CPU, Studio, params, pixel_difference, spec_of
from tests.models.diffusion.test_placement import ROWS, difference, drawn
from tests.tiny import build_tiny_flux, build_tiny_lora, build_tiny_sd
from tests.tiny.denoisers import write_gguf


def test_the_types_are_those_of_the_format() -> None:
    kinds = {number: gguf.GGMLQuantizationType(number) for number in TYPES}
    assert {number: (kind.name, *gguf.GGML_QUANT_SIZES[kind]) for number, kind in kinds.items()} == dict(TYPES)
    from diffusers.quantizers.gguf.utils import SUPPORTED_GGUF_QUANT_TYPES

    assert {kinds[number] for number in TYPES if number > 1} == set(SUPPORTED_GGUF_QUANT_TYPES)


@pytest.mark.parametrize("weights", QUANTIZATIONS)
def test_it_draws_as_diffusers_does_with_a_file_of_this_type(weights: str, tmp_path: Path) -> None:
    """The file has the same layers quantised, under diffusers' names."""
    folder = build_tiny_sd(tmp_path / "sd")
    checkpoint = load_checkpoint(spec_of(folder, weights=weights), CPU)
    unet = checkpoint.pipeline.unet
    quantized = {f"{name}.weight" for name, layer in unet.named_modules() if isinstance(layer, GGUFLinear)}
    assert quantized and not any(name.startswith("time_embedding") for name in quantized)
    whole: Any = diffusers.UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    kind = gguf.GGMLQuantizationType[QUANTIZATIONS[weights][0]]
    file = write_gguf(tmp_path / "unet.gguf", whole.state_dict(), kind, only=quantized)
    plain: Any = diffusers.StableDiffusionPipeline.from_pretrained(
        folder, safety_checker=None, requires_safety_checker=False,
        unet=diffusers.UNet2DConditionModel.from_single_file(
            str(file), config=str(folder), subfolder="unet", dtype=torch.float32,
            quantization_config=diffusers.GGUFQuantizationConfig(compute_dtype=torch.float32),
        ),
    )  # fmt: skip
    plain.set_progress_bar_config(disable=True)
    studio, images = Studio(checkpoint.spec, checkpoint, plain), drawn(checkpoint)
    assert max(studio.off_by(wanted, images[row]) for row, wanted in ROWS.items()) <= 1


def test_fewer_bits_change_images_more(tmp_path: Path) -> None:
    folder = build_tiny_flux(tmp_path / "flux", guidance_embeds=True)
    whole = drawn(load_checkpoint(spec_of(folder, family="flux"), CPU))
    off = [
        np.mean([np.abs(np.asarray(whole[row], float) - np.asarray(image, float)) for row, image in found.items()])
        for weights in ("int8", "int4")
        if (found := drawn(load_checkpoint(spec_of(folder, family="flux", weights=weights), CPU)))
    ]
    assert 0 < off[0] < off[1]


def with_lora(folder: Path) -> tuple[dict[str, DrawParams], dict[str, AuxiliaryModel]]:
    """Rows, one of them with a LoRA, and the LoRA."""
    lora = AuxiliaryModel(name="style", path=build_tiny_lora(folder.with_name("style.safetensors"), folder))
    styled = params(seed=1, prompt="a cat 1", loras=(LoraUse(name="style", weight=0.7),))
    return {**ROWS, "lora": styled}, {"style": lora}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_loras_over_quantised_weights(dtype: str, tmp_path: Path) -> None:
    folder = build_tiny_sd(tmp_path / "sd")
    rows, loras = with_lora(folder)
    images = drawn(load_checkpoint(spec_of(folder, weights="int8", dtype=dtype), CPU), rows, loras=loras)
    assert pixel_difference(images["lora"], images["row 1"]) > 20


@pytest.mark.parametrize("offload", OFFLOADS[1:])
def test_offloading_changes_no_pixel(offload: str, tmp_path: Path) -> None:
    folder = build_tiny_sd(tmp_path / "sd")
    rows, loras = with_lora(folder)
    far, memory = open_far(folder, STABLE_DIFFUSION, offload, "int8")
    expected = drawn(load_checkpoint(spec_of(folder, weights="int8"), CPU), rows, loras=loras)
    assert difference(expected, drawn(far, rows, loras=loras)) <= 1
    assert memory.fetched
