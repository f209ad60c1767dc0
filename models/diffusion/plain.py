"""What diffusers itself draws with a model of the catalog, one call for one image: the reference for the engine."""

from __future__ import annotations

from typing import Any

import torch
from PIL.Image import Image

from models.catalog.catalog import ModelSpec
from models.catalog.families import FLUX, PIXART_SIGMA, SDXL, SDXL_REFINER
from models.catalog.gguf_files import QUANTIZATIONS
from models.diffusion.attention import choose_attention
from models.diffusion.checkpoint_loading import dtype_of, read_pipeline
from models.diffusion.families.family import Family, load_family
from models.diffusion.quantized_weights import quantize_weights
from models.diffusion.reduced_weights import STORED
from models.diffusion.sampling import build_scheduler
from models.jobs.params import DrawParams


class PlainPipeline:
    """The pipeline of ``spec`` as diffusers loads it, with diffusers' own ways to save memory."""

    def __init__(self, spec: ModelSpec, device: torch.device) -> None:
        self._spec = spec
        family = load_family(spec.family)
        dtype = dtype_of(spec, device, family)
        self._pipeline = read_pipeline(spec, family, dtype)
        self._pipeline.set_progress_bar_config(disable=True)
        self._config = self._pipeline.scheduler.config
        _apply_settings(self._pipeline, spec, family, dtype)
        _place(self._pipeline, spec.offload, device)

    def draw(self, params: DrawParams, over: Image | None) -> Image:
        """One image; ``over`` is drawn over if the model cannot draw from noise."""
        is_sdxl = self._spec.family in (SDXL, SDXL_REFINER)
        self._pipeline.scheduler = build_scheduler(params.sampler, self._config, params.seed, is_sdxl=is_sdxl)
        options: dict[str, Any] = {
            "prompt": params.prompt, "guidance_scale": params.guidance_scale,
            "num_inference_steps": params.num_inference_steps, "generator": torch.Generator().manual_seed(params.seed),
        }  # fmt: skip
        if over is None:
            options |= {"width": params.width, "height": params.height}
        else:
            options |= {"image": over, "strength": params.strength}
        image: Image = self._pipeline(**options | self._own_options(params)).images[0]
        return image

    def _own_options(self, params: DrawParams) -> dict[str, Any]:
        """The options that only one family has, so that nothing is changed that the engine leaves as it is."""
        match self._spec.family:
            case family if family == FLUX:
                is_dev = self._pipeline.transformer.config.guidance_embeds
                return {"max_sequence_length": 512 if is_dev else 256}
            case family if family == PIXART_SIGMA:
                fixed = {"clean_caption": False, "use_resolution_binning": False}
                return {"negative_prompt": params.negative_prompt, **fixed}
            case _:
                return {"negative_prompt": params.negative_prompt or None}


def _apply_settings(pipeline: Any, spec: ModelSpec, family: Family, dtype: torch.dtype) -> None:
    if spec.vae_tiling:
        pipeline.vae.enable_tiling()
    choose_attention(getattr(pipeline, family.module), spec.attention)
    if spec.weights == "fp8":
        getattr(pipeline, family.module).enable_layerwise_casting(STORED, dtype)
    elif spec.weights in QUANTIZATIONS:
        quantize_weights(getattr(pipeline, family.module), spec.weights, dtype)


def _place(pipeline: Any, offload: str, device: torch.device) -> None:
    if device.type == "cpu" or offload == "none":
        pipeline.to(device)
    elif offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.enable_sequential_cpu_offload(device=device)
