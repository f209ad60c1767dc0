"""The refiner of Stable Diffusion XL: it draws the last steps of what the base model began, or over an image."""

from __future__ import annotations

import torch
from diffusers import StableDiffusionXLImg2ImgPipeline

from models.catalog.families import SDXL_REFINER
from models.diffusion.families.sdxl import StableDiffusionXL

AESTHETIC_SCORE, NEGATIVE_AESTHETIC_SCORE = 6.0, 2.5
"""How good an image the UNet is to think of with the prompt, and without it; the pipeline's defaults."""


class StableDiffusionXLRefiner(StableDiffusionXL):
    """As ``StableDiffusionXLImg2ImgPipeline`` with the refiner's weights: the second text encoder alone."""

    name = SDXL_REFINER
    pipeline_class = StableDiffusionXLImg2ImgPipeline
    is_exportable = False  # exported graphs take as many numbers as the base model's
    has_first_encoder = False
    other = 'is it a base model? then set family = "sdxl"'

    def size_numbers(self, size: tuple[int, int], inputs: int) -> torch.Tensor:
        """[inputs, 5]: nothing scaled, nothing cropped, and the aesthetic score in place of the target's size."""
        width, height = size
        scores = (NEGATIVE_AESTHETIC_SCORE, AESTHETIC_SCORE)[-inputs:]
        return torch.tensor([[height, width, 0, 0, score] for score in scores])


FAMILY = StableDiffusionXLRefiner()
