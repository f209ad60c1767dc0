"""Textual-inversion embeddings: read from files, and inserted for words without changing the text encoder."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from models.diffusion.failures import detail_of
from models.diffusion.streams import to_device
from models.errors import ModelUnavailable


@dataclass(frozen=True, eq=False)
class Embedding:
    """Learnt vectors that replace a word (textual inversion, Gal et al. 2022, arXiv 2208.01618)."""

    name: str
    """The file's name without its suffix."""
    vectors: tuple[torch.Tensor, ...]
    """[n, width] for each text encoder of the model, in order; n is the same for all."""

    @property
    def length(self) -> int:
        """The number of tokens that it takes."""
        return len(self.vectors[0])


def load_embedding(path: Path) -> Embedding:
    """Read a ``.safetensors`` file with one embedding.

    Its tensors are ``emb_params`` (A1111, one text encoder), ``clip_l`` and ``clip_g`` (SDXL), or a single tensor with
    the name of its token (diffusers). Each is [n, width] or [width].

    Raises:
        ModelUnavailable: the file is missing, or holds something else.
    """
    if path.suffix != ".safetensors":
        raise ModelUnavailable(
            f"embedding {path.name}: only .safetensors files are read, because pickles can run code; convert it first",
            "prompt",
        )
    try:
        tensors = load_file(path)
    except Exception as error:
        raise ModelUnavailable(
            f"embedding {path.name} cannot be read: it is no .safetensors file", "prompt", detail=detail_of(error)
        ) from error
    vectors = tuple(tensor.reshape(-1, tensor.shape[-1]) for tensor in _pick(tensors) if 1 <= tensor.ndim <= 2)
    if not vectors or len({len(each) for each in vectors}) > 1 or not all(_is_sound(each) for each in vectors):
        held = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
        raise ModelUnavailable(f"embedding {path.name} holds no vectors of a known format, but: {held[:200]}", "prompt")
    return Embedding(path.stem, vectors)


def _pick(tensors: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    """The embedding's tensors, one for each text encoder; none if the format is unknown."""
    for names in (("clip_l", "clip_g"), ("emb_params",)):
        if all(name in tensors for name in names):
            return [tensors[name] for name in names]
    return list(tensors.values()) if len(tensors) == 1 else []


def _is_sound(vectors: torch.Tensor) -> bool:
    return vectors.numel() > 0 and vectors.is_floating_point() and bool(vectors.isfinite().all())


@contextmanager
def placed(layer: torch.nn.Module, vectors: Sequence[tuple[int, torch.Tensor]]) -> Iterator[None]:
    """Replace the output of ``layer`` for some tokens by ``vectors``, in this thread only, within the context.

    Args:
        layer: a text encoder's ``get_input_embeddings()``, whose output is [1, tokens, width].
        vectors: pairs of the first replaced token and its replacement [n, width], for n tokens.
    """
    if not vectors:
        yield
        return
    thread = threading.get_ident()

    def replace(_module: torch.nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        if threading.get_ident() == thread:
            for start, replacement in vectors:
                output[0, start : start + len(replacement)] = to_device(replacement, output.device)
        return output

    handle = layer.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()
