"""Tiny pipelines of the families with a UNet, and a ControlNet for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderTiny,
    ControlNetModel,
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from tests.tiny.parts import (
    POOLED_WIDTH,
    SCHEDULE,
    SIZE_WIDTH,
    TEXT_WIDTH,
    bert_text_encoder,
    bert_tokenizer,
    clip_config,
    clip_tokenizer,
    kl_vae,
    spread,
    unet,
)


def build_tiny_sd(folder: Path, *, seed: int = 0, time_cond_proj_dim: int | None = None) -> Path:
    """Write a Stable Diffusion 1.5 in miniature: CLIP text encoder, epsilon prediction, AutoencoderKL, 4 channels.

    Args:
        folder: where to; made if it is not there.
        seed: of the weights; another seed is another checkpoint.
        time_cond_proj_dim: width of the guidance embedding that LCM-distilled UNets take; ``None`` for an ordinary one.
    """
    torch.manual_seed(seed)
    pipeline = StableDiffusionPipeline(
        vae=kl_vae(),
        text_encoder=CLIPTextModel(clip_config()),
        tokenizer=clip_tokenizer(),
        unet=unet(4, time_cond_proj_dim=time_cond_proj_dim),
        scheduler=DDIMScheduler(**SCHEDULE, clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder


def build_tiny_inpaint(folder: Path, *, seed: int = 0) -> Path:
    """Write what :func:`build_tiny_sd` does, but with a UNet that takes mask and masked image: 9 channels."""
    torch.manual_seed(seed)
    StableDiffusionInpaintPipeline(
        vae=kl_vae(),
        text_encoder=CLIPTextModel(clip_config()),
        tokenizer=clip_tokenizer(),
        unet=unet(4, in_channels=9),
        scheduler=DDIMScheduler(**SCHEDULE, clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def build_tiny_sdxl(
    folder: Path,
    *,
    seed: int = 0,
    force_zeros: bool = True,
    size_numbers: int = 6,
    second_width: int = TEXT_WIDTH,
    time_cond_proj_dim: int | None = None,
    **vae_config: Any,
) -> Path:
    """Write an SDXL base model in miniature: two CLIP text encoders, one of them pooling, and a UNet told of sizes.

    Args:
        folder: where to; made if it is not there.
        seed: of the weights; another seed is another checkpoint.
        force_zeros: whether the embeddings of no negative prompt are zeros, as SDXL's own are.
        size_numbers: how many numbers tell the UNet of sizes; a refiner takes 5.
        second_width: of the second text encoder.
        time_cond_proj_dim: as :func:`build_tiny_sd`'s.
        vae_config: what is to be different in the VAE's configuration.
    """
    torch.manual_seed(seed)
    pipeline = StableDiffusionXLPipeline(
        vae=kl_vae(scaling_factor=0.13025, **vae_config),
        text_encoder=CLIPTextModel(clip_config()),
        text_encoder_2=CLIPTextModelWithProjection(
            clip_config(hidden_act="gelu", projection_dim=POOLED_WIDTH, hidden_size=second_width)
        ),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=unet(
            4, cross_attention_dim=TEXT_WIDTH + second_width, transformer_layers_per_block=(1, 2),
            use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=SIZE_WIDTH,
            projection_class_embeddings_input_dim=POOLED_WIDTH + size_numbers * SIZE_WIDTH,
            time_cond_proj_dim=time_cond_proj_dim,
        ),
        scheduler=EulerDiscreteScheduler(**SCHEDULE, timestep_spacing="leading", steps_offset=1),
        force_zeros_for_empty_prompt=force_zeros, add_watermarker=False,
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder


def build_tiny_refiner(folder: Path, *, seed: int = 5) -> Path:
    """Write an SDXL refiner in miniature: the second text encoder alone, and a UNet told of an aesthetic score."""
    torch.manual_seed(seed)
    StableDiffusionXLImg2ImgPipeline(
        vae=kl_vae(scaling_factor=0.13025),
        text_encoder=None,
        text_encoder_2=CLIPTextModelWithProjection(clip_config(hidden_act="gelu", projection_dim=POOLED_WIDTH)),
        tokenizer=None,
        tokenizer_2=clip_tokenizer(),
        unet=unet(
            4, transformer_layers_per_block=(1, 2), use_linear_projection=True,
            addition_embed_type="text_time", addition_time_embed_dim=SIZE_WIDTH,
            projection_class_embeddings_input_dim=POOLED_WIDTH + 5 * SIZE_WIDTH,
        ),
        scheduler=EulerDiscreteScheduler(**SCHEDULE, timestep_spacing="leading", steps_offset=1),
        requires_aesthetics_score=True, force_zeros_for_empty_prompt=False, add_watermarker=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def build_tiny_house(folder: Path, *, seed: int = 0) -> Path:
    """Write the built-in model in miniature: BERT text encoder, velocity prediction, AutoencoderTiny, 12 channels."""
    torch.manual_seed(seed)
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderTiny(
            latent_channels=12, encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4,
            num_encoder_blocks=(1,) * 4, num_decoder_blocks=(1,) * 4,
        ),
        text_encoder=bert_text_encoder(),
        tokenizer=bert_tokenizer(),
        unet=unet(
            12, addition_embed_type="text", addition_embed_type_num_heads=4, resnet_time_scale_shift="scale_shift"
        ),
        scheduler=DDIMScheduler(**SCHEDULE, prediction_type="v_prediction", timestep_spacing="trailing",
                                clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    spread(pipeline.vae, gain=20.0, middle=0.5)
    pipeline.save_pretrained(folder)
    return folder


def build_tiny_controlnet(folder: Path, pipeline_folder: Path, *, seed: int = 0, pooled: bool = False) -> Path:
    """Write a ControlNet for the UNet of the tiny pipeline in ``pipeline_folder``, one that was "trained": what is
    zeros in a fresh one is random, so that its residuals matter.

    Args:
        folder: where to; made if it is not there.
        pipeline_folder: what :func:`build_tiny_sd` or :func:`build_tiny_sdxl` wrote.
        seed: of the weights that are not the UNet's own.
        pooled: whether the residuals are averaged over the image, as those of ``shuffle`` are.
    """
    torch.manual_seed(seed)
    controlnet = ControlNetModel.from_unet(UNet2DConditionModel.from_pretrained(pipeline_folder, subfolder="unet"))
    controlnet.register_to_config(global_pool_conditions=pooled)
    for name, weights in controlnet.named_parameters():
        if not weights.any():
            weights.data.normal_(std=0.3 if "controlnet_" in name else 0.05)
    controlnet.save_pretrained(folder)
    return folder
