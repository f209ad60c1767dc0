"""What one family of pipelines does in its own way, and how it is found by its name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor

from models.catalog.families import FAMILIES, INPAINT
from models.diffusion.backends.eager import EagerDenoiser
from models.diffusion.denoiser import Conditioning, Denoiser
from models.diffusion.pipeline import Pipeline
from models.diffusion.sampling import Scheduler
from models.diffusion.text import Embedding


@dataclass(frozen=True, kw_only=True)
class Wording:
    """What an image's text encoders are told."""

    prompt: str
    negative_prompt: str
    guidance_scale: float
    clip_skip: int
    embeddings: Mapping[str, Embedding] = field(hash=False, compare=False)
    """Textual-inversion embeddings that the prompts may name."""


class Family(ABC):
    """One architecture: the diffusers class that reads it, and where it parts from the others.

    What is here serves the families with a UNet; a family overrides what it does in another way.
    """

    name: str
    """Its key in :data:`models.catalog.families.FAMILIES`."""
    pipeline_class: Any
    """A subclass of ``DiffusionPipeline``; its plain call is what the engine's images are held against."""
    options: Mapping[str, Any]
    """What the class is to be loaded with, beside the dtype."""
    optional: tuple[str, ...] = ()
    """Parts that a pipeline may do without, though the class asks for them."""
    module = "unet"
    """The pipeline's attribute that denoises."""
    is_exportable = True
    """Whether other backends than torch can run the denoiser."""
    half = torch.float16
    """The dtype on a GPU where nobody asks for another."""

    @abstractmethod
    def misfit(self, pipeline: Pipeline) -> str | None:
        """Why a loaded pipeline is none of this family, ``None`` if it is one."""

    def channel_misfit(self, pipeline: Pipeline) -> str | None:
        """Why the denoiser cannot take the VAE's latents, ``None`` if it can."""
        channels, taken = pipeline.vae.config.latent_channels, getattr(pipeline, self.module).config.in_channels
        if taken == channels or self.takes_mask(pipeline):
            return None
        return f"its {self.module} takes {taken} channels, its VAE has {channels}"

    def problem(self, pipeline: Pipeline, kind: str, size: tuple[int, int]) -> str | None:
        """Why the model cannot do a job of ``kind`` at ``size`` (width, height), ``None`` if it can."""
        facts = FAMILIES[self.name]
        if any(side % facts.size_multiple_px for side in size):
            return f"{size[0]} x {size[1]} px: both sides must be multiples of {facts.size_multiple_px}"
        if kind not in facts.kinds:
            return f"models of the family {self.name} do not do {kind}, but {', '.join(facts.kinds)}"
        if kind != INPAINT and self.takes_mask(pipeline):
            return f"this model was made for {INPAINT} and cannot do {kind}: it needs an image and a mask"
        return None

    def prepare(self, pipeline: Pipeline) -> None:
        """Do what is to be done once to a pipeline that was just loaded: nothing."""
        return

    @abstractmethod
    def encode(self, pipeline: Pipeline, wording: Wording, size: tuple[int, int], device: torch.device) -> Conditioning:
        """What the denoiser is told of an image that is drawn at ``size`` (width, height).

        One input, or two under classifier-free guidance: first without the prompt and then with it.
        """

    def eager(self, pipeline: Pipeline) -> Denoiser:
        """The denoiser as torch runs it."""
        return EagerDenoiser(getattr(pipeline, self.module))

    def latents_shape(self, pipeline: Pipeline, size: tuple[int, int]) -> tuple[int, ...]:
        """The shape of one image's latents, the batch's 1 first; ``size`` is (width, height) in pixels."""
        width, height = (side // pipeline.vae_scale_factor for side in size)
        return 1, pipeline.vae.config.latent_channels, height, width

    def noise(
        self,
        pipeline: Pipeline,
        size: tuple[int, int],
        generator: torch.Generator,
        device: torch.device,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        """Normal noise of :meth:`latents_shape`, drawn by ``generator`` on the CPU."""
        shape = self.latents_shape(pipeline, size)
        noise: torch.Tensor = randn_tensor(shape, generator=generator, device=device, dtype=dtype)
        return noise

    def takes_mask(self, pipeline: Pipeline) -> bool:
        """Whether the denoiser was made for inpainting, and takes mask and masked image beside the latents."""
        channels: int = pipeline.vae.config.latent_channels
        return bool(getattr(pipeline, self.module).config.in_channels == 2 * channels + 1)

    def lay_out(self, pipeline: Pipeline, scheduler: Scheduler, steps: int, shape: tuple[int, ...]) -> None:
        """Lay out the timesteps of ``scheduler`` for latents of ``shape``."""
        scheduler.set_timesteps(steps)

    def skipped_steps(self, steps: int, strength: float) -> int:
        """How many of the first ``steps`` are left out when an image is drawn over with ``strength``."""
        return steps - min(int(steps * strength), steps)

    def first_latents(self, scheduler: Scheduler, noise: torch.Tensor) -> torch.Tensor:
        """Normal ``noise`` as the latents before the first step."""
        return noise * scheduler.init_noise_sigma

    def scale_input(self, scheduler: Scheduler, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """``latents`` as the denoiser takes them at ``timestep``."""
        return scheduler.scale_model_input(latents, timestep)

    def add_noise(
        self, scheduler: Scheduler, latents: torch.Tensor, noise: torch.Tensor, timestep: torch.Tensor
    ) -> torch.Tensor:
        """``latents`` as noisy as they are at ``timestep``, a scalar."""
        return scheduler.add_noise(latents, noise, timestep[None])

    def to_latents(self, pipeline: Pipeline, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """RGB [1, 3, H, W], -1..1, to latents of :meth:`latents_shape`, scaled as the denoiser knows them."""
        vae = pipeline.vae
        encoded = vae.encode(pixels.to(vae.device, vae.dtype))
        if hasattr(encoded, "latent_dist"):
            return scale_latents(encoded.latent_dist.sample(generator), vae.config)
        return scale_latents(encoded.latents, vae.config)

    def decode(self, pipeline: Pipeline, latents: torch.Tensor) -> torch.Tensor:
        """Latents [N, channels, h, w] to RGB [N, 3, H, W], about -1..1, exactly as the pipeline's plain call does."""
        vae = pipeline.vae
        pixels: torch.Tensor = vae.decode(unscale_latents(latents.to(vae.dtype), vae.config), return_dict=False)[0]
        return pixels


def scale_latents(latents: torch.Tensor, config: Any) -> torch.Tensor:
    """Latents as the denoiser knows them, from those that a VAE of ``config`` gives."""
    scale: float = config.scaling_factor
    statistics = _statistics(latents, config)
    if statistics is None:
        return (latents - _shift(config)) * scale
    mean, deviation = statistics
    return (latents - mean) * scale / deviation


def unscale_latents(latents: torch.Tensor, config: Any) -> torch.Tensor:
    """Latents as a VAE of ``config`` knows them; undoes :func:`scale_latents`."""
    scale: float = config.scaling_factor
    statistics = _statistics(latents, config)
    if statistics is None:
        return latents / scale + _shift(config)
    mean, deviation = statistics
    return latents * deviation / scale + mean


def _shift(config: Any) -> float:
    """What the VAEs of flow matching add to their latents."""
    return getattr(config, "shift_factor", None) or 0.0


def _statistics(latents: torch.Tensor, config: Any) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The mean and deviation of each channel, which some of SDXL's VAEs have."""
    values = [getattr(config, name, None) for name in ("latents_mean", "latents_std")]
    if None in values:
        return None
    mean, deviation = (torch.tensor(each).view(1, -1, 1, 1).to(latents) for each in values)
    return mean, deviation


def tokenizer_misfit(pipeline: Pipeline) -> str | None:
    """Why a tokenizer cannot be its text encoder's, ``None`` if all can; transformers makes up one that is missing."""
    for suffix in ("", "_2", "_3"):
        tokenizer = getattr(pipeline, f"tokenizer{suffix}", None)
        text_encoder = getattr(pipeline, f"text_encoder{suffix}", None)
        if tokenizer is None or text_encoder is None:
            continue
        given, known = len(tokenizer), text_encoder.config.vocab_size
        if given < known / 2:
            return f"its tokenizer{suffix} has {given} tokens, its text encoder {known}; is there a vocabulary?"
    return None


def load_family(name: str) -> Family:
    """The family of that name, its module imported now.

    Raises:
        KeyError: there is no such family.
    """
    family: Family = import_module(FAMILIES[name].module).FAMILY
    return family
