"""Tiny pipelines with random weights, made in code in about a second, for every test that really draws.

All are ordinary diffusers folders: ``load_checkpoint`` and the plain pipelines' ``from_pretrained`` read them. The
same call always gives the same weights. Pictures are noise, but they depend strongly on prompt, guidance, sampler and
seed, and their pixels span the whole range, so that a wrong latent shows.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    ControlNetModel,
    DDIMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

PX = 64
"""The side of the squares that all draw naturally; any multiple of 8 works, 32 and more."""
TEXT_WIDTH = 32
POOLED_WIDTH = 16
SIZE_WIDTH = 8
SCHEDULE: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def build_tiny_sd(folder: Path, *, seed: int = 0, time_cond_proj_dim: int | None = None) -> Path:
    """Write a Stable Diffusion 1.5 in miniature: CLIP text encoder, epsilon prediction, AutoencoderKL, 4 channels.

    Args:
        folder: where to; made if it is not there.
        seed: of the weights; another seed is another checkpoint.
        time_cond_proj_dim: width of the guidance embedding that LCM-distilled UNets take; ``None`` for an ordinary one.
    """
    torch.manual_seed(seed)
    pipeline = StableDiffusionPipeline(
        vae=_kl_vae(),
        text_encoder=CLIPTextModel(_clip_config()),
        tokenizer=_clip_tokenizer(),
        unet=_unet(4, time_cond_proj_dim=time_cond_proj_dim),
        scheduler=DDIMScheduler(**SCHEDULE, clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder


def build_tiny_sdxl(
    folder: Path,
    *,
    seed: int = 0,
    force_zeros: bool = True,
    size_numbers: int = 6,
    time_cond_proj_dim: int | None = None,
    **vae_config: Any,
) -> Path:
    """Write an SDXL base model in miniature: two CLIP text encoders, one of them pooling, and a UNet told of sizes.

    Args:
        folder: where to; made if it is not there.
        seed: of the weights; another seed is another checkpoint.
        force_zeros: whether the embeddings of no negative prompt are zeros, as SDXL's own are.
        size_numbers: how many numbers tell the UNet of sizes; a refiner takes 5.
        time_cond_proj_dim: as :func:`build_tiny_sd`'s.
        vae_config: what is to be different in the VAE's configuration.
    """
    torch.manual_seed(seed)
    pipeline = StableDiffusionXLPipeline(
        vae=_kl_vae(scaling_factor=0.13025, **vae_config),
        text_encoder=CLIPTextModel(_clip_config()),
        text_encoder_2=CLIPTextModelWithProjection(_clip_config(hidden_act="gelu", projection_dim=POOLED_WIDTH)),
        tokenizer=_clip_tokenizer(),
        tokenizer_2=_clip_tokenizer(),
        unet=_unet(
            4, cross_attention_dim=2 * TEXT_WIDTH, transformer_layers_per_block=(1, 2), use_linear_projection=True,
            addition_embed_type="text_time", addition_time_embed_dim=SIZE_WIDTH,
            projection_class_embeddings_input_dim=POOLED_WIDTH + size_numbers * SIZE_WIDTH,
            time_cond_proj_dim=time_cond_proj_dim,
        ),
        scheduler=EulerDiscreteScheduler(**SCHEDULE, timestep_spacing="leading", steps_offset=1),
        force_zeros_for_empty_prompt=force_zeros, add_watermarker=False,
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder


def build_tiny_house(folder: Path, *, seed: int = 0) -> Path:
    """Write the built-in model in miniature: BERT text encoder, velocity prediction, AutoencoderTiny, 12 channels."""
    torch.manual_seed(seed)
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderTiny(
            latent_channels=12, encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4,
            num_encoder_blocks=(1,) * 4, num_decoder_blocks=(1,) * 4,
        ),
        text_encoder=_bert_text_encoder(),
        tokenizer=_bert_tokenizer(),
        unet=_unet(
            12, addition_embed_type="text", addition_embed_type_num_heads=4, resnet_time_scale_shift="scale_shift"
        ),
        scheduler=DDIMScheduler(**SCHEDULE, prediction_type="v_prediction", timestep_spacing="trailing",
                                clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    _spread(pipeline.vae, gain=20.0, middle=0.5)
    pipeline.save_pretrained(folder)
    return folder


def build_tiny_controlnet(folder: Path, pipeline_folder: Path, *, seed: int = 0, pooled: bool = False) -> Path:
    """Write a ControlNet for the UNet of the tiny pipeline in ``pipeline_folder``, one that was "trained": what is
    zeros in a fresh one is random, so that its residuals matter.

    Args:
        folder: where to; made if it is not there.
        pipeline_folder: what :func:`build_tiny_sd` or :func:`build_tiny_sdxl` wrote.
        seed: of the weights that are not the UNet's own.
        pooled: whether the residuals are averaged over the picture, as those of ``shuffle`` are.
    """
    torch.manual_seed(seed)
    controlnet = ControlNetModel.from_unet(UNet2DConditionModel.from_pretrained(pipeline_folder, subfolder="unet"))
    controlnet.register_to_config(global_pool_conditions=pooled)
    for name, weights in controlnet.named_parameters():
        if not weights.any():
            weights.data.normal_(std=0.3 if "controlnet_" in name else 0.05)
    controlnet.save_pretrained(folder)
    return folder


def _unet(channels: int, **config: Any) -> UNet2DConditionModel:
    unet = UNet2DConditionModel(
        sample_size=PX // 8,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        norm_num_groups=8,
        **({"cross_attention_dim": TEXT_WIDTH} | config),
    )
    for name, weights in unet.named_parameters():
        if "attn2.to_" in name:
            weights.data *= 3  # or the prompt would hardly matter
    return unet


def _spread(vae: Any, gain: float, middle: float = 0.0) -> Any:
    """Scale the last layer about ``middle``, so that the decoded pixels span their range instead of being all grey."""
    last = [module for module in vae.decoder.modules() if isinstance(module, torch.nn.Conv2d)][-1]
    last.weight.data *= gain
    last.bias = torch.nn.Parameter(torch.full((3,), middle))
    return vae


def _kl_vae(**config: Any) -> AutoencoderKL:
    vae: AutoencoderKL = _spread(AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), norm_num_groups=4, latent_channels=4, layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, **config,
    ), gain=4.0)  # fmt: skip
    return vae


def _clip_config(**config: Any) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(_clip_vocabulary()), hidden_size=TEXT_WIDTH, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=77, bos_token_id=0, eos_token_id=1, pad_token_id=1, **config,
    )  # fmt: skip


def _clip_tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer(vocab=_clip_vocabulary(), merges=[], model_max_length=77)


def _clip_vocabulary() -> dict[str, int]:
    letters = [chr(code) for code in range(33, 127)]
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    return {piece: number for number, piece in enumerate(pieces)}


def _bert_text_encoder() -> BertModel:
    config = BertConfig(
        vocab_size=len(_bert_vocabulary()), hidden_size=TEXT_WIDTH, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=24,
    )  # fmt: skip
    config.use_attention_mask = True
    return BertModel(config, add_pooling_layer=False)


def _bert_tokenizer() -> BertTokenizer:
    return BertTokenizer(vocab=_bert_vocabulary(), model_max_length=24)


def _bert_vocabulary() -> dict[str, int]:
    letters = string.ascii_lowercase + string.digits
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    return {piece: number for number, piece in enumerate(pieces)}


def build_tiny_lora(
    file: Path,
    pipeline_folder: Path,
    *,
    seed: int = 0,
    rank: int = 4,
    parts: Sequence[str] = ("unet", "text_encoder", "text_encoder_2"),
    kohya: bool = False,
) -> Path:
    """Write a LoRA for all attention in the ``parts`` of a tiny pipeline.

    Args:
        file: where to, a ``.safetensors``.
        pipeline_folder: what :func:`build_tiny_sd` or :func:`build_tiny_sdxl` wrote.
        seed: of the weights; another seed is another LoRA.
        rank: of each update.
        parts: which modules it is for; those that the pipeline does not have are left out.
        kohya: write kohya-ss's names, which are LDM's for SDXL, and alphas that differ by layer; the LoRA is the same.
    """
    torch.manual_seed(seed)
    pipeline = DiffusionPipeline.from_pretrained(pipeline_folder)
    weights: dict[str, torch.Tensor] = {}
    for part, name, layer in _attention_layers(pipeline, parts):
        down = torch.randn(rank, layer.in_features) / layer.in_features**0.5
        up = torch.randn(layer.out_features, rank) / rank**0.5
        if kohya:
            key = _kohya_name(part, name, pipeline)
            scale = 2.0 ** -(len(weights) % 4)
            weights |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up / scale}
            weights[f"{key}.alpha"] = torch.tensor(rank * scale)
        else:
            weights |= {f"{part}.{name}.lora_A.weight": down, f"{part}.{name}.lora_B.weight": up}
    save_file(weights, file)
    return file


def _attention_layers(pipeline: Any, parts: Sequence[str]) -> Iterator[tuple[str, str, torch.nn.Linear]]:
    """The part, the name in it, and the layer."""
    endings = ("to_q", "to_k", "to_v", "to_out.0", "q_proj", "k_proj", "v_proj", "out_proj")
    for part in parts:
        module = getattr(pipeline, part, None)
        for name, layer in module.named_modules() if module is not None else ():
            if name.endswith(endings):
                yield part, name, layer


def _kohya_name(part: str, name: str, pipeline: Any) -> str:
    is_sdxl = hasattr(pipeline, "text_encoder_2")
    if part != "unet":
        prefix = {"text_encoder": "te1" if is_sdxl else "te", "text_encoder_2": "te2"}[part]
        return f"lora_{prefix}_text_model_{name.removeprefix('text_model.')}".replace(".", "_")
    if is_sdxl:
        per_block = pipeline.unet.config.layers_per_block + 1
        name = re.sub(r"^mid_block\.attentions\.0", "middle_block.1", name)
        name = re.sub(r"^down_blocks\.(\d)\.attentions\.(\d)",
                      lambda at: f"input_blocks.{int(at[1]) * per_block + int(at[2]) + 1}.1", name)  # fmt: skip
        name = re.sub(r"^up_blocks\.(\d)\.attentions\.(\d)",
                      lambda at: f"output_blocks.{int(at[1]) * per_block + int(at[2])}.1", name)  # fmt: skip
    return f"lora_unet_{name}".replace(".", "_")
