"""The interface of a family of pipelines, its defaults for families with a UNet, and the look-up by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor

from models.catalog.families import FAMILIES, INPAINT
from models.diffusion.backends.eager import EagerDenoiser
from models.diffusion.denoiser import Conditioning, Denoiser
from models.diffusion.pipeline import Pipeline
from models.diffusion.prompt_inputs import PromptInputs
from models.diffusion.sampling import NoiseScheduler


class Family(ABC):
    """One architecture: the diffusers class that loads it, and all operations that differ between architectures.

    The methods here serve the families with a UNet; other families override them.
    """

    name: str
    """The key in :data:`models.catalog.families.FAMILIES`."""
    pipeline_class: Any
    """A subclass of ``DiffusionPipeline``; tests compare the engine's images with those of its plain call."""
    options: Mapping[str, Any]
    """Arguments of ``from_pretrained``, besides the dtype."""
    optional: tuple[str, ...] = ()
    """Components that a pipeline may lack although the class requires them."""
    module = "unet"
    """The pipeline's attribute that holds the denoiser."""
    is_exportable = True
    """Whether backends other than torch can run the denoiser."""
    half = torch.float16
    """The default dtype on a GPU."""

    @abstractmethod
    def validate(self, pipeline: Pipeline) -> str | None:
        """Why ``pipeline`` is not of this family; ``None`` if it is."""

    def validate_channels(self, pipeline: Pipeline) -> str | None:
        """Why the denoiser cannot take the VAE's latents; ``None`` if it can."""
        channels, taken = pipeline.vae.config.latent_channels, getattr(pipeline, self.module).config.in_channels
        if taken == channels or self.takes_mask(pipeline):
            return None
        return f"its {self.module} takes {taken} channels, its VAE has {channels}"

    def problem(self, pipeline: Pipeline, kind: str, size: tuple[int, int]) -> str | None:
        """Why the model cannot do a job of ``kind`` at ``size`` (width, height in pixels); ``None`` if it can."""
        facts = FAMILIES[self.name]
        if any(side % facts.size_multiple_px for side in size):
            return f"width and height must be multiples of {facts.size_multiple_px} px, not {size[0]} x {size[1]}"
        if kind not in facts.kinds:
            return f"models of the family {self.name} cannot do {kind}, only {', '.join(facts.kinds)}"
        if kind != INPAINT and self.takes_mask(pipeline):
            return f"this model is made for {INPAINT} and cannot do {kind}: it needs an image and a mask"
        return None

    def prepare(self, pipeline: Pipeline) -> None:
        """Change a pipeline once after loading, before any row uses it; by default nothing is changed."""
        return

    @abstractmethod
    def encode(
        self, pipeline: Pipeline, inputs: PromptInputs, size: tuple[int, int], device: torch.device
    ) -> Conditioning:
        """Encode the prompts into the conditioning of an image of ``size`` (width, height in pixels).

        One input, or two with classifier-free guidance: the negative prompt's first.

        Raises:
            PhotogramError: the prompt cannot be parsed or is too long, or an embedding does not fit the model.
        """

    def eager(self, pipeline: Pipeline) -> Denoiser:
        """The denoiser on torch."""
        return EagerDenoiser(getattr(pipeline, self.module))

    def latents_shape(self, pipeline: Pipeline, size: tuple[int, int]) -> tuple[int, ...]:
        """The shape [1, channels, h, w] of one image's latents; ``size`` is (width, height) in pixels."""
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
        """Normal noise of :meth:`latents_shape`, drawn by ``generator`` on the CPU and moved to ``device``."""
        shape = self.latents_shape(pipeline, size)
        noise: torch.Tensor = randn_tensor(shape, generator=generator, device=device, dtype=dtype)
        return noise

    def takes_mask(self, pipeline: Pipeline) -> bool:
        """Whether the denoiser is made for inpainting: it takes a mask and the masked image besides the latents."""
        channels: int = pipeline.vae.config.latent_channels
        return bool(getattr(pipeline, self.module).config.in_channels == 2 * channels + 1)

    def set_timesteps(self, pipeline: Pipeline, scheduler: NoiseScheduler, steps: int, shape: tuple[int, ...]) -> None:
        """Set the timesteps of ``scheduler`` for latents of ``shape``."""
        scheduler.set_timesteps(steps)

    def skipped_steps(self, steps: int, strength: float) -> int:
        """The number of the first of ``steps`` that img2img skips with ``strength``."""
        return steps - min(int(steps * strength), steps)

    def init_latents(self, scheduler: NoiseScheduler, noise: torch.Tensor) -> torch.Tensor:
        """The latents before the first step, from normal ``noise``."""
        return noise * scheduler.init_noise_sigma

    def scale_input(self, scheduler: NoiseScheduler, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """``latents`` scaled for the denoiser at ``timestep``."""
        return scheduler.scale_model_input(latents, timestep)

    def add_noise(
        self, scheduler: NoiseScheduler, latents: torch.Tensor, noise: torch.Tensor, timestep: torch.Tensor
    ) -> torch.Tensor:
        """``latents`` with the noise of ``timestep``, a scalar."""
        return scheduler.add_noise(latents, noise, timestep[None])

    def to_latents(self, pipeline: Pipeline, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Encode RGB [1, 3, H, W], -1 to 1, into latents of :meth:`latents_shape`, scaled for the denoiser.

        Args:
            pixels: on the device that the VAE computes on.
        """
        vae = pipeline.vae
        encoded = vae.encode(pixels.to(vae.dtype))
        if hasattr(encoded, "latent_dist"):
            return scale_latents(encoded.latent_dist.sample(generator), vae.config)
        return scale_latents(encoded.latents, vae.config)

    def decode(self, vae: Any, latents: torch.Tensor) -> torch.Tensor:
        """Decode latents [N, channels, h, w] into RGB [N, 3, H, W], about -1 to 1, as the plain pipeline does.

        Args:
            vae: the pipeline's VAE, or a copy of it.
        """
        pixels: torch.Tensor = vae.decode(unscale_latents(latents.to(vae.dtype), vae.config), return_dict=False)[0]
        return pixels


def scale_latents(latents: torch.Tensor, config: Any) -> torch.Tensor:
    """Scale latents of a VAE with ``config`` for the denoiser."""
    scale: float = config.scaling_factor
    statistics = _statistics(latents, config)
    if statistics is None:
        return (latents - _shift(config)) * scale
    mean, deviation = statistics
    return (latents - mean) * scale / deviation


def unscale_latents(latents: torch.Tensor, config: Any) -> torch.Tensor:
    """The inverse of :func:`scale_latents`."""
    scale: float = config.scaling_factor
    statistics = _statistics(latents, config)
    if statistics is None:
        return latents / scale + _shift(config)
    mean, deviation = statistics
    return latents * deviation / scale + mean


def _shift(config: Any) -> float:
    """The shift of latents, which the VAEs of flow-matching models have."""
    return getattr(config, "shift_factor", None) or 0.0


def _statistics(latents: torch.Tensor, config: Any) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The mean and standard deviation of each channel, which some VAEs for SDXL have."""
    values = [getattr(config, name, None) for name in ("latents_mean", "latents_std")]
    if None in values:
        return None
    mean, deviation = (torch.tensor(each).view(1, -1, 1, 1).to(latents) for each in values)
    return mean, deviation


def validate_tokenizers(pipeline: Pipeline) -> str | None:
    """Why a tokenizer does not belong to its text encoder; ``None`` if all do.

    Where the vocabulary is missing, transformers makes a tokenizer without one instead of failing.
    """
    for suffix in ("", "_2", "_3"):
        tokenizer = getattr(pipeline, f"tokenizer{suffix}", None)
        text_encoder = getattr(pipeline, f"text_encoder{suffix}", None)
        if tokenizer is None or text_encoder is None:
            continue
        given, known = len(tokenizer), text_encoder.config.vocab_size
        if given < known / 2:
            return f"its tokenizer{suffix} has {given} tokens, its text encoder {known}; is its vocabulary missing?"
    return None


def load_family(name: str) -> Family:
    """Import and return the family called ``name``.

    Raises:
        KeyError: there is no such family.
    """
    family: Family = import_module(FAMILIES[name].module).FAMILY
    return family
