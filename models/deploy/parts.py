"""The parts of a model that are exported one by one, each as a module whose calls have a form.

A part of a diffusion pipeline is a text encoder, the denoiser, or one half of the VAE, whatever the family is; a model
of another kind is a single part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from torch import nn

from models.diffusion.families.family import Family
from models.diffusion.pipeline import Pipeline

VAE_DECODER, VAE_ENCODER = "vae_decoder", "vae_encoder"
TEXT_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")


@dataclass(frozen=True)
class ModelPart:
    """A part on torch."""

    name: str
    """As in the pipeline; the halves of the VAE are ``VAE_DECODER`` and ``VAE_ENCODER``."""
    module: nn.Module
    is_batched: bool = True
    """Whether several images, or texts, may be computed by one call."""


class VaeDecoder(nn.Module):
    """``vae.decode`` as a module: latents [N, channels, h, w], unscaled, to RGB [N, 3, H, W], about -1 to 1."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae, self._decode = vae, vae.decode  # the method itself, which a recording replaces in the VAE

    def forward(self, latents: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """See the class."""
        return {"pixels": self._decode(latents, return_dict=False)[0]}

    def as_method(self, latents: torch.Tensor, return_dict: bool = True, generator: object = None) -> Any:
        """As ``vae.decode``."""
        pixels = self(latents)["pixels"]
        return DecoderOutput(pixels) if return_dict else (pixels,)


class VaeEncoder(nn.Module):
    """``vae.encode`` as a module: RGB [N, 3, H, W], -1 to 1, to ``moments`` of latents or ``latents`` themselves."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae, self._encode = vae, vae.encode

    def forward(self, pixels: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """See the class."""
        encoded = self._encode(pixels)
        if hasattr(encoded, "latent_dist"):
            return {"moments": encoded.latent_dist.parameters}
        return {"latents": encoded.latents}

    def as_method(self, pixels: torch.Tensor) -> Any:
        """As ``vae.encode``."""
        return encoded_as(self(pixels))


def encoded_as(found: Mapping[str, torch.Tensor]) -> Any:
    """What ``vae.encode`` answers, from what :class:`VaeEncoder` gives."""
    if "moments" in found:
        return AutoencoderKLOutput(DiagonalGaussianDistribution(found["moments"]))
    return AutoencoderTinyOutput(found["latents"])


def parts_of(family: Family, pipeline: Pipeline) -> Iterator[ModelPart]:
    """All parts of ``pipeline``, in the order in which an image passes them."""
    for name in TEXT_ENCODERS:
        encoder = getattr(pipeline, name, None)
        if encoder is not None:
            yield ModelPart(name, encoder, is_batched=False)  # chunks of tokens are encoded one by one
    yield ModelPart(family.module, getattr(pipeline, family.module))
    if not getattr(pipeline.vae, "use_tiling", False):  # tiles are chosen by size, which a graph does not do
        yield ModelPart(VAE_DECODER, VaeDecoder(pipeline.vae))
        yield ModelPart(VAE_ENCODER, VaeEncoder(pipeline.vae))
