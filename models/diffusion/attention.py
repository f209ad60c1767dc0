"""The kernels that compute a denoiser's attention, where the catalog chooses others than torch's SDPA."""

from __future__ import annotations

from typing import Any

from diffusers.models.attention_dispatch import AttentionBackendName
from diffusers.models.attention_processor import Attention, AttnProcessor

_BACKENDS = {"eager": "_native_math"}
"""The names in diffusers' dispatcher of values of ``attention`` that it calls otherwise."""


def choose_attention(denoiser: Any, attention: str) -> None:
    """Let ``denoiser``, a model of diffusers, compute its attention by ``attention``; in place.

    Transformers whose attention goes through diffusers' dispatcher get its backend of this name. Its own
    ``set_attention_backend`` is not used, because it would change the default for all models of the process. UNets and
    PixArt-Sigma have processors instead.

    Args:
        denoiser: the denoiser.
        attention: a value that the family has in :attr:`~models.catalog.families.FamilyFacts.attentions`.

    Raises:
        ImportError, ValueError: from diffusers: a package is too old, or there is no GPU.
    """
    if attention == "sdpa":
        return
    for module in denoiser.modules():
        processor: Any = getattr(module, "processor", None)
        if isinstance(module, Attention):
            _set_processor(module, attention)
        elif hasattr(processor, "_attention_backend"):
            processor._attention_backend = AttentionBackendName(_BACKENDS.get(attention, attention))


def _set_processor(module: Any, attention: str) -> None:
    if attention == "eager":
        module.set_processor(AttnProcessor())
    else:
        module.set_use_memory_efficient_attention_xformers(True)
