"""Tiny pipelines with random weights, made in code in about a second, for every test that really draws.

All are ordinary diffusers folders, or single files: ``load_checkpoint`` and the plain pipelines read them. The same
call always gives the same weights. Images are noise, but they depend strongly on prompt, guidance, sampler and seed,
and their pixels span the whole range, so that a wrong latent shows.
"""

from tests.tiny.flow import build_tiny_flux, build_tiny_sd3
from tests.tiny.loras import build_tiny_lora
from tests.tiny.parts import POOLED_WIDTH, PX, SIZE_WIDTH, TEXT_WIDTH
from tests.tiny.pixart import build_tiny_pixart
from tests.tiny.single_files import build_tiny_file
from tests.tiny.unets import (
    build_tiny_controlnet,
    build_tiny_house,
    build_tiny_inpaint,
    build_tiny_refiner,
    build_tiny_sd,
    build_tiny_sdxl,
)

__all__ = [
    "POOLED_WIDTH",
    "PX",
    "SIZE_WIDTH",
    "TEXT_WIDTH",
    "build_tiny_controlnet",
    "build_tiny_file",
    "build_tiny_flux",
    "build_tiny_house",
    "build_tiny_inpaint",
    "build_tiny_lora",
    "build_tiny_pixart",
    "build_tiny_refiner",
    "build_tiny_sd",
    "build_tiny_sd3",
    "build_tiny_sdxl",
]
