"""A contact sheet of a checkpoint's images for a list of prompts: ``python -m training.house.grid FOLDER grid.png``."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from PIL import Image

NAMED = ("cat", "dog", "red apple", "car", "house", "sun", "pizza", "heart",
         "tree", "rocket", "fish", "guitar", "crown", "rose", "ghost", "robot")  # fmt: skip
"""The sixteen prompts of the blind naming test: raters see only the images."""
COLOURED = ("a blue car", "a green heart", "a cat on a red background", "a pink house", "a purple fish",
            "a black horse", "a yellow rose", "a green apple on a blue background")  # fmt: skip
COLUMNS = 8
GAP_PX = 4


def draw(folder: Path, prompts: list[str], *, steps: int, guidance: float, seed: int) -> list[Image.Image]:
    """One image for each prompt, all with the same seed."""
    pipeline = DiffusionPipeline.from_pretrained(folder, safety_checker=None, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed) for _ in prompts]
    drawn: list[Image.Image] = pipeline(
        prompts, num_inference_steps=steps, guidance_scale=guidance, generator=generators, width=128, height=128
    ).images
    return drawn


def arrange(images: list[Image.Image]) -> Image.Image:
    """One image with ``images`` in rows of eight."""
    side = images[0].width + GAP_PX
    rows = -(-len(images) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * side + GAP_PX, rows * side + GAP_PX), (200, 200, 200))
    for index, image in enumerate(images):
        sheet.paste(image, (GAP_PX + index % COLUMNS * side, GAP_PX + index // COLUMNS * side))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--prompts", nargs="*", default=[*NAMED, *COLOURED])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    drawn = draw(options.folder, options.prompts, steps=options.steps, guidance=options.guidance, seed=options.seed)
    arrange(drawn).save(options.output)


if __name__ == "__main__":
    main()
