"""Encoding whole prompts for Stable Diffusion and SDXL, with text encoders that many rows share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

from models.diffusion.pipeline import Pipeline
from models.diffusion.text.chunks import Chunk, split
from models.diffusion.text.embeddings import Embedding
from models.diffusion.text.encoder import Encoder
from models.errors import ModelUnavailable

SUFFIXES = ("", "_2")
"""The suffixes of a pipeline's text encoders and tokenizers in diffusers, in order."""


@dataclass(frozen=True)
class TextEncoding:
    """The encoding of one prompt. Its tensors may be shared and must not be changed."""

    hidden_states: torch.Tensor
    """[1, tokens, width]: the tokenizer's maximum length times the number of chunks, and the summed widths of all text
    encoders."""
    pooled: torch.Tensor | None
    """[1, width], for SDXL only: the second encoder's projection of the first chunk."""


@torch.no_grad()
def encode_clip(
    pipeline: Pipeline,
    prompts: Sequence[str | None],
    *,
    clip_skip: int = 1,
    embeddings: Mapping[str, Embedding] = MappingProxyType({}),
    device: torch.device,
) -> tuple[TextEncoding, ...]:
    """Encode prompts in A1111's syntax; all encodings get as many chunks as the longest prompt has.

    For a prompt of one chunk, without weights and embeddings, the result equals that of ``pipeline.encode_prompt``
    exactly. Longer prompts are encoded chunk by chunk, each with its own special tokens, and concatenated. Shorter
    prompts are padded with empty chunks. Weights multiply the tokens' hidden states; with a single CLIP encoder the
    chunk is then scaled back to its former mean, as in A1111. LoRA tags are ignored.

    Args:
        pipeline: with one text encoder (Stable Diffusion, the built-in model), two (SDXL) or only the second of these.
        prompts: ``None`` is no prompt: zeros with ``force_zeros_for_empty_prompt`` (SDXL), otherwise an empty text.
        clip_skip: the layer of the hidden states, counted from the end as in A1111: 1 is the last layer, 2 the one
            before it, which diffusers calls ``clip_skip=1``. SDXL never takes the last layer: 1 and 2 are the same
            there, and 3 is ``clip_skip=1`` in diffusers. Applies to all prompts; in diffusers not to the negative one.
        embeddings: textual-inversion embeddings by the words in the prompts; those that occur must fit the model.
        device: the device of the text encoders.

    Raises:
        PromptError: as :func:`models.jobs.prompts.parse`.
        ModelUnavailable: an embedding in a prompt is made for another model, or has too many vectors.
        DrawingFailed: a prompt is too long, or the text encoder has no such layer.
    """
    encoders = _encoders(pipeline, device)
    for encoder in encoders:
        encoder.check(clip_skip)
    has_zeros = _has_zeros(pipeline)
    resolved = [prompt if prompt is not None or has_zeros else "" for prompt in prompts]
    texts = [text for text in dict.fromkeys(resolved) if text is not None] or [""]
    chunks = {text: [split(encoder.tokenizer, text, embeddings) for encoder in encoders] for text in texts}
    count = max(len(each) for parts in chunks.values() for each in parts)
    encodings = {text: _encode(encoders, chunks[text], count, clip_skip) for text in texts}
    return tuple(_zeros_like(encodings[texts[0]]) if text is None else encodings[text] for text in resolved)


def _has_zeros(pipeline: Any) -> bool:
    """Whether the encoding of no prompt is zeros, as SDXL was trained."""
    return bool(pipeline.config.get("force_zeros_for_empty_prompt", False))


def _encoders(pipeline: Any, device: torch.device) -> list[Encoder]:
    """The pipeline's text encoders: one, SDXL's two, or only the second of these, as its refiner has it."""
    found = [suffix for suffix in SUFFIXES if getattr(pipeline, f"text_encoder{suffix}", None) is not None]
    return [
        Encoder(
            number=SUFFIXES.index(suffix),
            tokenizer=getattr(pipeline, f"tokenizer{suffix}"),
            model=getattr(pipeline, f"text_encoder{suffix}"),
            is_sdxl="_2" in found,
            device=device,
        )
        for suffix in found
    ]


def _encode(encoders: Sequence[Encoder], chunks: Sequence[list[Chunk]], count: int, clip_skip: int) -> TextEncoding:
    """Encode one prompt, whose ``chunks`` are given for each encoder, padded to ``count`` chunks."""
    _check_embeddings(encoders, chunks[0])
    states, pooled = [], None
    for encoder, own in zip(encoders, chunks, strict=True):
        encoded = [encoder.encode(chunk, clip_skip) for chunk in own]
        if len(own) < count:
            encoded += [encoder.encode([], clip_skip)] * (count - len(own))
        states.append(torch.cat([each for each, _ in encoded], dim=1))
        pooled = encoded[0][1]
    return TextEncoding(torch.cat(states, dim=-1).to(encoders[-1].model.dtype), pooled)


def _check_embeddings(encoders: Sequence[Encoder], chunks: list[Chunk]) -> None:
    """Refuse embeddings that are made for other text encoders."""
    for embedding in {unit.embedding for chunk in chunks for unit in chunk if unit.embedding is not None}:
        for encoder in encoders:
            problem = encoder.validate(embedding)
            if problem is not None:
                message = f"embedding {embedding.name!r} is made for another kind of model: {problem}"
                raise ModelUnavailable(message, "prompt")


def _zeros_like(encoding: TextEncoding) -> TextEncoding:
    pooled = None if encoding.pooled is None else torch.zeros_like(encoding.pooled)
    return TextEncoding(torch.zeros_like(encoding.hidden_states), pooled)
