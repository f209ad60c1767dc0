"""Encoding prompts with CLIP and similar text encoders: weights, chunks, textual inversion and clip skip."""

from models.diffusion.text.chunks import count_tokens
from models.diffusion.text.embeddings import Embedding, load_embedding
from models.diffusion.text.encoding import TextEncoding, encode_clip

__all__ = ["Embedding", "TextEncoding", "count_tokens", "encode_clip", "load_embedding"]
