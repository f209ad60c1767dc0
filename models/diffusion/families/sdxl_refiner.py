"""The refiner of Stable Diffusion XL, which takes the last steps of a base model's image, or does img2img."""

from __future__ import annotations

import torch
from diffusers import StableDiffusionXLImg2ImgPipeline

from models.catalog.families import SDXL_REFINER
from models.diffusion.families.sdxl import StableDiffusionXL

AESTHETIC_SCORE, NEGATIVE_AESTHETIC_SCORE = 6.0, 2.5
"""The UNet's inputs for image quality, with the prompt and with the negative prompt; the pipeline's defaults."""


class StableDiffusionXLRefiner(StableDiffusionXL):
    """As ``StableDiffusionXLImg2ImgPipeline`` with the refiner's weights, which have only the second text encoder."""

    name = SDXL_REFINER
    pipeline_class = StableDiffusionXLImg2ImgPipeline
    is_exportable = False  # exported graphs have the six time_ids of the base model
    has_first_encoder = False
    other_family = 'is it a base model? then set family = "sdxl"'

    def size_numbers(self, size: tuple[int, int], inputs: int) -> torch.Tensor:
        """``time_ids`` [inputs, 5]: neither scaled nor cropped, with the aesthetic score instead of the target size."""
        width, height = size
        scores = [NEGATIVE_AESTHETIC_SCORE] * (inputs > 1) + [AESTHETIC_SCORE] * max(1, inputs - 1)
        return torch.tensor([[height, width, 0, 0, score] for score in scores])


FAMILY = StableDiffusionXLRefiner()
