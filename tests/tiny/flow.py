"""Tiny pipelines of the families that flow matching trains: FLUX and Stable Diffusion 3."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from tests.tiny.parts import (
    POOLED_WIDTH,
    TEXT_WIDTH,
    clip_config,
    clip_tokenizer,
    kl_vae,
    strengthened,
    t5_text_encoder,
    t5_tokenizer,
)


def build_tiny_flux(folder: Path, *, guidance_embeds: bool, seed: int = 0) -> Path:
    """Write FLUX.1 in miniature: CLIP and T5, and a transformer that takes patches of latents.

    Args:
        folder: where to; made if it is not there.
        guidance_embeds: dev takes the guidance scale as an input, and shifts its steps by the size; schnell does not.
        seed: of the weights; another seed is another checkpoint.
    """
    torch.manual_seed(seed)
    FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(
            shift=3.0 if guidance_embeds else 1.0, use_dynamic_shifting=guidance_embeds
        ),
        vae=kl_vae(scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=CLIPTextModel(clip_config()),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5_text_encoder(),
        tokenizer_2=t5_tokenizer(),
        transformer=strengthened(FluxTransformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=TEXT_WIDTH, pooled_projection_dim=TEXT_WIDTH,
            guidance_embeds=guidance_embeds, axes_dims_rope=(4, 4, 8),
        )),
    ).save_pretrained(folder)  # fmt: skip
    return folder


def build_tiny_sd3(folder: Path, *, has_t5: bool = True, dynamic_shift: bool = False, seed: int = 0) -> Path:
    """Write Stable Diffusion 3 in miniature: two CLIPs, perhaps T5, and a transformer that takes latents.

    Args:
        folder: where to; made if it is not there.
        has_t5: whether there is a third text encoder.
        dynamic_shift: whether the steps are shifted by the size.
        seed: of the weights; another seed is another checkpoint.
    """
    torch.manual_seed(seed)
    StableDiffusion3Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=dynamic_shift),
        vae=kl_vae(latent_channels=16, scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False,
                   use_post_quant_conv=False),
        text_encoder=CLIPTextModelWithProjection(clip_config(projection_dim=POOLED_WIDTH, num_hidden_layers=3)),
        tokenizer=clip_tokenizer(),
        text_encoder_2=CLIPTextModelWithProjection(
            clip_config(hidden_act="gelu", projection_dim=POOLED_WIDTH, num_hidden_layers=3)
        ),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5_text_encoder(2 * TEXT_WIDTH) if has_t5 else None,
        tokenizer_3=t5_tokenizer() if has_t5 else None,
        transformer=strengthened(SD3Transformer2DModel(
            sample_size=8, patch_size=2, in_channels=16, out_channels=16, num_layers=2, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=2 * TEXT_WIDTH, caption_projection_dim=32,
            pooled_projection_dim=2 * POOLED_WIDTH, pos_embed_max_size=16,
        )),
    ).save_pretrained(folder)  # fmt: skip
    return folder
