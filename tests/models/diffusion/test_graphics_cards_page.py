"""The table of the page on graphics cards has what the memory plan computes for the published numbers of weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.catalog.families import FLUX, PIXART_SIGMA, SD3, SDXL, STABLE_DIFFUSION
from models.diffusion.memory_plan import DECODER_NUMBERS, DENOISER_NUMBERS, MemoryPlan
from models.downloads.space import in_words

PAGE = (Path(__file__).parents[3] / "docs" / "graphics-cards.md").read_text(encoding="utf-8")
CLIP_L, BIG_G, T5, VAE = 123_060_480, 694_659_840, 4_762_310_656, 83_653_863
T5_WIDE = 24 * 4096 * 10240
"""Weights of T5 that stay in float32 beside float16."""
T5_EMBEDDINGS, CLIP_EMBEDDINGS, BIG_G_EMBEDDINGS = 32128 * 4096, 49408 * 768, 49408 * 1280
COLUMNS = (("none", "auto"), ("none", "fp8"), ("model", "auto"), ("model", "fp8"), ("sequential", "auto"))


def plan(
    family: str, text: int, denoiser: int, reduced: int, largest: int, *, px: int = 1024, vae_item: int = 2
) -> MemoryPlan:
    """In 16 bits, from numbers of weights; ``reduced`` of the denoiser's are stored in 8 bits."""
    inputs = 1 if family == FLUX else 2
    return MemoryPlan(
        text_encoders=2 * text, denoiser=2 * denoiser, reduced_denoisers={"fp8": 2 * denoiser - reduced},
        vae=vae_item * VAE, largest_layer=2 * largest, denoising=DENOISER_NUMBERS[family] * inputs * px**2 * 2,
        decoding=DECODER_NUMBERS * px**2 * vae_item,
    )  # fmt: skip


PLANS = {
    "SD 1.5": plan(STABLE_DIFFUSION, CLIP_L, 859_520_964, 859_320_644, CLIP_EMBEDDINGS, px=512),
    "SDXL": plan(SDXL, CLIP_L + BIG_G, 2_567_463_684, 2_566_875_524, BIG_G_EMBEDDINGS, vae_item=4),
    "PixArt-Sigma": plan(PIXART_SIGMA, T5 + T5_WIDE, 610_856_096, 601_009_920, T5_EMBEDDINGS),
    "SD 3 medium": plan(SD3, CLIP_L + BIG_G + T5, 2_028_328_000, 1_352_931_840, T5_EMBEDDINGS),
    "FLUX.1": plan(FLUX, CLIP_L + T5, 11_901_408_320, 8_653_744_128, T5_EMBEDDINGS),
}
BYTES = {f"{gb} GB": gb * 10**9 for gb in (4, 6, 8, 12, 16, 24, 48)}
SPARE = 10**9


def cells(first: str) -> list[str]:
    """The cells of the row that begins so, without the first one."""
    line = next(line for line in PAGE.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("| ").split("|")][1:]


@pytest.mark.parametrize("model", PLANS)
def test_what_a_model_needs(model: str) -> None:
    assert cells(model)[1:] == [in_words(PLANS[model].needed_bytes(*setting)) for setting in COLUMNS]


@pytest.mark.parametrize("card", BYTES)
def test_which_setting_fits(card: str) -> None:
    settings = {"plain": ("none", "auto"), "`model`": ("model", "auto"), "`model` + `fp8`": ("model", "fp8")}
    for each, cell in zip(PLANS.values(), cells(card), strict=False):
        fitting = (text for text, one in settings.items() if each.needed_bytes(*one) + SPARE <= BYTES[card])
        assert cell.split(" and ")[0] == next(fitting, "`sequential`")
    assert cells(card)[-1] == "not run yet on this card"
