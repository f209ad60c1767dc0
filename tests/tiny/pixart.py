"""A tiny pipeline of PixArt-Sigma."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler, PixArtSigmaPipeline, PixArtTransformer2DModel

from tests.tiny.parts import TEXT_WIDTH, kl_vae, strengthened, t5_text_encoder, t5_tokenizer


def build_tiny_pixart(folder: Path, *, sample_size: int = 8, learns_variance: bool = True, seed: int = 0) -> Path:
    """Write PixArt-Sigma in miniature: T5, and a transformer that takes latents.

    Args:
        folder: where to; made if it is not there.
        sample_size: of the transformer; from 128 on, diffusers makes a PixArt-Alpha of it.
        learns_variance: whether the output has the channels of a variance too, as in all published models.
        seed: of the weights; another seed is another checkpoint.
    """
    torch.manual_seed(seed)
    PixArtSigmaPipeline(
        scheduler=DPMSolverMultistepScheduler(
            beta_start=0.0001, beta_end=0.02, beta_schedule="linear", timestep_spacing="leading"
        ),
        vae=kl_vae(),
        text_encoder=t5_text_encoder(),
        tokenizer=t5_tokenizer(),
        transformer=strengthened(PixArtTransformer2DModel(
            sample_size=sample_size, patch_size=2, in_channels=4, out_channels=8 if learns_variance else 4,
            num_layers=2, attention_head_dim=16, num_attention_heads=2, cross_attention_dim=32,
            caption_channels=TEXT_WIDTH, norm_num_groups=1,
        )),
    ).save_pretrained(folder)  # fmt: skip
    return folder
