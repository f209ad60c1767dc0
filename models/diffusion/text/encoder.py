"""One text encoder, which many rows share, and the encoding of one chunk of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from models.diffusion.streams import to_device
from models.diffusion.text.chunks import Chunk
from models.diffusion.text.embeddings import Embedding, placed
from models.errors import DrawingFailed

MEAN_FLOOR = 0.01
"""A mean below this share of the mean magnitude is mostly rounding error, and must not be a divisor."""


@dataclass(frozen=True)
class Encoder:
    """One text encoder and its tokenizer."""

    number: int
    """The index of its vectors in an embedding: 0, or 1 for SDXL's second encoder."""
    tokenizer: Any
    model: Any
    is_sdxl: bool
    device: torch.device

    def check(self, clip_skip: int) -> None:
        """Refuse a ``clip_skip`` that this text encoder cannot do.

        Raises:
            DrawingFailed: the text encoder has no such layer, or is not CLIP.
        """
        layers = self.model.config.num_hidden_layers
        if not 1 <= clip_skip <= layers:
            raise DrawingFailed(f"clip_skip must be from 1 to {layers} for this model, not {clip_skip}", "clip_skip")
        if clip_skip > 1 and not self._is_clip:
            raise DrawingFailed(
                f"clip_skip must be 1 for this model, not {clip_skip}: its text encoder is not CLIP", "clip_skip"
            )

    def validate(self, embedding: Embedding) -> str | None:
        """Why ``embedding`` does not fit this text encoder; ``None`` if it does."""
        encoders = 2 if self.is_sdxl else 1
        if len(embedding.vectors) != encoders:
            return f"it has vectors for {len(embedding.vectors)} text encoders, not {encoders}"
        width, own = embedding.vectors[self.number].shape[1], self.model.get_input_embeddings().embedding_dim
        return None if width == own else f"its vectors are {width} wide, not {own}"

    def encode(self, chunk: Chunk, clip_skip: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The weighted hidden states [1, tokens, width] of one chunk, and its projection [1, width] if there is one.

        Chunks are encoded one by one, since a larger batch would change the last bits of the result.
        """
        start, end = self.tokenizer("").input_ids
        ids = [start, *(number for unit in chunk for number in unit.ids), end]
        padding = self.tokenizer.model_max_length - len(ids)
        tokens = to_device(torch.tensor([ids + [self.tokenizer.pad_token_id] * padding]), self.device)
        mask = None
        if getattr(self.model.config, "use_attention_mask", False):
            mask = to_device(torch.tensor([[1] * len(ids) + [0] * padding]), self.device)
        with placed(self.model.get_input_embeddings(), self._vectors(chunk)):
            output = self.model(tokens, attention_mask=mask, output_hidden_states=self.is_sdxl or clip_skip > 1)
        weights = [1.0, *(unit.weight for unit in chunk for _ in unit.ids)]
        states = _apply_weights(self._layer(output, clip_skip), weights, keep_mean=self._is_clip and not self.is_sdxl)
        return states, output.get("text_embeds")

    def _layer(self, output: Any, clip_skip: int) -> torch.Tensor:
        """The hidden states [1, tokens, width] that ``encode_prompt`` of the family takes."""
        if self.is_sdxl:
            states: torch.Tensor = output.hidden_states[-max(clip_skip, 2)]
        elif clip_skip == 1:
            states = output.last_hidden_state
        else:
            states = self._norm_owner.final_layer_norm(output.hidden_states[-clip_skip])
        return states

    @property
    def _is_clip(self) -> bool:
        return hasattr(self._norm_owner, "final_layer_norm")

    @property
    def _norm_owner(self) -> Any:
        """The module with the final layer norm: the model, or in some classes and versions the model inside it."""
        return getattr(self.model, "text_model", self.model)

    def _vectors(self, chunk: Chunk) -> list[tuple[int, torch.Tensor]]:
        """The vectors of the chunk's embeddings, each with the index of its first token."""
        found, index = [], 1
        for unit in chunk:
            if unit.embedding is not None:
                found.append((index, unit.embedding.vectors[self.number]))
            index += len(unit.ids)
        return found


def _apply_weights(states: torch.Tensor, weights: Sequence[float], keep_mean: bool) -> torch.Tensor:
    """Multiply hidden states [1, tokens, width] by ``weights``, one for each of the first tokens, as A1111 does.

    With ``keep_mean``, all states are then scaled so that their mean is the same as before, as in A1111. This suits
    only the last layers of Stable Diffusion's CLIP. With SDXL it made artefacts, and A1111 got an option without it
    (its pull request 14874). Nothing here waits for the device.
    """
    if all(weight == 1 for weight in weights):
        return states
    factors = torch.tensor([*weights, *[1.0] * (states.shape[1] - len(weights))])
    plain = states.float()
    weighted = plain * to_device(factors, states.device)[:, None]
    if keep_mean:
        before, after = plain.mean(), weighted.mean()
        is_divisor = torch.minimum(before.abs(), after.abs()) > MEAN_FLOOR * plain.abs().mean()
        weighted *= torch.where(is_divisor, before / after, 1.0)
    return weighted.to(states.dtype)
