"""The text side of a vision model that also reads texts: the text encoder of the built-in checkpoint, and a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from models.catalog.catalog import HOUSE_FOLDER
from models.catalog.vision import VisionSpec
from models.diffusion.failures import detail_of, reason_of
from models.errors import ModelUnavailable


@dataclass(eq=False, frozen=True)
class TextReader:
    """Reads texts into the space of a vision model's images; on the CPU, in float32."""

    tokenizer: Any
    encoder: Any
    projection: Tensor
    """[width, 384]."""

    @property
    def modules(self) -> list[nn.Module]:
        """All modules that take memory."""
        return [self.encoder]

    @torch.inference_mode()
    def pooled(self, texts: Sequence[str]) -> Tensor:
        """The mean of the states of all tokens of each text [n, 384], which is how MiniLM is pooled.

        Args:
            texts: of at most 510 tokens each.
        """
        tokens = self.tokenizer(list(texts), padding=True, return_tensors="pt")
        mask = tokens.attention_mask[:, :, None]
        states = self.encoder(tokens.input_ids, attention_mask=tokens.attention_mask)[0]
        return torch.as_tensor((states * mask).sum(1) / mask.sum(1))

    def read(self, texts: Sequence[str]) -> Tensor:
        """A vector of length 1 for each text [n, width]."""
        return normalize(self.pooled(texts) @ self.projection.T, dim=-1)


def load_text_reader(spec: VisionSpec, projection: Path) -> TextReader:
    """Load the text side of ``spec``, whose matrix is in the file ``projection``.

    Raises:
        ModelUnavailable: the files are missing or damaged.
    """
    try:
        return TextReader(*load_text_encoder(), load_file(projection)["text"].float())
    except Exception as error:
        message = f"the text side of {spec.name!r} cannot be loaded: {reason_of(error, 'its files are damaged')}"
        raise ModelUnavailable(message, "model", detail=detail_of(error)) from error


def load_text_encoder() -> tuple[Any, Any]:
    """The tokenizer and the text encoder of the built-in checkpoint, in float32."""
    from transformers import BertModel, BertTokenizer  # seconds, which only texts need

    tokenizer = BertTokenizer.from_pretrained(HOUSE_FOLDER / "tokenizer", model_max_length=512)
    encoder = BertModel.from_pretrained(HOUSE_FOLDER / "text_encoder", dtype=torch.float32)
    return tokenizer, encoder.eval().requires_grad_(False)
