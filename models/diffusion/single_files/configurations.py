"""The configuration values of published models; single files of finetunes have their architecture, and weights alone.

The values are those in the repositories of the models: stable-diffusion-v1-5, stable-diffusion-2-1,
stable-diffusion-xl-base-1.0 and stable-diffusion-xl-refiner-1.0. What is left out is the default of diffusers and
transformers. Tests compare the number of parameters with the published ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from models.catalog.families import SDXL, SDXL_REFINER, STABLE_DIFFUSION

Config: TypeAlias = Mapping[str, Any]

_DOWN, _DOWN_ATTENTION = "DownBlock2D", "CrossAttnDownBlock2D"
_UP, _UP_ATTENTION = "UpBlock2D", "CrossAttnUpBlock2D"


def _unet(channels: tuple[int, ...], **values: Any) -> Config:
    return {
        "_class_name": "UNet2DConditionModel",
        "act_fn": "silu",
        "block_out_channels": channels,
        "layers_per_block": 2,
        "norm_num_groups": 32,
        "out_channels": 4,
        **values,
    }


_STABLE_DIFFUSION_UNET: Config = {
    "down_block_types": (_DOWN_ATTENTION, _DOWN_ATTENTION, _DOWN_ATTENTION, _DOWN),
    "up_block_types": (_UP, _UP_ATTENTION, _UP_ATTENTION, _UP_ATTENTION),
}
_SDXL_UNET: Config = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "sample_size": 128,
    "use_linear_projection": True,
}


def _vae(scaling_factor: float, sample_size: int, **values: Any) -> Config:
    return {
        "_class_name": "AutoencoderKL",
        "act_fn": "silu",
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "in_channels": 3,
        "latent_channels": 4,
        "layers_per_block": 2,
        "norm_num_groups": 32,
        "out_channels": 3,
        "sample_size": sample_size,
        "scaling_factor": scaling_factor,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        **values,
    }


def _text_encoder(class_name: str, width: int, layers: int, activation: str, projection: int) -> Config:
    return {
        "architectures": [class_name],
        "hidden_act": activation,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "max_position_embeddings": 77,
        "model_type": "clip_text_model",
        "num_attention_heads": width // 64,
        "num_hidden_layers": layers,
        "projection_dim": projection,
        "vocab_size": 49408,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
    }


_CLIP_L = _text_encoder("CLIPTextModel", 768, 12, "quick_gelu", 768)
_OPEN_CLIP_H = _text_encoder("CLIPTextModel", 1024, 23, "gelu", 512)
_OPEN_CLIP_BIG_G = _text_encoder("CLIPTextModelWithProjection", 1280, 32, "gelu", 1280)

_SCHEDULER: Config = {
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "steps_offset": 1,
}
_PNDM: Config = {
    "_class_name": "PNDMScheduler", **_SCHEDULER, "set_alpha_to_one": False, "skip_prk_steps": True,
}  # fmt: skip
_EULER: Config = {
    "_class_name": "EulerDiscreteScheduler", **_SCHEDULER, "interpolation_type": "linear",
    "timestep_spacing": "leading",
}  # fmt: skip

PADDED_WITH_END, PADDED_WITH_ZERO = "<|endoftext|>", "!"
"""What prompts are padded with: CLIP's last token, or the token with the id 0 in OpenCLIP's encoders."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A published architecture."""

    family: str
    context_width: int
    """The width of the text features that the UNet reads; it tells the architectures of one family apart."""
    pipeline: Config
    """The values of ``model_index.json`` beside the parts."""
    unet: Config
    vae: Config
    text_encoders: Mapping[str, Config]
    """By the name of the part."""
    padding: Mapping[str, str]
    """The token that prompts are padded with, by the name of the tokenizer."""
    scheduler: Config
    prediction: str
    """What the published model predicts: ``epsilon`` or ``v_prediction``."""


ARCHITECTURES = (
    Architecture(
        family=STABLE_DIFFUSION,
        context_width=768,
        pipeline={"_class_name": "StableDiffusionPipeline", "requires_safety_checker": False},
        unet=_unet(
            (320, 640, 1280, 1280), **_STABLE_DIFFUSION_UNET, attention_head_dim=8, cross_attention_dim=768,
            sample_size=64,
        ),
        vae=_vae(0.18215, 512),
        text_encoders={"text_encoder": _CLIP_L},
        padding={"tokenizer": PADDED_WITH_END},
        scheduler=_PNDM,
        prediction="epsilon",
    ),
    Architecture(
        family=STABLE_DIFFUSION,
        context_width=1024,
        pipeline={"_class_name": "StableDiffusionPipeline", "requires_safety_checker": False},
        unet=_unet(
            (320, 640, 1280, 1280), **_STABLE_DIFFUSION_UNET, attention_head_dim=(5, 10, 20, 20),
            cross_attention_dim=1024, sample_size=96, upcast_attention=True, use_linear_projection=True,
        ),
        vae=_vae(0.18215, 768),
        text_encoders={"text_encoder": _OPEN_CLIP_H},
        padding={"tokenizer": PADDED_WITH_ZERO},
        scheduler=_PNDM,
        prediction="v_prediction",
    ),
    Architecture(
        family=SDXL,
        context_width=2048,
        pipeline={"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": True},
        unet=_unet(
            (320, 640, 1280), **_SDXL_UNET, attention_head_dim=(5, 10, 20), cross_attention_dim=2048,
            down_block_types=(_DOWN, _DOWN_ATTENTION, _DOWN_ATTENTION), projection_class_embeddings_input_dim=2816,
            transformer_layers_per_block=(1, 2, 10), up_block_types=(_UP_ATTENTION, _UP_ATTENTION, _UP),
        ),
        vae=_vae(0.13025, 1024, force_upcast=True),
        text_encoders={"text_encoder": _CLIP_L, "text_encoder_2": _OPEN_CLIP_BIG_G},
        padding={"tokenizer": PADDED_WITH_END, "tokenizer_2": PADDED_WITH_ZERO},
        scheduler=_EULER,
        prediction="epsilon",
    ),
    Architecture(
        family=SDXL_REFINER,
        context_width=1280,
        pipeline={
            "_class_name": "StableDiffusionXLImg2ImgPipeline", "force_zeros_for_empty_prompt": False,
            "requires_aesthetics_score": True,
        },
        unet=_unet(
            (384, 768, 1536, 1536), **_SDXL_UNET, attention_head_dim=(6, 12, 24, 24), cross_attention_dim=1280,
            down_block_types=(_DOWN, _DOWN_ATTENTION, _DOWN_ATTENTION, _DOWN),
            projection_class_embeddings_input_dim=2560, transformer_layers_per_block=4,
            up_block_types=(_UP, _UP_ATTENTION, _UP_ATTENTION, _UP),
        ),
        vae=_vae(0.13025, 1024, force_upcast=True),
        text_encoders={"text_encoder_2": _OPEN_CLIP_BIG_G},
        padding={"tokenizer_2": PADDED_WITH_ZERO},
        scheduler=_EULER,
        prediction="epsilon",
    ),
)  # fmt: skip
