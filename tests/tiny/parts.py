"""The parts that tiny pipelines are put together from."""

from __future__ import annotations

import string
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    CLIPTextConfig,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

PX = 64
"""The side of the squares that all draw naturally; any multiple of 8 works, 32 and more."""
TEXT_WIDTH = 32
POOLED_WIDTH = 16
SIZE_WIDTH = 8
SCHEDULE: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def unet(channels: int, **config: Any) -> UNet2DConditionModel:
    unet = UNet2DConditionModel(
        sample_size=PX // 8,
        out_channels=channels,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        norm_num_groups=8,
        **({"in_channels": channels, "cross_attention_dim": TEXT_WIDTH} | config),
    )
    for name, weights in unet.named_parameters():
        if "attn2.to_" in name:
            weights.data *= 3  # or the prompt would hardly matter
    return unet


def spread(vae: Any, gain: float, middle: float = 0.0) -> Any:
    """Scale the last layer about ``middle``, so that the decoded pixels span their range instead of being all grey."""
    last = [module for module in vae.decoder.modules() if isinstance(module, torch.nn.Conv2d)][-1]
    last.weight.data *= gain
    last.bias = torch.nn.Parameter(torch.full((3,), middle))
    return vae


def kl_vae(**config: Any) -> AutoencoderKL:
    vae: AutoencoderKL = spread(AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), norm_num_groups=4, layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        **({"latent_channels": 4} | config),
    ), gain=4.0)  # fmt: skip
    return vae


def clip_config(**config: Any) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(_clip_vocabulary()), intermediate_size=64, num_attention_heads=4, max_position_embeddings=77,
        bos_token_id=0, eos_token_id=1, pad_token_id=1,
        **({"hidden_size": TEXT_WIDTH, "num_hidden_layers": 2} | config),
    )  # fmt: skip


def clip_tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer(vocab=_clip_vocabulary(), merges=[], model_max_length=77)


def _clip_vocabulary() -> dict[str, int]:
    letters = [chr(code) for code in range(33, 127)]
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    return {piece: number for number, piece in enumerate(pieces)}


def bert_text_encoder() -> BertModel:
    config = BertConfig(
        vocab_size=len(_bert_vocabulary()), hidden_size=TEXT_WIDTH, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=24,
    )  # fmt: skip
    config.use_attention_mask = True
    return BertModel(config, add_pooling_layer=False)


def bert_tokenizer() -> BertTokenizer:
    return BertTokenizer(vocab=_bert_vocabulary(), model_max_length=24)


def _bert_vocabulary() -> dict[str, int]:
    letters = string.ascii_lowercase + string.digits
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    return {piece: number for number, piece in enumerate(pieces)}


def t5_text_encoder(width: int = TEXT_WIDTH) -> T5EncoderModel:
    return T5EncoderModel(T5Config(
        vocab_size=len(_t5_vocabulary()), d_model=width, d_kv=8, d_ff=64, num_layers=1, num_heads=4,
        feed_forward_proj="gated-gelu", dropout_rate=0.0,
    ))  # fmt: skip


def t5_tokenizer() -> T5Tokenizer:
    return T5Tokenizer(vocab=_t5_vocabulary(), extra_ids=0, model_max_length=512)


def _t5_vocabulary() -> list[tuple[str, float]]:
    pieces = ["<pad>", "</s>", "<unk>", "\N{LOWER ONE EIGHTH BLOCK}", *(chr(code) for code in range(33, 127))]
    return [(piece, -1.0) for piece in pieces]


def strengthened(transformer: torch.nn.Module) -> torch.nn.Module:
    """Scale some weights up, or neither prompt nor size nor guidance would matter beside the noise."""
    for name, weights in transformer.named_parameters():
        if name.endswith("weight") and weights.ndim == 2:
            weights.data *= 2
    return transformer
